package spf

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hoplite/filters"
	"hoplite/internal/resolve"
	"hoplite/internal/resolve/resolvetest"
	"hoplite/mail"
)

// suiteZone is the DNS zone of one part of the RFC 7208 suite.
type suiteZone map[string][][2]any

func (z suiteZone) Lookup(_ context.Context, name string, t resolve.Type) (resolve.Answer, error) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	for range 10 {
		var records [][2]any
		for n, r := range z {
			if strings.ToLower(n) == name {
				records = r
			}
		}
		if records == nil || slices.ContainsFunc(strings.Split(name, "."), func(l string) bool { return l == "" || len(l) > 63 }) {
			return resolve.Answer{}, &resolve.Error{Name: name, Type: t, NoDomain: true}
		}
		a, cname, err := answer(name, t, records)
		if cname == "" {
			return a, err
		}
		name = strings.ToLower(cname)
	}
	return resolve.Answer{}, &resolve.Error{Name: name, Type: t, Temporary: true}
}

func answer(name string, t resolve.Type, records [][2]any) (a resolve.Answer, cname string, err error) {
	want := strings.TrimPrefix(t.String(), "Type")
	texts := map[string][]resolve.Record{}
	for _, r := range records {
		kind, value := r[0].(string), r[1]
		if kind == "TIMEOUT" && (value == "" || value == true) || kind == "SERVFAIL" {
			err = &resolve.Error{Name: name, Type: t, Temporary: true}
		}
		if kind == "CNAME" {
			return a, value.(string), nil
		}
		if kind == "SPF" || kind == "TXT" {
			texts[kind] = append(texts[kind], resolve.Record{Text: text(value)})
		}
		if kind != want {
			continue
		}
		switch kind {
		case "A", "AAAA":
			if ip, err := netip.ParseAddr(text(value)); err == nil {
				a.Records = append(a.Records, resolve.Record{Addr: ip})
			}
		case "MX":
			mx := value.([]any)
			a.Records = append(a.Records, resolve.Record{Pref: uint16(mx[0].(float64)), Host: strings.TrimSuffix(mx[1].(string), ".")})
		case "PTR":
			a.Records = append(a.Records, resolve.Record{Host: strings.TrimSuffix(text(value), ".")})
		}
	}
	if t == resolve.TXT { // the suite predates the removal of the SPF record type
		if a.Records = texts["TXT"]; a.Records == nil {
			a.Records = texts["SPF"]
		}
		a.Records = slices.DeleteFunc(a.Records, func(r resolve.Record) bool { return r.Text == "NONE" })
	}
	if len(a.Records) == 0 && err == nil {
		err = &resolve.Error{Name: name, Type: t}
	}
	if err != nil && len(a.Records) > 0 {
		err = nil
	}
	return a, "", err
}

func text(v any) string {
	if parts, ok := v.([]any); ok {
		var s string
		for _, p := range parts {
			s += p.(string)
		}
		return s
	}
	return fmt.Sprint(v)
}

// TestRFC7208 runs the test suite of the RFC's authors.
func TestRFC7208(t *testing.T) {
	raw, err := os.ReadFile("testdata/rfc7208.json")
	if err != nil {
		t.Fatal(err)
	}
	var suites []struct {
		Description string
		Zone        map[string][][2]any
		Tests       map[string]struct {
			Helo, Host, MailFrom, Skip string
			Result                     []string
		}
	}
	if err := json.Unmarshal(raw, &suites); err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, s := range suites {
		for name, c := range s.Tests {
			ran++
			got := Check(context.Background(), suiteZone(s.Zone), netip.MustParseAddr(c.Host), c.Helo, address(c.MailFrom))
			if !slices.Contains(c.Result, got.Value) {
				t.Errorf("%s: %s: %s (%s), want %v", s.Description, name, got.Value, got.Term, c.Result)
			}
		}
	}
	if ran != 203 {
		t.Errorf("only %d cases ran", ran)
	}
}

// address accepts addresses that ParseAddress rejects, because the suite
// contains some.
func address(s string) mail.Address {
	if a, err := mail.ParseAddress(s); err == nil {
		return a
	}
	return mail.Address(strings.ToLower(s))
}

const zone = `
good.example TXT "v=spf1 ip4:192.0.2.1 -all"
soft.example TXT "v=spf1 ~all"
broken.example TXT "v=spf1 nonsense"
slow.example SLOW 60s
slow.example TXT "v=spf1 -all"
dead.example SERVFAIL
mx.good.example TXT "v=spf1 a -all"
mx.good.example A 192.0.2.1
many.example TXT "v=spf1 include:a1.many.example -all"
`

func transaction(ip, helo, from string) *mail.Transaction {
	return mail.NewTransaction(mail.Client{Addr: netip.AddrPortFrom(netip.MustParseAddr(ip), 25), Helo: helo}, mail.Address(from))
}

func TestFilter(t *testing.T) {
	for _, c := range []struct {
		name, ip, helo, from string
		cfg                  Config
		action               filters.Action
		auth                 string
	}{
		{"pass", "192.0.2.1", "mx.good.example", "a@good.example", Config{Fail: "reject", HeloFail: "reject"}, "", "helo=pass mailfrom=pass"},
		{"fail, tagged", "192.0.2.2", "x", "a@good.example", Config{Fail: "tag"}, "tag", "mailfrom=fail"},
		{"fail, refused", "192.0.2.2", "x", "a@good.example", Config{Fail: "reject"}, "reject", "mailfrom=fail"},
		{"fail of helo, refused", "192.0.2.2", "mx.good.example", "a@none.example", Config{HeloFail: "reject"}, "reject", "helo=fail"},
		{"fail of helo, tagged", "192.0.2.2", "mx.good.example", "a@none.example", Config{HeloFail: "tag"}, "tag", "helo=fail mailfrom=none"},
		{"softfail", "192.0.2.2", "x", "a@soft.example", Config{Softfail: "quarantine"}, "quarantine", "mailfrom=softfail"},
		{"broken record", "192.0.2.2", "x", "a@broken.example", Config{Permerror: "pass"}, "", "mailfrom=permerror"},
		{"no DNS never refuses", "192.0.2.2", "x", "a@dead.example", Config{Fail: "reject", Permerror: "reject"}, "", "mailfrom=temperror"},
		{"slow DNS never refuses", "192.0.2.2", "x", "a@slow.example", Config{Fail: "reject"}, "", "mailfrom=temperror"},
		{"report", "192.0.2.1", "mx.good.example", "", Config{Fail: "reject"}, "", "helo=pass"},
		{"forwarder", "192.0.2.2", "x", "a@good.example", Config{Fail: "reject", Forwarders: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}, "", ""},
		{"literal helo", "192.0.2.2", "[192.0.2.2]", "", Config{}, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, _ := New(c.cfg, filters.Env{DNS: resolvetest.MustZone(zone)})
				start := time.Now()
				v, err := f.(*Filter).AtMail(context.Background(), transaction(c.ip, c.helo, c.from))
				var auth []string
				for _, a := range v.Auth {
					auth = append(auth, a.Props[0].Name+"="+a.Value)
				}
				if err != nil || v.Action != c.action || strings.Join(auth, " ") != c.auth {
					t.Errorf("%s %v, %v: %+v", v.Action, auth, err, v)
				}
				if took := time.Since(start); took > 2*checkTime {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

func TestKnownClientsAreNotChecked(t *testing.T) {
	f, _ := New(Config{Fail: "reject"}, filters.Env{DNS: resolvetest.MustZone(zone)})
	for _, c := range []mail.Client{{Trusted: true}, {MayRelay: true}, {User: "ann@example.org"}} {
		c.Addr = netip.MustParseAddrPort("192.0.2.2:25")
		if v, err := f.(*Filter).AtMail(context.Background(), mail.NewTransaction(c, "a@good.example")); err != nil || v.Action != "" || v.Auth != nil {
			t.Errorf("%+v: %+v, %v", c, v, err)
		}
	}
}

// For mail from one of our servers, the client in its Received line is checked.
func TestRelayed(t *testing.T) {
	head := "Received: from mx.good.example (x [%s])\r\n\tby in.example.org (Postfix) with ESMTP id 1; Mon, 23 Nov 2026 04:00:00 +0000 (UTC)\r\n\r\n"
	for _, c := range []struct {
		ip      string
		relayed bool
		want    string
	}{{"192.0.2.1", true, "pass pass"}, {"198.51.100.9", true, "fail fail"}, {"198.51.100.9", false, ""}, {"203.0.113.4", true, ""}} {
		f, _ := New(Config{Fail: "tag", HeloFail: "tag", Relayed: c.relayed}, filters.Env{DNS: resolvetest.MustZone(zone), Trusted: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}})
		m, err := mail.NewMessage(mail.Bytes(fmt.Sprintf(head, c.ip)))
		if err != nil {
			t.Fatal(err)
		}
		v, err := f.(*Filter).AtData(context.Background(), mail.NewTransaction(mail.Client{Trusted: true}, "a@good.example"), m)
		var got []string
		for _, a := range v.Auth {
			got = append(got, a.Value)
		}
		if err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v, %v", c.ip, got, err)
		}
	}
}

// The number of look-ups is limited regardless of how records refer to each
// other (RFC 7208, 4.6.4).
func TestQuestionsAreBounded(t *testing.T) {
	var text strings.Builder
	for i := range 40 {
		fmt.Fprintf(&text, "d%d.example TXT \"v=spf1 include:d%d.example include:d%d.example a:x%d.example -all\"\n", i, i+1, i+2, i)
	}
	text.WriteString("loop.example TXT \"v=spf1 include:loop.example -all\"\nvoid.example TXT \"v=spf1 a:v1.example a:v2.example a:v3.example a:v4.example -all\"\n")
	for _, domain := range []string{"d0.example", "loop.example", "void.example"} {
		z := resolvetest.MustZone(text.String())
		r := Check(context.Background(), z, netip.MustParseAddr("192.0.2.1"), "x", mail.Address("a@"+domain))
		if r.Value != "permerror" || z.Asked() > 30 {
			t.Errorf("%s: %s (%s) after %d questions", domain, r.Value, r.Term, z.Asked())
		}
	}
}

// Every macro that RFC 7208, 7.2 permits in a record is supported; providers
// use %{ir}.%{v}.
func TestMacros(t *testing.T) {
	for macro, want := range map[string]string{
		"%{s}": "ann@example.org", "%{l}": "ann", "%{o}": "example.org", "%{d}": "example.org", "%{d2}": "example.org", "%{dr}": "org.example",
		"%{i}": "192.0.2.1", "%{ir}": "1.2.0.192", "%{v}": "in-addr", "%{V}": "in-addr", "%{h}": "mail.example.org", "%{p}": "unknown",
		"%{ir}.%{v}.%{d}": "1.2.0.192.in-addr.example.org",
	} {
		zone := resolvetest.MustZone("example.org TXT \"v=spf1 exists:" + macro + ".ok.example.net -all\"\n" + want + ".ok.example.net A 127.0.0.2\n")
		if r := Check(context.Background(), zone, netip.MustParseAddr("192.0.2.1"), "mail.example.org", "ann@example.org"); r.Value != "pass" {
			t.Errorf("%s: %s (%s), want pass", macro, r.Value, r.Term)
		}
	}
}
