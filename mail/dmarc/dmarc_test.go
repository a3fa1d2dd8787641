package dmarc

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"hoplite/mail"
)

// zone answers from a map of names to records. The record "error" simulates a
// server that does not answer.
type zone struct {
	txt   map[string][]string
	asked int
}

func (z *zone) TXT(_ context.Context, name string) ([]string, error) {
	z.asked++
	if len(name) > 253 || slices.Contains(z.txt[name], "error") {
		return nil, errors.New("no answer")
	}
	return z.txt[name], nil
}

func (z *zone) Missing(context.Context, string) bool { return false }

func dkim(v, d string) mail.AuthResult {
	return mail.AuthResult{Method: "dkim", Value: v, Props: []mail.AuthProp{{Type: "header", Name: "d", Value: d}}}
}

func TestFromDomains(t *testing.T) {
	many := "From: "
	for c := 'a'; c <= 'k'; c++ {
		many += "x@" + string(c) + ".example, "
	}
	for _, c := range []struct {
		name, head, want string
		problem          string
	}{
		{"one", "From: Ann <ann@Example.ORG>", "example.org", ""},
		{"final dot", "From: Ann <ann@example.org.>", "example.org", ""},
		{"U-label", "From: ann@b\u00fccher.example", "xn--bcher-kva.example", ""},
		{"two", "From: a@x.example, b@y.example", "x.example y.example", ""},
		{"the same twice", "From: a@x.example, b@X.example", "x.example", ""},
		{"malformed", "From: a@x.example <b@y.example>", "x.example y.example", ""},
		{"folded", "From: a@x.example\r\n <b@y.example>", "x.example y.example", ""},
		{"two fields", "From: a@x.example\r\nfrom : b@y.example", "x.example y.example", "several"},
		{"none", "Subject: x", "", "no From field"},
		{"nobody", "From: nobody:;", "", "no address"},
		{"one label", "From: ann@localhost, b@x.example", "x.example", "valid domain"},
		{"literal", "From: ann@[192.0.2.1]", "", "valid domain"},
		{"bad domain", "From: a@x..example <b@y.example>", "y.example", "valid domain"},
		{"NUL", "From: ann@x.example\x00.evil.example", "x.example", "NUL"},
		{"too many", many + "x@l.example", "a.example b.example c.example d.example e.example", "too many"},
	} {
		domains, problem := FromDomains([]byte(c.head + "\r\n\r\n"))
		if got := strings.Join(domains, " "); !strings.HasPrefix(got, c.want) || c.problem == "" != (problem == "") || !strings.Contains(problem, c.problem) {
			t.Errorf("%s: %q, %q, want %q, %q", c.name, got, problem, c.want, c.problem)
		}
	}
}

// The sender controls unaligned identifiers, and whether DNS answers queries
// for them, so they never excuse a message.
func TestTemporaryErrors(t *testing.T) {
	z := &zone{txt: map[string][]string{
		"_dmarc.bank.example":        {"v=DMARC1; p=reject"},
		"_dmarc.dead.bank.example":   {"error"},
		"_dmarc.strict.example":      {"v=DMARC1; p=reject; adkim=s"},
		"_dmarc.unreachable.example": {"error"},
	}}
	long := strings.Repeat(strings.Repeat("a", 60)+".", 4) + "bank.example"
	for _, c := range []struct {
		name, from string
		auth       mail.AuthResult
		want       string
	}{
		{"aligned", "bank.example", dkim("temperror", "bank.example"), "temperror"},
		{"aligned below", "bank.example", dkim("temperror", "a.bank.example"), "temperror"},
		{"another domain", "bank.example", dkim("temperror", "evil.example"), "fail"},
		{"another domain that does not answer", "bank.example", dkim("pass", "unreachable.example"), "fail"},
		{"below, but strict", "strict.example", dkim("temperror", "a.strict.example"), "fail"},
		{"below, without an answer", "bank.example", dkim("pass", "dead.bank.example"), "temperror"},
		{"no record of From", "unreachable.example", dkim("pass", "evil.example"), "temperror"},
		{"a name too long for DNS", long, dkim("pass", "evil.example"), "fail"},
	} {
		if r := Evaluate(context.Background(), z, c.from, []mail.AuthResult{c.auth}); r.Value != c.want {
			t.Errorf("%s: %s (%s), want %s", c.name, r.Value, r.Reason, c.want)
		}
	}
}

// The number of queries is bounded regardless of the length of the name.
func TestWalkIsBounded(t *testing.T) {
	z := &zone{txt: map[string][]string{"_dmarc.example.org": {"v=DMARC1; p=reject"}}}
	r := Evaluate(context.Background(), z, strings.Repeat("a.", 100)+"example.org", []mail.AuthResult{dkim("pass", strings.Repeat("b.", 100)+"example.org")})
	if r.Value != "pass" || z.asked > 2*(maxLabels+1) {
		t.Errorf("%s after %d questions", r.Value, z.asked)
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		txt  string
		ok   bool
		want Record
	}{
		{"v=DMARC1; p=reject", true, Record{P: Reject, PSD: "u"}},
		{"v=DMARC1;p=Quarantine;sp=none;np=reject;pct=5;adkim=s;aspf=S;t=y;psd=n", true,
			Record{P: Quarantine, SP: None, NP: Reject, StrictDKIM: true, StrictSPF: true, Testing: true, PSD: "n"}},
		{" v = DMARC1 ; p = none ; unknown=1; junk", true, Record{P: None, PSD: "u"}},
		{"v=DMARC1; p=what; rua=mailto:a@example.org", true, Record{P: None, PSD: "u"}},
		{"v=DMARC1; p=what", false, Record{}},
		{"v=DMARC1; p=none; pct=101; psd=x; sp=x", true, Record{P: None, PSD: "u"}},
		{"v=DMARC1; rua=mailto:a@example.org", true, Record{P: None, PSD: "u"}},
		{"v=dmarc1; p=reject", false, Record{}},
		{"p=reject; v=DMARC1", false, Record{}},
		{"v=spf1 -all", false, Record{}},
		{"", false, Record{}},
		{"v=DMARC1; p=reject;" + strings.Repeat(" ", maxRecord), false, Record{}},
	} {
		r, ok := Parse(c.txt)
		if ok != c.ok || ok && r != c.want {
			t.Errorf("%.60q: %+v, %v", c.txt, r, ok)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("v=DMARC1; p=reject; sp=none; np=quarantine; pct=5; adkim=s; psd=y; t=y")
	f.Add("v=DMARC1;p=;;=;rua=mailto:")
	f.Fuzz(func(t *testing.T, txt string) {
		r, ok := Parse(txt)
		if ok && (r.P == "") {
			t.Fatalf("%q is %+v", txt, r)
		}
	})
}
