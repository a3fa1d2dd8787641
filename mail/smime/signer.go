package smime

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"slices"
	"time"

	"hoplite/mail/cms"
)

const (
	// skew is the maximum time by which a signer's clock may be ahead.
	skew = 10 * time.Minute
	// maxDateGap is the tolerated difference between Date and the signing
	// time. A wrong time zone alone causes up to 14 hours.
	maxDateGap = 24 * time.Hour
)

// judge verifies the signatures of a layer and evaluates their signers.
func (r *run) judge(l *Layer, s *cms.Signed, content io.Reader) error {
	more := r.Certs
	if r.Trust != nil {
		more = append(slices.Clone(more), r.Trust.own...)
	}
	if _, err := s.Verify(content, more...); err != nil {
		return err
	}
	worst := cms.Good
	for _, sig := range s.Signers {
		sg := r.signer(l, s, sig)
		l.Signers = append(l.Signers, sg)
		if v := verdictOf(sg.Verdict); v > worst || l.Reason == "" {
			worst, l.Reason = max(worst, v), sg.Reason
		}
	}
	if len(s.Signers) == 0 {
		worst, l.Reason = cms.Unknown, "no signers"
	}
	l.Verdict = worst.String()
	return nil
}

// signer describes one signature and adds the verdict on its certificate.
func (r *run) signer(l *Layer, s *cms.Signed, sig *cms.Signer) *Signer {
	sg := describe(sig)
	if t := sg.SigningTime; t != nil {
		if t.After(r.at.Add(skew)) {
			r.find("future", warning, l.Part, fmt.Sprintf("the signer claims to have signed at %s, which is in the future", stamp(*t)), "")
		}
		r.compareDate(l, *t)
	}
	judgeSupporting(r, l, s, sig, sg)
	if sig.Cert == nil {
		return sg
	}
	cert, fault := r.certificate(sg, sig)
	if cert == nil {
		return fault
	}
	if t := sg.SigningTime; t != nil && (t.Before(cert.NotBefore) || t.After(cert.NotAfter)) {
		r.find("signing_time", warning, l.Part,
			fmt.Sprintf("the signer claims to have signed at %s, when the certificate was not valid", stamp(*t)), "")
	}
	if r.AnyRoot {
		sg.Trust = TrustUnchecked
		return sg
	}
	return r.trust(l, s, sg, cert, x509.ExtKeyUsageEmailProtection)
}

// describe returns the claims in a signature and the result of verifying it.
func describe(sig *cms.Signer) *Signer {
	sg := &Signer{Verdict: sig.Verdict.String(), Reason: sig.Reason, Algorithm: sig.Algorithm,
		Digest: sig.Digest, Subject: sig.ID(), Trust: TrustMissing}
	if t := sig.SigningTime; !t.IsZero() {
		sg.SigningTime = &t
	}
	if sig.Cert != nil {
		sg.Subject, sg.Issuer, sg.Serial = sig.Cert.Subject(), sig.Cert.Issuer(), sig.Cert.Serial()
	}
	return sg
}

// certificate parses a signer's certificate and adds it to the description. If
// the certificate cannot be parsed, the second result is the final verdict.
func (r *run) certificate(sg *Signer, sig *cms.Signer) (*x509.Certificate, *Signer) {
	cert, err := sig.Cert.X509()
	if err != nil {
		sg.Trust = TrustUnreadable
		if r.AnyRoot {
			return nil, sg
		}
		return nil, sg.worse(cms.Unknown, fmt.Sprintf("the certificate cannot be judged: %v", err))
	}
	sg.Addresses = addressesOf(cert)
	sg.NotBefore, sg.NotAfter = &cert.NotBefore, &cert.NotAfter
	return cert, nil
}

// compareDate reports a Date field that differs greatly from the signing time.
// The signature does not cover Date, so an old message could be sent again as a
// new one.
func (r *run) compareDate(l *Layer, signed time.Time) {
	if l.Attached || !l.Whole {
		return
	}
	for _, d := range r.dates {
		if gap := d.Sub(signed).Abs(); gap > maxDateGap {
			r.find("date", warning, l.Part, fmt.Sprintf("Date is %s, but the message was signed at %s, %d days apart", stamp(d), stamp(signed), int(gap.Hours()/24)),
				"a signed message may have been sent again under another date, or a clock was wrong")
			return
		}
	}
}

// worse lowers the verdict. It never raises it.
func (sg *Signer) worse(v cms.Verdict, reason string) *Signer {
	if was := verdictOf(sg.Verdict); v > was {
		sg.badCertificate = v == cms.Bad && was <= cms.Weak
		sg.Verdict, sg.Reason = v.String(), reason
	}
	return sg
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }

// changed reports whether a signer's digest does not match the content.
func changed(s *cms.Signed) bool {
	for _, sig := range s.Signers {
		if sig.Verdict == cms.Bad && !sig.DigestMatches {
			return true
		}
	}
	return false
}

// extract writes a layer's content and certificates, if requested.
func (r *run) extract(l *Layer, s *cms.Signed, content func(io.Writer) error) error {
	if r.Extract == nil {
		return nil
	}
	n := len(r.rep.Layers)
	save := func(name string, write func(io.Writer) error) error {
		f, err := r.Extract(name)
		if err != nil {
			return err
		}
		if err := write(f); err != nil {
			f.Close()
			return fmt.Errorf("extract %s: %w", name, err)
		}
		return f.Close()
	}
	if len(s.Signers) > 0 && l.Form != "detached" {
		if err := save(fmt.Sprintf("%d-content.eml", n), content); err != nil {
			return err
		}
	}
	if len(s.Certs) == 0 {
		return nil
	}
	return save(fmt.Sprintf("%d-certs.pem", n), func(w io.Writer) error {
		for _, c := range s.Certs {
			fmt.Fprintf(w, "# subject %s\n# issuer  %s\n", c.Subject(), c.Issuer())
			if err := pem.Encode(w, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}); err != nil {
				return err
			}
		}
		return nil
	})
}
