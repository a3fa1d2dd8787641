package dane

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"hoplite/internal/resolve"
)

// issue returns a certificate for name, signed by parent or self-signed.
func issue(t testing.TB, name string, ca bool, until time.Duration, parent *tls.Certificate) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(until), IsCA: ca, BasicConstraintsValid: true,
	}
	signer, signerKey := template, any(key)
	if parent != nil {
		signer, signerKey = parent.Leaf, parent.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, signer, &key.PublicKey, signerKey)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// tlsa returns the record for a certificate.
func tlsa(usage, selector, matching uint8, c *x509.Certificate) resolve.Record {
	b := c.Raw
	if selector == SelectorKey {
		b = c.RawSubjectPublicKeyInfo
	}
	switch matching {
	case MatchSHA256:
		sum := sha256.Sum256(b)
		b = sum[:]
	case MatchSHA512:
		sum := sha512.Sum512(b)
		b = sum[:]
	}
	return resolve.Record{Data: append([]byte{usage, selector, matching}, b...)}
}

func TestVerify(t *testing.T) {
	root := issue(t, "root.example", true, time.Hour, nil)
	inter := issue(t, "ca.example", true, time.Hour, root)
	leaf := issue(t, "mx.example.net", false, time.Hour, inter)
	expired := issue(t, "mx.example.net", false, -time.Hour, inter)
	other := issue(t, "other.example", false, time.Hour, nil)
	chain := []*x509.Certificate{leaf.Leaf, inter.Leaf}
	old := []*x509.Certificate{expired.Leaf, inter.Leaf}
	names := []string{"mx.example.net", "example.net"}
	tests := map[string]struct {
		chain   []*x509.Certificate
		records []resolve.Record
		names   []string
		want    string // the matching record; "" if there is none
		err     string
	}{
		"3 1 1":                          {chain, []resolve.Record{tlsa(3, 1, 1, leaf.Leaf)}, names, "3 1 1", ""},
		"3 0 1":                          {chain, []resolve.Record{tlsa(3, 0, 1, leaf.Leaf)}, names, "3 0 1", ""},
		"3 1 2":                          {chain, []resolve.Record{tlsa(3, 1, 2, leaf.Leaf)}, names, "3 1 2", ""},
		"3 0 0":                          {chain, []resolve.Record{tlsa(3, 0, 0, leaf.Leaf)}, names, "3 0 0", ""},
		"3 1 1 of another key":           {chain, []resolve.Record{tlsa(3, 1, 1, other.Leaf)}, names, "", "matches none"},
		"3 1 1 of the issuer":            {chain, []resolve.Record{tlsa(3, 1, 1, inter.Leaf)}, names, "", "matches none"},
		"3 1 1, expired, other name":     {old, []resolve.Record{tlsa(3, 1, 1, expired.Leaf)}, []string{"elsewhere.example"}, "3 1 1", ""},
		"roll-over: old and new":         {chain, []resolve.Record{tlsa(3, 1, 1, other.Leaf), tlsa(3, 1, 1, leaf.Leaf)}, names, "3 1 1", ""},
		"2 0 1 of the issuer":            {chain, []resolve.Record{tlsa(2, 0, 1, inter.Leaf)}, names, "2 0 1", ""},
		"2 1 1 of the issuer":            {chain, []resolve.Record{tlsa(2, 1, 1, inter.Leaf)}, names, "2 1 1", ""},
		"2 0 0 of a root that is unsent": {chain, []resolve.Record{tlsa(2, 0, 0, root.Leaf)}, names, "2 0 0", ""},
		"2 0 1 of a root that is unsent": {chain, []resolve.Record{tlsa(2, 0, 1, root.Leaf)}, names, "", "matches none"},
		"2 0 1, other name":              {chain, []resolve.Record{tlsa(2, 0, 1, inter.Leaf)}, []string{"elsewhere.example"}, "", "not for elsewhere.example"},
		"2 0 1, the domain's name":       {chain, []resolve.Record{tlsa(2, 0, 1, inter.Leaf)}, []string{"a.example", "mx.example.net"}, "2 0 1", ""},
		"2 0 1, expired":                 {old, []resolve.Record{tlsa(2, 0, 1, inter.Leaf)}, names, "", "does not lead to the anchor"},
		"2 0 1 of a stranger":            {append(chain, other.Leaf), []resolve.Record{tlsa(2, 0, 1, other.Leaf)}, names, "", "does not lead to the anchor"},
		"2 fails, 3 matches":             {chain, []resolve.Record{tlsa(2, 0, 1, other.Leaf), tlsa(3, 1, 1, leaf.Leaf)}, names, "3 1 1", ""},
		"no certificate":                 {nil, []resolve.Record{tlsa(3, 1, 1, leaf.Leaf)}, names, "", "no certificate"},
	}
	for name, tt := range tests {
		got, err := Verify(tls.ConnectionState{PeerCertificates: tt.chain}, Pack(tt.records).Usable(), tt.names)
		switch {
		case tt.want == "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
			t.Errorf("%s: %v, want %q", name, err, tt.err)
		case tt.want != "" && (err != nil || got.String() != tt.want):
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
}

func TestUsable(t *testing.T) {
	c := issue(t, "mx.example.net", false, time.Hour, nil).Leaf
	short := resolve.Record{Data: []byte{3, 1, 1, 0xab}}
	tests := map[string]struct {
		records []resolve.Record
		all     int
		usable  string
	}{
		"PKIX usages are for browsers":            {[]resolve.Record{tlsa(0, 1, 1, c), tlsa(1, 0, 1, c)}, 2, ""},
		"unknown selector":                        {[]resolve.Record{tlsa(3, 2, 1, c)}, 1, ""},
		"unknown matching type":                   {[]resolve.Record{tlsa(3, 1, 3, c)}, 1, ""},
		"short digest":                            {[]resolve.Record{short}, 1, ""},
		"no data":                                 {[]resolve.Record{{Data: []byte{3, 1, 1}}}, 0, ""},
		"only the strongest digest":               {[]resolve.Record{tlsa(3, 1, 1, c), tlsa(3, 1, 2, c)}, 2, "3 1 2"},
		"the strongest of each kind":              {[]resolve.Record{tlsa(3, 1, 1, c), tlsa(2, 0, 2, c), tlsa(3, 0, 0, c)}, 3, "3 1 1, 2 0 2, 3 0 0"},
		"a broken strong digest hides none":       {[]resolve.Record{tlsa(3, 1, 1, c), {Data: []byte{3, 1, 2, 1}}}, 2, "3 1 1"},
		"records that can't be parsed are no TLS": {[]resolve.Record{{Data: []byte{3}}}, 0, ""},
	}
	for name, tt := range tests {
		rs := Pack(tt.records)
		var list []string
		for _, r := range rs.Usable() {
			list = append(list, r.String())
		}
		if n := len(rs.All()); n != tt.all || rs.None() != (tt.all == 0) || strings.Join(list, ", ") != tt.usable {
			t.Errorf("%s: %d records, usable %q", name, n, list)
		}
	}
	var many []resolve.Record
	for range 1000 {
		many = append(many, tlsa(3, 1, 1, c))
	}
	if n := len(Pack(many).All()); n != maxRecords {
		t.Errorf("%d of 1,000 records", n)
	}
}

// zone answers TLSA queries.
type zone map[string]struct {
	answer resolve.Answer
	err    error
}

func (z zone) Lookup(_ context.Context, name string, _ resolve.Type) (resolve.Answer, error) {
	if e, ok := z[name]; ok {
		return e.answer, e.err
	}
	return resolve.Answer{}, resolve.ErrNotFound
}

func TestLookup(t *testing.T) {
	c := issue(t, "mx.example.net", false, time.Hour, nil).Leaf
	signed := resolve.Answer{Records: []resolve.Record{tlsa(3, 1, 1, c)}, Authentic: true}
	unsigned := resolve.Answer{Records: signed.Records}
	type reply = struct {
		answer resolve.Answer
		err    error
	}
	tests := map[string]struct {
		dns  zone
		base string
		err  bool
	}{
		"none":                    {zone{}, "", false},
		"at the host's name":      {zone{"_25._tcp.real.example.net": reply{answer: signed}}, "real.example.net", false},
		"at the name before":      {zone{"_25._tcp.mx.example.net": reply{answer: signed}}, "mx.example.net", false},
		"the real name first":     {zone{"_25._tcp.mx.example.net": reply{answer: signed}, "_25._tcp.real.example.net": reply{answer: signed}}, "real.example.net", false},
		"not authenticated":       {zone{"_25._tcp.real.example.net": reply{answer: unsigned}}, "", false},
		"bogus or no answer":      {zone{"_25._tcp.real.example.net": reply{err: resolve.ErrTemporary}}, "", true},
		"bogus at the first name": {zone{"_25._tcp.real.example.net": reply{err: resolve.ErrTemporary}, "_25._tcp.mx.example.net": reply{answer: signed}}, "", true},
	}
	for name, tt := range tests {
		rs, base, err := Lookup(t.Context(), tt.dns, "real.example.net", "mx.example.net", 25)
		if base != tt.base || (err != nil) != tt.err || rs.None() != (tt.base == "") {
			t.Errorf("%s: base %q, %v", name, base, err)
		}
	}
	if _, _, err := Lookup(t.Context(), zone{"_25._tcp.a.example": reply{err: resolve.ErrTemporary}}, "a.example", "a.example", 25); !errors.Is(err, resolve.ErrTemporary) {
		t.Errorf("the error is %v", err)
	}
}

func FuzzRecords(f *testing.F) {
	f.Add([]byte{3, 1, 1, 0}, []byte("2:ab"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		rs := Pack([]resolve.Record{{Data: a}, {Data: b}})
		all := rs.All()
		for i, r := range all {
			if len(r.Data) == 0 {
				t.Errorf("record %d is empty", i)
			}
		}
		again := Pack(nil)
		if len(all) == 0 != rs.None() || !again.None() {
			t.Error("None is wrong")
		}
		Verify(tls.ConnectionState{PeerCertificates: []*x509.Certificate{{Raw: a, RawSubjectPublicKeyInfo: b}}}, rs.Usable(), []string{"x"})
	})
}
