package smime

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"hoplite/mail/cms"
)

// Trust holds the trusted roots and the intermediate certificates seen so far.
type Trust struct {
	roots    rootSet
	byDomain map[string]rootSet
	seen     *lru.Cache[string, *x509.Certificate]
	own      []*cms.Certificate // certificates from the root files, which may be signers
}

// rootSet is a set of trusted roots. It also lists the certificates, because a
// CertPool cannot be enumerated, and because crypto/x509 does not build chains
// with SHA-1 (see run.sha1Chain).
type rootSet struct {
	pool  *x509.CertPool // nil means the system's roots
	certs []*x509.Certificate
}

func (s *rootSet) add(c *x509.Certificate) {
	s.pool.AddCert(c)
	s.certs = append(s.certs, c)
}

// maxSeen is the maximum number of intermediate certificates kept for messages
// that lack them.
const maxSeen = 256

// NewTrust reads roots from "system", a file (PEM or DER) or a directory of
// such files.
func NewTrust(roots string) (*Trust, error) {
	t := &Trust{byDomain: map[string]rootSet{}}
	t.seen, _ = lru.New[string, *x509.Certificate](maxSeen) // the size is valid
	var err error
	t.roots, err = t.load(roots)
	return t, err
}

// Add sets different roots for the senders of some domains.
func (t *Trust) Add(domains []string, roots string) error {
	set, err := t.load(roots)
	for _, d := range domains {
		t.byDomain[strings.ToLower(d)] = set
	}
	return err
}

func (t *Trust) load(path string) (rootSet, error) {
	if path == "" || path == "system" {
		// Read the system's roots now, because a sandbox may prevent it
		// later. If there are none, no signer is trusted.
		x509.SystemCertPool()
		return rootSet{}, nil
	}
	files := []string{path}
	if info, err := os.Stat(path); err != nil {
		return rootSet{}, rootsError(path, err)
	} else if info.IsDir() {
		entries, err := os.ReadDir(path)
		if err != nil {
			return rootSet{}, rootsError(path, err)
		}
		files = nil
		for _, e := range entries {
			if !e.IsDir() {
				files = append(files, filepath.Join(path, e.Name()))
			}
		}
	}
	set := rootSet{pool: x509.NewCertPool()}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return rootSet{}, rootsError(f, err)
		}
		for _, c := range certificates(b) {
			set.add(c)
			if own, err := cms.ParseCertificate(c.Raw); err == nil && len(t.own) < maxSeen {
				t.own = append(t.own, own)
			}
		}
	}
	if len(set.certs) == 0 {
		return rootSet{}, fmt.Errorf("roots: no certificate in %s", path)
	}
	return set, nil
}

// rootsError returns an error that names the roots and the cause but not the
// system call.
func rootsError(path string, err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return fmt.Errorf("read roots %s: %w", path, err)
}

// certificates returns the certificates in a PEM or DER file that crypto/x509
// can use.
func certificates(b []byte) (out []*x509.Certificate) {
	if c, err := x509.ParseCertificate(b); err == nil {
		return []*x509.Certificate{c}
	}
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			return out
		}
		if block.Type != "CERTIFICATE" && block.Type != "TRUSTED CERTIFICATE" {
			continue
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			out = append(out, c)
		}
	}
}

// Inherit adopts the intermediate certificates that from has collected.
func (t *Trust) Inherit(from *Trust) { t.seen = from.seen }

// rootsFor returns the roots for a sender's domain.
func (t *Trust) rootsFor(domain string) rootSet {
	if s, ok := t.byDomain[domain]; ok {
		return s
	}
	return t.roots
}

// trust evaluates a signer's certificate: its issuer, purpose and validity.
func (r *run) trust(l *Layer, s *cms.Signed, sg *Signer, cert *x509.Certificate, purpose x509.ExtKeyUsage) *Signer {
	if cert.KeyUsage != 0 && cert.KeyUsage&(x509.KeyUsageDigitalSignature|x509.KeyUsageContentCommitment) == 0 {
		sg.Trust = TrustNotForMail
		return sg.worse(cms.Bad, "the certificate's key must not be used for signing")
	}
	opts := x509.VerifyOptions{
		CurrentTime:   r.at,
		Intermediates: x509.NewCertPool(),
		KeyUsages:     []x509.ExtKeyUsage{purpose},
	}
	var roots rootSet
	if r.Trust != nil {
		roots = r.Trust.rootsFor(r.fromDomain())
		opts.Roots = roots.pool
	}
	var sent []*x509.Certificate
	for _, c := range s.Certs {
		if x, err := c.X509(); err == nil && !costly(x) {
			opts.Intermediates.AddCert(x)
			sent = append(sent, x)
		}
	}
	chain, err := r.verify(cert, opts)
	if err == nil {
		sg.Trust, sg.Chain = TrustGood, subjects(chain)
		return r.revocation(l, s, sg, chain)
	}
	if r.Trust != nil {
		sent = append(sent, r.Trust.seen.Values()...)
	}
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) {
		if chain, weak := sha1Chain(cert, sent, roots, opts); chain != nil {
			sg.Trust, sg.Chain = TrustGood, subjects(chain)
			text := "the certificate of " + cms.Name(weak.RawSubject) + " is signed with SHA-1, which can be forged"
			r.find("sha1_chain", warning, l.Part, text, "the sender should get a certificate signed with SHA-256")
			return r.revocation(l, s, sg.worse(cms.Weak, text), chain)
		}
	}
	return r.distrust(l, s, sg, cert, append(sent, roots.certs...), opts, err)
}

// costly reports whether verifying a signature with the certificate's key would
// take so long that it must be an attack. The time grows with the square of the
// key length.
func costly(c *x509.Certificate) bool {
	key, ok := c.PublicKey.(*rsa.PublicKey)
	return ok && key.N.BitLen() > cms.MaxRSA
}

// verify builds a chain. If the certificates in the message do not lead to a
// root, it tries intermediates seen in earlier messages.
func (r *run) verify(cert *x509.Certificate, opts x509.VerifyOptions) ([]*x509.Certificate, error) {
	chains, err := cert.Verify(opts)
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) && r.Trust != nil && r.Trust.seen.Len() > 0 {
		for _, c := range r.Trust.seen.Values() {
			opts.Intermediates.AddCert(c)
		}
		chains, err = cert.Verify(opts)
	}
	if err != nil {
		return nil, err
	}
	chain := chains[0]
	if r.Trust != nil {
		for _, c := range chain[1:max(1, len(chain)-1)] {
			r.Trust.seen.Add(string(c.RawSubject)+string(c.SubjectKeyId), c)
		}
	}
	return chain, nil
}

// distrust records the reason why there is no chain. known holds the
// certificates that were considered as issuers, apart from the system's roots.
func (r *run) distrust(l *Layer, s *cms.Signed, sg *Signer, cert *x509.Certificate, known []*x509.Certificate, opts x509.VerifyOptions, err error) *Signer {
	if at := r.at; at.Before(cert.NotBefore) {
		sg.Trust = TrustNotYetValid
		r.find("not_yet_valid", warning, l.Part, "the certificate is valid only from "+stamp(cert.NotBefore), "")
		return sg.worse(cms.Unknown, "the certificate is not valid yet")
	}
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) {
		switch invalid.Reason {
		case x509.Expired:
			return r.expired(l, s, sg, cert, opts)
		case x509.IncompatibleUsage:
			sg.Trust = TrustNotForMail
			text := "the certificate was not issued for e-mail"
			if opts.KeyUsages[0] == x509.ExtKeyUsageTimeStamping {
				text = "the certificate was not issued for time stamps"
			}
			r.find("not_for_mail", bad, l.Part, text, "")
			return sg.worse(cms.Bad, text)
		}
		sg.Trust = TrustUnknownCA
		r.find("chain", warning, l.Part, invalid.Error(), "")
		return sg.worse(cms.Unknown, invalid.Error())
	}
	if r.at.After(cert.NotAfter) {
		// The certificate has expired and its root is unknown. The
		// latter matters more.
		r.find("expired", info, l.Part, "the certificate expired at "+stamp(cert.NotAfter), "")
	}
	sg.Trust = TrustUnknownCA
	text, advice, reason := "no trusted root for the certificate of "+cms.Name(cert.RawSubject),
		"if you trust this authority, add its certificate to roots", "the certificate's issuer is not trusted"
	path := ancestry(cert, known)
	last := path[len(path)-1]
	switch i := slices.IndexFunc(path, signedWithSHA1); {
	case i >= 0 && !selfIssued(path[i]):
		reason = "the certificate of " + cms.Name(path[i].RawSubject) + " is signed with SHA-1"
		text = "no trusted root: " + reason
		advice = "the sender should get a certificate signed with SHA-256"
	case !selfIssued(last):
		reason = "the message lacks the certificate of " + cms.Name(last.RawIssuer)
		text = reason + ", which issued that of " + cms.Name(last.RawSubject)
		advice = "the sender should send it with the message; if it is a root that you trust, add it to roots"
	}
	r.find("unknown_ca", warning, l.Part, text, advice)
	return sg.worse(cms.Unknown, reason)
}

// ancestry returns cert, its issuer, and so on, as far as they are known.
// Issuers are matched by name.
func ancestry(cert *x509.Certificate, known []*x509.Certificate) []*x509.Certificate {
	path := []*x509.Certificate{cert}
	for len(path) < maxChain && !selfIssued(cert) {
		i := slices.IndexFunc(known, func(c *x509.Certificate) bool { return bytes.Equal(c.RawSubject, cert.RawIssuer) })
		if i < 0 {
			break
		}
		cert = known[i]
		path = append(path, cert)
	}
	return path
}

func selfIssued(c *x509.Certificate) bool { return bytes.Equal(c.RawIssuer, c.RawSubject) }

// expired distinguishes a certificate that was valid when the message was
// signed from one that never was. Only a trusted time stamp proves this; the
// signing time is a mere claim by the signer.
func (r *run) expired(l *Layer, s *cms.Signed, sg *Signer, cert *x509.Certificate, opts x509.VerifyOptions) *Signer {
	if at := sg.proven(); at != nil {
		opts.CurrentTime = *at
		if chain, err := r.verify(cert, opts); err == nil {
			sg.Trust, sg.Chain = TrustGood, subjects(chain)
			r.find("expired", info, l.Part, "the certificate has expired, but a time stamp proves that it was valid when signed ("+stamp(*at)+")", "")
			return r.revocation(l, s, sg, chain)
		}
	}
	sg.Trust = TrustExpired
	was := cert.NotAfter.Add(-time.Second)
	claim := sg.SigningTime != nil
	if claim {
		was = *sg.SigningTime
	}
	opts.CurrentTime = was
	chain, err := r.verify(cert, opts)
	if err != nil {
		sg.Trust = TrustUnknownCA
		r.find("unknown_ca", warning, l.Part, "expired, and no trusted root for the certificate of "+cms.Name(cert.RawSubject), "")
		return sg.worse(cms.Unknown, "the certificate has expired, and its issuer is not trusted")
	}
	sg.Chain = subjects(chain)
	if claim {
		r.find("expired", warning, l.Part, "valid at the claimed signing time ("+stamp(was)+"), expired now", "")
		return sg.worse(cms.Unknown, "the certificate was valid when signed, and has expired since")
	}
	r.find("expired", warning, l.Part, "a certificate of the chain has expired", "")
	return sg.worse(cms.Unknown, "the certificate has expired")
}

func subjects(chain []*x509.Certificate) []string {
	out := make([]string, len(chain))
	for i, c := range chain {
		out[i] = cms.Name(c.RawSubject)
	}
	return out
}

// revocation adds the revocation status of a chain to its signer.
func (r *run) revocation(l *Layer, s *cms.Signed, sg *Signer, chain []*x509.Certificate) *Signer {
	if r.Revocation == nil || r.Revocation.mode == RevokeOff || len(chain) < 2 {
		return sg
	}
	ctx, cancel := context.WithTimeout(r.ctx, r.Revocation.wait)
	defer cancel()
	worst := statusGood
	for i := 0; i+1 < len(chain); i++ {
		st, when := r.Revocation.check(ctx, chain[i], chain[i+1], s, r.at)
		if st == statusRevoked {
			sg.Trust, sg.Revocation = TrustRevoked, st.String()
			text := fmt.Sprintf("the certificate of %s was revoked at %s", cms.Name(chain[i].RawSubject), stamp(when))
			r.find("revoked", bad, l.Part, text, "")
			return sg.worse(cms.Bad, text)
		}
		if st == statusUnknown && (len(chain[i].CRLDistributionPoints) > 0 || len(chain[i].OCSPServer) > 0) {
			worst = statusUnknown
		}
	}
	sg.Revocation = worst.String()
	if worst == statusUnknown {
		r.find("revocation_unknown", info, l.Part, "the revocation status of the certificate is not known", "")
	}
	return sg
}
