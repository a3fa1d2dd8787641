package resolve

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/net/dns/dnsmessage"
)

func rr(owner string, ttl uint32, body dnsmessage.ResourceBody) dnsmessage.Resource {
	return dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(owner), Class: dnsmessage.ClassINET, TTL: ttl}, Body: body}
}

func addr4(last byte) *dnsmessage.AResource {
	return &dnsmessage.AResource{A: [4]byte{192, 0, 2, last}}
}

func cname(to string) *dnsmessage.CNAMEResource {
	return &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(to)}
}

// Answers are parsed into records, and malformed ones are rejected.
func TestParseAnswer(t *testing.T) {
	const name = "a.example"
	chaos := rr("a.example.", 60, addr4(9))
	chaos.Header.Class = dnsmessage.ClassCHAOS
	soa := func(ttl, min uint32) dnsmessage.Resource {
		return rr("example.", ttl, &dnsmessage.SOAResource{NS: dnsmessage.MustNewName("."), MBox: dnsmessage.MustNewName("."), MinTTL: min})
	}
	var ring []dnsmessage.Resource
	for i := range 20 {
		ring = append(ring, rr(fmt.Sprintf("n%d.example.", i), 60, cname(fmt.Sprintf("n%d.example.", i+1))))
	}
	for what, tt := range map[string]struct {
		change func(m *dnsmessage.Message)
		typ    Type
		want   Answer
		err    string
		ttl    time.Duration // of a negative answer
	}{
		"an address": {
			change: func(m *dnsmessage.Message) { m.Answers = []dnsmessage.Resource{rr("A.Example.", 60, addr4(1))} },
			want:   Answer{Name: name, TTL: time.Minute, Records: []Record{{Addr: netip.MustParseAddr("192.0.2.1")}}},
		},
		"the lowest TTL": {
			change: func(m *dnsmessage.Message) {
				m.Answers = []dnsmessage.Resource{rr("a.example.", 60, addr4(1)), rr("a.example.", 30, addr4(2))}
			},
			want: Answer{Name: name, TTL: 30 * time.Second, Records: []Record{{Addr: netip.MustParseAddr("192.0.2.1")}, {Addr: netip.MustParseAddr("192.0.2.2")}}},
		},
		"a TTL with the top bit is zero": {
			change: func(m *dnsmessage.Message) {
				m.Answers = []dnsmessage.Resource{rr("a.example.", 1<<31, addr4(1))}
			},
			want: Answer{Name: name, Records: []Record{{Addr: netip.MustParseAddr("192.0.2.1")}}},
		},
		"through a CNAME": {
			change: func(m *dnsmessage.Message) {
				m.Answers = []dnsmessage.Resource{rr("b.example.", 60, addr4(1)), rr("a.example.", 10, cname("b.example."))}
			},
			want: Answer{Name: "b.example", TTL: 10 * time.Second, Records: []Record{{Addr: netip.MustParseAddr("192.0.2.1")}}},
		},
		"a CNAME that the server did not follow": {
			change: func(m *dnsmessage.Message) {
				m.Answers = []dnsmessage.Resource{rr("a.example.", 10, cname("b.other."))}
			},
			want: Answer{Name: "b.other", TTL: 10 * time.Second},
		},
		"records of other names and classes": {
			change: func(m *dnsmessage.Message) {
				m.Answers = []dnsmessage.Resource{rr("evil.example.", 60, addr4(66)), chaos}
			},
			err: "no such record",
		},
		"authenticated": {
			change: func(m *dnsmessage.Message) {
				m.AuthenticData, m.Answers = true, []dnsmessage.Resource{rr("a.example.", 60, addr4(1))}
			},
			want: Answer{Name: name, TTL: time.Minute, Authentic: true, Records: []Record{{Addr: netip.MustParseAddr("192.0.2.1")}}},
		},
		"no such name": {
			change: func(m *dnsmessage.Message) {
				m.RCode, m.Authorities = dnsmessage.RCodeNameError, []dnsmessage.Resource{soa(600, 300)}
			},
			err: "no such record", ttl: 5 * time.Minute,
		},
		"no such record, by a short SOA": {
			change: func(m *dnsmessage.Message) {
				m.Authorities = []dnsmessage.Resource{rr("example.", 60, &dnsmessage.NSResource{NS: dnsmessage.MustNewName("ns.")}), soa(20, 300)}
			},
			err: "no such record", ttl: 20 * time.Second,
		},
		"a server that fails":   {change: func(m *dnsmessage.Message) { m.RCode = dnsmessage.RCodeServerFailure }, err: "server says ServerFailure"},
		"a server that refuses": {change: func(m *dnsmessage.Message) { m.RCode = dnsmessage.RCodeRefused }, err: "server says Refused"},
		"truncated":             {change: func(m *dnsmessage.Message) { m.Truncated = true }, err: errTruncated.Error()},
		"another id":            {change: func(m *dnsmessage.Message) { m.ID++ }, err: errStray.Error()},
		"a question":            {change: func(m *dnsmessage.Message) { m.Response = false }, err: errStray.Error()},
		"another question": {
			change: func(m *dnsmessage.Message) { m.Questions[0].Name = dnsmessage.MustNewName("b.example.") }, err: errStray.Error(),
		},
		"another type":  {change: func(m *dnsmessage.Message) { m.Questions[0].Type = MX }, err: errStray.Error()},
		"another class": {change: func(m *dnsmessage.Message) { m.Questions[0].Class = dnsmessage.ClassCHAOS }, err: errStray.Error()},
		"strings are joined": {
			typ: TXT,
			change: func(m *dnsmessage.Message) {
				m.Answers = []dnsmessage.Resource{rr("a.example.", 60, &dnsmessage.TXTResource{TXT: []string{"v=spf1 ", "-all"}})}
			},
			want: Answer{Name: name, TTL: time.Minute, Records: []Record{{Text: "v=spf1 -all"}}},
		},
		"mail servers": {
			typ: MX,
			change: func(m *dnsmessage.Message) {
				m.Answers = []dnsmessage.Resource{rr("a.example.", 60, &dnsmessage.MXResource{Pref: 5, MX: dnsmessage.MustNewName("MX.a.example.")}), rr("a.example.", 60, &dnsmessage.MXResource{MX: dnsmessage.MustNewName(".")})}
			},
			want: Answer{Name: name, TTL: time.Minute, Records: []Record{{Pref: 5, Host: "mx.a.example"}, {}}},
		},
		"TLSA": {
			typ: TLSA,
			change: func(m *dnsmessage.Message) {
				m.Answers = []dnsmessage.Resource{rr("a.example.", 60, &dnsmessage.UnknownResource{Type: TLSA, Data: []byte{3, 1, 1, 9}})}
			},
			want: Answer{Name: name, TTL: time.Minute, Records: []Record{{Data: []byte{3, 1, 1, 9}}}},
		},
	} {
		t.Run(what, func(t *testing.T) {
			if tt.typ == 0 {
				tt.typ = A
			}
			m := dnsmessage.Message{
				Header:    dnsmessage.Header{ID: 7, Response: true},
				Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName("a.example."), Type: tt.typ, Class: dnsmessage.ClassINET}},
			}
			tt.change(&m)
			b, err := m.Pack()
			if err != nil {
				t.Fatal(err)
			}
			got, err := parseAnswer(b, 7, name, tt.typ)
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Fatalf("error %v, want %q", err, tt.err)
			}
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
				t.Error(diff)
			}
			var e *Error
			if errors.As(err, &e); e != nil && e.ttl != tt.ttl {
				t.Errorf("valid for %s, want %s", e.ttl, tt.ttl)
			}
			for n := range b { // a truncated message never yields fewer records
				if cut, err := parseAnswer(b[:n], 7, name, tt.typ); err == nil && len(cut.Records) < len(tt.want.Records) {
					t.Errorf("%d of %d octets: %+v", n, len(b), cut)
				}
			}
		})
	}
	all := make([]owned, 0, len(ring))
	for i := range ring {
		all = append(all, owned{owner: fmt.Sprintf("n%d.example", i), typ: dnsmessage.TypeCNAME, Record: Record{Host: fmt.Sprintf("n%d.example", i+1)}})
	}
	if a := follow(all, "n0.example", A); a.Name != fmt.Sprintf("n%d.example", maxChain) {
		t.Errorf("a chain of %d CNAMEs is followed to %s", len(all), a.Name)
	}
}

func TestNames(t *testing.T) {
	for in, want := range map[string]string{
		"Example.ORG.": "example.org", "": "", ".": "", "bücher.example": "xn--bcher-kva.example", "_dmarc.example.org": "_dmarc.example.org",
		"a..b": "!", strings.Repeat("x", 63) + ".example": strings.Repeat("x", 63) + ".example", strings.Repeat("x", 64) + ".example": "!",
		strings.Repeat("x.", 130) + "example": "!", ".example": "!",
	} {
		got, err := Canonical(in)
		if (err != nil) != (want == "!") || err == nil && got != want {
			t.Errorf("%.40q: %q, %v", in, got, err)
		}
	}
	for in, want := range map[string]string{
		"192.0.2.1": "1.2.0.192.in-addr.arpa", "::ffff:192.0.2.1": "1.2.0.192.in-addr.arpa",
		"2001:db8::1": "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
	} {
		if got := ReverseName(netip.MustParseAddr(in)); got != want {
			t.Errorf("%s: %s", in, got)
		}
	}
	for err, want := range map[*Error]string{
		{Name: "a.example", Type: A}:                                           "look up A a.example: no such record",
		{Name: "a.example", Type: TLSA, Temporary: true}:                       "look up 52 a.example: no answer",
		{Name: "a.example", Type: MX, Temporary: true, Cause: errors.New("x")}: "look up MX a.example: no answer: x",
	} {
		if err.Error() != want || errors.Is(err, ErrTemporary) == errors.Is(err, ErrNotFound) {
			t.Errorf("%q, want %q", err, want)
		}
	}
}
