package spf

import (
	"context"
	"net/netip"
	"testing"

	"hoplite/internal/resolve"
	"hoplite/internal/resolve/resolvetest"
)

func TestRewrite(t *testing.T) {
	const zone = `
1.2.0.192.in-addr.arpa PTR other.example
1.2.0.192.in-addr.arpa PTR mx.good.example
1.2.0.192.in-addr.arpa PTR liar.good.example
other.example A 192.0.2.1
mx.good.example A 192.0.2.1
liar.good.example A 192.0.2.99
`
	for _, c := range []struct{ name, domain, record, want string }{
		{"nothing to do", "good.example", "v=spf1 a:x.example -all", "v=spf1 a:x.example -all"},
		{"CIDR lengths stay", "good.example", "v=spf1 a:x.example/24//64 mx/8 ip4:192.0.2.0/24 -all", "v=spf1 a:x.example/24//64 mx/8 ip4:192.0.2.0/24 -all"},
		{"a slash in a name", "good.example", "v=spf1 ~a:b/c.example/24 -all", "v=spf1 ~a:b\x01c.example/24 -all"},
		{"a slash in a macro", "good.example", "v=spf1 exists:b/%{s/}.example", "v=spf1 exists:b\x01%{s/}.example"},
		{"a name below the domain", "good.example", "v=spf1 exists:%{p}.x.example", "v=spf1 exists:mx.good.example.x.example"},
		{"any name", "elsewhere.example", "v=spf1 exists:%{p}.x.example", "v=spf1 exists:other.example.x.example"},
		{"digits and reversal", "good.example", "v=spf1 exists:%{p2r}.x.example exists:%{p1}.x.example", "v=spf1 exists:good.mx.x.example exists:example.x.example"},
		{"escaped", "good.example", "v=spf1 exists:%{P-}.x.example", "v=spf1 exists:mx.good.example.x.example"},
		{"not for an explanation", "good.example", "v=spf1 -all exp=%{p}.x.example", "v=spf1 -all exp=%{p}.x.example"},
	} {
		a := &adapter{dns: resolvetest.MustZone(zone), ip: netip.MustParseAddr("192.0.2.1")}
		if got := a.rewrite(context.Background(), c.domain, c.record); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// oddNames answers reverse look-ups with names that a sender may have chosen.
type oddNames struct{}

func (oddNames) Lookup(_ context.Context, _ string, t resolve.Type) (resolve.Answer, error) {
	if t == resolve.PTR {
		return resolve.Answer{Records: []resolve.Record{{Host: "x +all"}, {Host: "%{d}"}, {Host: "a/0"}}}, nil
	}
	return resolve.Answer{Records: []resolve.Record{{Addr: netip.MustParseAddr("192.0.2.1")}}}, nil
}

// A client's reverse names cannot add terms to the record of the domain that
// the client claims to be.
func TestNamesAddNoTerms(t *testing.T) {
	a := &adapter{dns: oddNames{}, ip: netip.MustParseAddr("192.0.2.1")}
	if got := a.rewrite(context.Background(), "good.example", "v=spf1 exists:%{p}.x.example -all"); got != "v=spf1 exists:unknown.x.example -all" {
		t.Errorf("%q", got)
	}
}
