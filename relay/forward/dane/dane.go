// Package dane authenticates SMTP servers by the TLSA records that their
// domains publish under DNSSEC (RFC 7672). Lookup finds the records for a
// server; Verify compares them with the certificates that the server presents.
//
// Acting on the result is left to package forward.
package dane

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"hoplite/internal/resolve"
)

// The supported values of a TLSA record's fields (RFC 6698, 2.1; RFC 7672,
// 3.1).
const (
	UsageTA = 2 // DANE-TA: the record names the issuer
	UsageEE = 3 // DANE-EE: the record names the server's own certificate

	SelectorCert = 0
	SelectorKey  = 1

	MatchFull   = 0
	MatchSHA256 = 1
	MatchSHA512 = 2
)

// maxRecords is the maximum number of records used for one server, and
// maxRecordSize the maximum size of each in octets.
const (
	maxRecords    = 20
	maxRecordSize = 16 << 10
)

// Record is one TLSA record.
type Record struct {
	Usage, Selector, Matching uint8
	Data                      string
}

// String returns the record's parameters, for example "3 1 1".
func (r Record) String() string { return fmt.Sprintf("%d %d %d", r.Usage, r.Selector, r.Matching) }

// usable reports whether SMTP can use the record (RFC 7672, 3.1). Other records
// only imply that TLS is offered.
func (r Record) usable() bool {
	if r.Usage != UsageTA && r.Usage != UsageEE || r.Selector > SelectorKey {
		return false
	}
	switch r.Matching {
	case MatchFull:
		return r.Data != ""
	case MatchSHA256:
		return len(r.Data) == sha256.Size
	case MatchSHA512:
		return len(r.Data) == sha512.Size
	}
	return false
}

// Records holds the TLSA records of one server. It is comparable, so that it
// can be part of a key: the records are concatenated, each preceded by its
// length.
type Records struct{ packed string }

// Pack returns the records of a DNS answer. Records that cannot be parsed are
// omitted.
func Pack(answer []resolve.Record) Records {
	var b strings.Builder
	for i, r := range answer {
		if i == maxRecords {
			break
		}
		if len(r.Data) < 4 || len(r.Data) > maxRecordSize {
			continue
		}
		b.WriteString(strconv.Itoa(len(r.Data)) + ":")
		b.Write(r.Data)
	}
	return Records{b.String()}
}

// None reports whether there are no records.
func (rs Records) None() bool { return rs.packed == "" }

// All returns the records.
func (rs Records) All() []Record {
	var list []Record
	for rest := rs.packed; rest != ""; {
		size, data, _ := strings.Cut(rest, ":")
		n, _ := strconv.Atoi(size)
		list = append(list, Record{data[0], data[1], data[2], data[3:n]})
		rest = data[n:]
	}
	return list
}

// Usable returns the records that can authenticate the server. If there are
// records but none is usable, TLS is required without authentication (RFC 7672,
// 2.2).
//
// Among the digests in records of one kind, only the strongest is used (RFC
// 7671, 9), so that a broken digest can be phased out.
func (rs Records) Usable() []Record {
	type kind struct{ usage, selector uint8 }
	best := map[kind]uint8{}
	var list []Record
	for _, r := range rs.All() {
		if r.usable() {
			list = append(list, r)
			k := kind{r.Usage, r.Selector}
			best[k] = max(best[k], r.Matching)
		}
	}
	strongest := list[:0]
	for _, r := range list {
		if r.Matching == MatchFull || r.Matching == best[kind{r.Usage, r.Selector}] {
			strongest = append(strongest, r)
		}
	}
	return strongest
}

// Lookup returns the TLSA records of a server and their base domain, which is
// whichever of the two names has the records. name is the host's name after all
// CNAMEs, and original the name before them; both must have been authenticated
// by DNSSEC.
//
// The absence of records is not an error. An error means that the look-up
// failed, which an attacker can cause, so mail must wait (RFC 7672, 2.1.2).
func Lookup(ctx context.Context, dns resolve.Resolver, name, original string, port int) (rs Records, base string, err error) {
	names := []string{name}
	if original != name {
		names = append(names, original)
	}
	for _, n := range names {
		answer, err := dns.Lookup(ctx, fmt.Sprintf("_%d._tcp.%s", port, n), resolve.TLSA)
		switch {
		case errors.Is(err, resolve.ErrNotFound):
			continue
		case err != nil:
			return Records{}, "", err
		case !answer.Authentic:
			continue // the zone is signed, but not below this name
		}
		return Pack(answer.Records), n, nil
	}
	return Records{}, "", nil
}

// ErrNoMatch means that a server's certificates match none of its TLSA records.
var ErrNoMatch = errors.New("the certificate matches none of the server's TLSA records")

// Verify compares a server's certificates with its usable records and returns
// the record that matched. names lists the acceptable names of a certificate
// below a trust anchor (RFC 7672, 3.2.2). For a DANE-EE record neither the
// names nor the validity dates matter.
func Verify(state tls.ConnectionState, records []Record, names []string) (Record, error) {
	if len(state.PeerCertificates) == 0 {
		return Record{}, errors.New("the server sent no certificate")
	}
	why := ErrNoMatch
	for _, r := range records {
		if r.Usage == UsageEE {
			if r.matches(state.PeerCertificates[0]) {
				return r, nil
			}
			continue
		}
		err := verifyAnchor(state.PeerCertificates, r, names)
		if err == nil {
			return r, nil
		}
		if !errors.Is(err, ErrNoMatch) {
			why = err
		}
	}
	return Record{}, why
}

// matches reports whether the record matches a certificate.
func (r Record) matches(c *x509.Certificate) bool {
	b := c.Raw
	if r.Selector == SelectorKey {
		b = c.RawSubjectPublicKeyInfo
	}
	switch r.Matching {
	case MatchSHA256:
		sum := sha256.Sum256(b)
		b = sum[:]
	case MatchSHA512:
		sum := sha512.Sum512(b)
		b = sum[:]
	}
	return subtle.ConstantTimeCompare(b, []byte(r.Data)) == 1
}

// verifyAnchor checks that the chain ends at the trust anchor of a DANE-TA
// record, and that the server's certificate is for one of names.
func verifyAnchor(chain []*x509.Certificate, r Record, names []string) error {
	roots, found := x509.NewCertPool(), false
	for _, c := range chain {
		if r.matches(c) {
			roots.AddCert(c)
			found = true
		}
	}
	if !found && r.Matching == MatchFull && r.Selector == SelectorCert {
		// The record contains the whole anchor, so the server need not send it.
		if c, err := x509.ParseCertificate([]byte(r.Data)); err == nil {
			roots.AddCert(c)
			found = true
		}
	}
	if !found {
		return ErrNoMatch
	}
	opts := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
	for _, c := range chain[1:] {
		opts.Intermediates.AddCert(c)
	}
	if _, err := chain[0].Verify(opts); err != nil {
		return fmt.Errorf("the certificate does not lead to the anchor of its TLSA record: %w", err)
	}
	for _, name := range names {
		if chain[0].VerifyHostname(name) == nil {
			return nil
		}
	}
	return fmt.Errorf("the certificate is not for %s", strings.Join(names, " or "))
}
