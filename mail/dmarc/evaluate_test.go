package dmarc

import (
	"context"
	"testing"

	"hoplite/mail"
)

// The tree walk (RFC 9989, 4.10) determines the record that applies and the
// organisational domain.
func TestWalk(t *testing.T) {
	for _, c := range []struct {
		name, domain string
		txt          map[string][]string
		org, record  string // the organisational domain and the location of its record
	}{
		{"no record", "a.example.org", nil, "a.example.org", ""},
		{"at the domain", "example.org", map[string][]string{"_dmarc.example.org": {"v=DMARC1; p=reject"}}, "example.org", "example.org"},
		{"above the domain", "a.b.example.org", map[string][]string{"_dmarc.example.org": {"v=DMARC1; p=reject"}}, "example.org", "example.org"},
		{"the fewest labels win", "a.example.org", map[string][]string{
			"_dmarc.a.example.org": {"v=DMARC1; p=none"}, "_dmarc.example.org": {"v=DMARC1; p=reject"}}, "example.org", "example.org"},
		{"psd=n ends the walk", "a.b.example.org", map[string][]string{
			"_dmarc.b.example.org": {"v=DMARC1; p=none; psd=n"}, "_dmarc.example.org": {"v=DMARC1; p=reject"}}, "b.example.org", "b.example.org"},
		{"psd=y: the organisation is one label below", "a.b.bank.example", map[string][]string{
			"_dmarc.bank.example": {"v=DMARC1; p=reject; psd=y"}}, "b.bank.example", "bank.example"},
		{"psd=y above a record", "a.b.bank.example", map[string][]string{
			"_dmarc.b.bank.example": {"v=DMARC1; p=none"}, "_dmarc.bank.example": {"v=DMARC1; p=reject; psd=y"}}, "b.bank.example", "b.bank.example"},
		{"two records are none", "a.example.org", map[string][]string{
			"_dmarc.a.example.org": {"v=DMARC1; p=none", "v=DMARC1; p=reject"}, "_dmarc.example.org": {"v=DMARC1; p=reject"}}, "example.org", "example.org"},
		{"other TXT records do not count", "example.org", map[string][]string{
			"_dmarc.example.org": {"v=spf1 -all", "v=DMARC1; p=reject", "hello"}}, "example.org", "example.org"},
	} {
		_, org, at, err := walk(context.Background(), &zone{txt: c.txt}, c.domain)
		record := ""
		if at != nil {
			record = at.Domain
		}
		if err != nil || org != c.org || record != c.record {
			t.Errorf("%s: organisation %q, record of %q, %v; want %q, %q", c.name, org, record, err, c.org, c.record)
		}
	}
}

// TestAlignment covers the alignment of SPF and DKIM with From (RFC 9989,
// 4.10.2).
func TestAlignment(t *testing.T) {
	spf := func(value, from, helo string) []mail.AuthResult {
		r := mail.AuthResult{Method: "spf", Value: value}
		if from != "" {
			r.Props = append(r.Props, mail.AuthProp{Type: "smtp", Name: "mailfrom", Value: from})
		}
		if helo != "" {
			r.Props = append(r.Props, mail.AuthProp{Type: "smtp", Name: "helo", Value: helo})
		}
		return []mail.AuthResult{r}
	}
	key := func(value, d string) []mail.AuthResult { return []mail.AuthResult{dkim(value, d)} }
	const relaxed, strict = "v=DMARC1; p=reject", "v=DMARC1; p=reject; adkim=s; aspf=s"
	for _, c := range []struct {
		name, from, record string
		auth               []mail.AuthResult
		want               string
	}{
		{"nothing", "example.org", relaxed, nil, "fail"},
		{"DKIM of the domain", "example.org", relaxed, key("pass", "example.org"), "pass"},
		{"DKIM in capitals", "example.org", relaxed, key("pass", "EXAMPLE.org"), "pass"},
		{"DKIM of a domain below", "example.org", relaxed, key("pass", "mail.example.org"), "pass"},
		{"DKIM of the domain above", "mail.example.org", relaxed, key("pass", "example.org"), "pass"},
		{"DKIM of a domain beside", "a.example.org", relaxed, key("pass", "b.example.org"), "pass"},
		{"DKIM of another domain", "example.org", relaxed, key("pass", "example.com"), "fail"},
		{"DKIM of a domain with this end", "example.org", relaxed, key("pass", "badexample.org"), "fail"},
		{"DKIM failed", "example.org", relaxed, key("fail", "example.org"), "fail"},
		{"strict DKIM of the domain", "example.org", strict, key("pass", "example.org"), "pass"},
		{"strict DKIM of a domain below", "example.org", strict, key("pass", "mail.example.org"), "fail"},
		{"strict DKIM of the domain above", "mail.example.org", strict, key("pass", "example.org"), "fail"},
		{"SPF of the domain", "example.org", relaxed, spf("pass", "ann@example.org", ""), "pass"},
		{"SPF of a domain below", "example.org", relaxed, spf("pass", "ann@bounce.example.org", ""), "pass"},
		{"strict SPF of a domain below", "example.org", strict, spf("pass", "ann@bounce.example.org", ""), "fail"},
		{"SPF of another domain", "example.org", relaxed, spf("pass", "ann@example.com", ""), "fail"},
		{"SPF softfail", "example.org", relaxed, spf("softfail", "ann@example.org", ""), "fail"},
		{"SPF of HELO, without a reverse path", "example.org", relaxed, spf("pass", "", "mail.example.org"), "pass"},
		{"SPF of HELO, with a reverse path", "example.org", relaxed, spf("pass", "ann@example.com", "mail.example.org"), "fail"},
		{"one of several", "example.org", relaxed, append(key("fail", "example.org"), append(key("pass", "example.com"), key("pass", "example.org")...)...), "pass"},
		{"a pass counts more than a temporary error", "example.org", relaxed, append(key("temperror", "example.org"), spf("pass", "a@example.org", "")...), "pass"},
		{"another method", "example.org", relaxed, []mail.AuthResult{{Method: "arc", Value: "pass"}}, "fail"},
	} {
		z := &zone{txt: map[string][]string{"_dmarc.example.org": {c.record}}}
		if r := Evaluate(context.Background(), z, c.from, c.auth); r.Value != c.want {
			t.Errorf("%s: %s (%s), want %s", c.name, r.Value, r.Reason, c.want)
		}
	}
}

// missing is a zone in which no domain exists.
type missing struct{ zone }

func (*missing) Missing(context.Context, string) bool { return true }

// TestPolicy covers the choice between p, sp and np.
func TestPolicy(t *testing.T) {
	for _, c := range []struct {
		from, record string
		absent       bool
		want         Policy
	}{
		{"example.org", "v=DMARC1; p=reject; sp=none; np=quarantine", false, Reject},
		{"example.org", "v=DMARC1; p=reject; sp=none; np=quarantine", true, Reject},
		{"a.example.org", "v=DMARC1; p=reject", false, Reject},
		{"a.example.org", "v=DMARC1; p=reject; sp=none", false, None},
		{"a.example.org", "v=DMARC1; p=none; sp=none; np=reject", true, Reject},
		{"a.example.org", "v=DMARC1; p=none; sp=quarantine; np=reject", false, Quarantine},
		{"a.example.org", "v=DMARC1; p=none; sp=quarantine", true, Quarantine},
	} {
		z := zone{txt: map[string][]string{"_dmarc.example.org": {c.record}}}
		var dns DNS = &z
		if c.absent {
			dns = &missing{z}
		}
		if r := Evaluate(context.Background(), dns, c.from, nil); r.Value != "fail" || r.Policy != c.want {
			t.Errorf("%s, %s, absent %v: %s %s, want %s", c.from, c.record, c.absent, r.Value, r.Policy, c.want)
		}
	}
	if r := Evaluate(context.Background(), &zone{}, "example.org", nil); r.Value != "none" || r.Policy != "" || r.Record != nil {
		t.Errorf("no record: %+v", r)
	}
}
