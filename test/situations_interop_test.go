//go:build interop

package test

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"fmt"
	"strings"
)

// situation is the DNS, the mail server and the MTA-STS policy of a domain.
type situation struct {
	name string // the first label of the domain
	// zone replaces the usual records: an MX record for mx.$D and the address
	// of that name. $D is the domain and $IP the address of the mail server.
	zone string
	// plain moves the domain to a zone that is not signed.
	plain bool
	// tlsa holds the TLSA records of mx.$D. KEY256, KEY512 and CERT256 are
	// digests of the server's certificate, CA256 of its authority, and OTHER256
	// and OTHER512 of another key.
	tlsa []string
	// bogus lists names and types whose signatures are corrupted.
	bogus []string
	// sts is the mode and the server of the MTA-STS policy.
	sts string
	// cert is the server's certificate: "" is self-signed for another name,
	// "ca" is for mx.$D and signed by the authority, and other names are signed
	// by it as they are.
	cert  string
	clear bool // the server does not offer STARTTLS
	want  string
	// postfix is the verdict of Postfix if it differs, and why the reason.
	postfix, why string

	ip   string
	leaf tls.Certificate
}

const (
	deferred  = "deferred"
	clearText = "sent in clear text"
	encrypted = "sent encrypted"
	byDANE    = "sent, DANE matched"
	bySTS     = "sent, verified by MTA-STS"
)

// situations lists the states of a destination that RFC 7672 and RFC 8461
// distinguish.
func situations() []*situation {
	return []*situation{
		{name: "nothing", want: encrypted},
		{name: "nothing-clear", clear: true, want: clearText},
		{name: "match", tlsa: []string{"3 1 1 KEY256"}, want: byDANE},
		{name: "match-certificate", tlsa: []string{"3 0 1 CERT256"}, want: byDANE},
		{name: "match-sha512", tlsa: []string{"3 1 2 KEY512"}, want: byDANE},
		{name: "mismatch", tlsa: []string{"3 1 1 OTHER256"}, want: deferred},
		{name: "mismatch-valid", tlsa: []string{"3 1 1 OTHER256"}, cert: "ca", want: deferred},
		{name: "roll-over", tlsa: []string{"3 1 1 OTHER256", "3 1 1 KEY256"}, want: byDANE},
		{name: "roll-over-late", tlsa: []string{"3 1 1 OTHER256", "3 0 1 OTHER256"}, want: deferred},
		{name: "strongest-digest", tlsa: []string{"3 1 1 OTHER256", "3 1 2 KEY512"}, want: byDANE},
		{name: "weaker-digest", tlsa: []string{"3 1 1 KEY256", "3 1 2 OTHER512"}, want: deferred},
		{name: "anchor", tlsa: []string{"2 0 1 CA256"}, cert: "ca", want: byDANE},
		{name: "anchor-other-name", tlsa: []string{"2 0 1 CA256"}, cert: "mx.elsewhere.test", want: deferred},
		{name: "anchor-domain-name", tlsa: []string{"2 0 1 CA256"}, cert: "anchor-domain-name.matrix.test", want: byDANE},
		{name: "anchor-missing", tlsa: []string{"2 0 1 OTHER256"}, cert: "ca", want: deferred},
		{name: "unusable", tlsa: []string{"3 1 9 KEY256", "3 7 1 KEY256", "3 1 1 abcd"}, want: encrypted},
		{name: "unusable-clear", tlsa: []string{"3 1 9 KEY256"}, clear: true, want: deferred},
		{name: "unusable-beside-match", tlsa: []string{"3 7 1 KEY256", "3 1 1 KEY256"}, want: byDANE},
		{name: "usage-1", tlsa: []string{"1 1 1 KEY256"}, want: encrypted},
		{name: "usage-1-mismatch", tlsa: []string{"1 1 1 OTHER256"}, want: encrypted},
		{name: "usage-0", tlsa: []string{"0 0 1 OTHER256"}, cert: "ca", want: encrypted},
		{name: "no-starttls", tlsa: []string{"3 1 1 KEY256"}, clear: true, want: deferred},
		{name: "alias", zone: "$D MX 10 mx.$D\nmx.$D CNAME host.$D\nhost.$D A $IP\n_25._tcp.host.$D TLSA 3 1 1 KEY256\n_25._tcp.mx.$D TLSA 3 1 1 OTHER256", want: byDANE},
		{name: "alias-mismatch", zone: "$D MX 10 mx.$D\nmx.$D CNAME host.$D\nhost.$D A $IP\n_25._tcp.host.$D TLSA 3 1 1 OTHER256\n_25._tcp.mx.$D TLSA 3 1 1 KEY256", want: deferred},
		{name: "alias-before", zone: "$D MX 10 mx.$D\nmx.$D CNAME host.$D\nhost.$D A $IP\n_25._tcp.mx.$D TLSA 3 1 1 KEY256", want: byDANE},
		{name: "alias-tlsa", zone: "$D MX 10 mx.$D\nmx.$D A $IP\n_25._tcp.mx.$D CNAME tlsa.$D\ntlsa.$D TLSA 3 1 1 KEY256", want: byDANE},
		{name: "alias-to-plain", zone: "$D MX 10 mx.$D\nmx.$D CNAME alias.plain.matrix.test.\nalias.plain.matrix.test. A $IP\n_25._tcp.alias.plain.matrix.test. TLSA 3 1 1 OTHER256", want: encrypted},
		{name: "bogus-tlsa", tlsa: []string{"3 1 1 KEY256"}, bogus: []string{"_25._tcp.mx.$D TLSA"}, want: deferred},
		{name: "bogus-mx", tlsa: []string{"3 1 1 KEY256"}, bogus: []string{"$D MX"}, want: deferred},
		{name: "bogus-address", tlsa: []string{"3 1 1 KEY256"}, bogus: []string{"mx.$D A"}, want: deferred},
		{name: "insecure", plain: true, tlsa: []string{"3 1 1 OTHER256"}, want: encrypted},
		{name: "insecure-host", zone: "$D MX 10 host.plain.matrix.test.\nhost.plain.matrix.test. A $IP\n_25._tcp.host.plain.matrix.test. TLSA 3 1 1 OTHER256", want: encrypted},
		{name: "insecure-mx", plain: true, zone: "$D MX 10 insecure-mx.matrix.test.\ninsecure-mx.matrix.test. A $IP\n_25._tcp.insecure-mx.matrix.test. TLSA 3 1 1 OTHER256", want: encrypted,
			postfix: deferred, why: "smtp_tls_dane_insecure_mx_policy = dane uses TLSA records although an attacker can replace the MX record"},
		{name: "no-mx", zone: "$D A $IP\n_25._tcp.$D TLSA 3 1 1 KEY256", want: encrypted,
			postfix: byDANE, why: "Hoplite does not use DANE for a domain without MX records"},

		{name: "sts", sts: "enforce mx.$D", cert: "ca", want: bySTS},
		{name: "sts-wildcard", sts: "enforce *.$D", cert: "ca", want: bySTS},
		{name: "sts-self-signed", sts: "enforce mx.$D", want: deferred},
		{name: "sts-other-name", sts: "enforce mx.$D", cert: "mx.elsewhere.test", want: deferred},
		{name: "sts-clear", sts: "enforce mx.$D", clear: true, want: deferred},
		{name: "sts-other-mx", sts: "enforce mx.elsewhere.test", cert: "ca", want: deferred},
		{name: "sts-other-mx-named", sts: "enforce mx.elsewhere.test", cert: "mx.elsewhere.test", want: deferred,
			postfix: bySTS, why: "the policy map compares the certificate with the policy, but not the name of the MX record (RFC 8461, 4.1)"},
		{name: "sts-insecure", plain: true, sts: "enforce mx.$D", cert: "ca", want: bySTS},
		{name: "sts-testing-self-signed", sts: "testing mx.$D", want: encrypted},
		{name: "sts-testing-other-mx", sts: "testing mx.elsewhere.test", cert: "ca", want: encrypted},
		{name: "sts-testing-clear", sts: "testing mx.$D", clear: true, want: clearText},
		{name: "sts-none", sts: "none mx.$D", want: encrypted},
		{name: "sts-broken", sts: "strict mx.$D", want: encrypted},
		{name: "sts-dane", sts: "enforce mx.elsewhere.test", tlsa: []string{"3 1 1 KEY256"}, want: byDANE,
			postfix: deferred, why: "the policy map replaces DANE, which has precedence (RFC 8461, 2)"},
		{name: "sts-dane-mismatch", sts: "enforce mx.$D", tlsa: []string{"3 1 1 OTHER256"}, cert: "ca", want: deferred,
			postfix: bySTS, why: "the policy map replaces DANE, which has precedence (RFC 8461, 2)"},
	}
}

// domain returns the domain of the situation.
func (s *situation) domain() string {
	if s.plain {
		return s.name + ".plain.matrix.test"
	}
	return s.name + ".matrix.test"
}

// expand replaces the variables of a text. Names in zones end with a dot.
func (s *situation) expand(text, dot string) string {
	return strings.NewReplacer("$D", s.domain()+dot, "$IP", s.ip).Replace(text)
}

// records returns the records of the domain in zone file format. web is the
// address of the policy host, and other is another key.
func (s *situation) records(other, ca []byte, web string) string {
	text := s.zone
	if text == "" {
		text = "$D MX 10 mx.$D\nmx.$D A $IP"
	}
	for _, r := range s.tlsa {
		text += "\n_25._tcp.mx.$D TLSA " + r
	}
	if s.sts != "" {
		text += "\n_mta-sts.$D TXT \"v=STSv1; id=1;\"\nmta-sts.$D A " + web
	}
	leaf := s.leaf.Leaf
	return strings.NewReplacer(
		"KEY256", fmt.Sprintf("%x", sha256.Sum256(leaf.RawSubjectPublicKeyInfo)), "KEY512", fmt.Sprintf("%x", sha512.Sum512(leaf.RawSubjectPublicKeyInfo)),
		"CERT256", fmt.Sprintf("%x", sha256.Sum256(leaf.Raw)), "CA256", fmt.Sprintf("%x", sha256.Sum256(ca)),
		"OTHER256", fmt.Sprintf("%x", sha256.Sum256(other)), "OTHER512", fmt.Sprintf("%x", sha512.Sum512(other)),
	).Replace(s.expand(text, ".")) + "\n"
}
