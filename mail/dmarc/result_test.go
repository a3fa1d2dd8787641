package dmarc

import (
	"context"
	"strings"
	"testing"

	"hoplite/mail"
)

// The representation of a result in Authentication-Results and on the trail,
// and its order among the results of several From domains.
func TestResult(t *testing.T) {
	z := &zone{txt: map[string][]string{
		"_dmarc.example.org":     {"v=DMARC1; p=reject; sp=quarantine"},
		"_dmarc.none.example":    {"v=DMARC1; p=none"},
		"_dmarc.quarant.example": {"v=DMARC1; p=quarantine"},
		"_dmarc.dead.example":    {"error"},
	}}
	for _, c := range []struct {
		name, from, signed string
		value, comment     string
		facts              string
		severity           int
	}{
		{"pass", "example.org", "example.org", "pass", "p=reject sp=quarantine", "from=example.org result=pass record=_dmarc.example.org policy=reject why=dkim passed for example.org", 0},
		{"no record", "norecord.example", "", "none", "", "from=norecord.example result=none", 1},
		{"no answer", "dead.example", "", "temperror", "", "from=dead.example result=temperror why=record not available", 2},
		{"fails, no policy", "none.example", "", "fail", "p=none dis=none", "from=none.example result=fail record=_dmarc.none.example policy=none", 3},
		{"fails, quarantine", "quarant.example", "example.org", "fail", "p=quarantine dis=quarantine", "from=quarant.example result=fail", 4},
		{"fails, below", "a.example.org", "other.example", "fail", "p=reject sp=quarantine dis=quarantine", "from=a.example.org result=fail record=_dmarc.example.org policy=reject", 4},
		{"fails, reject", "example.org", "", "fail", "p=reject sp=quarantine dis=reject", "why=neither SPF nor DKIM is for this domain", 5},
	} {
		var auth []mail.AuthResult
		if c.signed != "" {
			auth = []mail.AuthResult{dkim("pass", c.signed)}
		}
		r := Evaluate(context.Background(), z, c.from, auth)
		a := r.AuthResult()
		if a.Method != "dmarc" || a.Value != c.value || a.Comment != c.comment || a.Prop("header", "from") != c.from {
			t.Errorf("%s: %+v", c.name, a)
		}
		var facts []string
		for _, f := range r.Facts() {
			facts = append(facts, f.Key+"="+f.Value)
		}
		if got := strings.Join(facts, " "); !strings.Contains(got, c.facts) {
			t.Errorf("%s: %s, want %s", c.name, got, c.facts)
		}
		if r.Severity() != c.severity {
			t.Errorf("%s: severity %d, want %d", c.name, r.Severity(), c.severity)
		}
	}
}

// Every From domain is evaluated, whichever field or address contains it.
func TestTwoAddresses(t *testing.T) {
	z := &zone{txt: map[string][]string{"_dmarc.good.example": {"v=DMARC1; p=none"}, "_dmarc.bank.example": {"v=DMARC1; p=reject"}}}
	auth := []mail.AuthResult{dkim("pass", "good.example")}
	for _, head := range []string{
		"From: a@good.example, ceo@bank.example\r\n",
		"From: ceo@bank.example, a@good.example\r\n",
		"From: a@good.example\r\nFrom: ceo@bank.example\r\n",
		"From: friends: a@good.example, Boss <ceo@bank.example>;\r\n",
		"From: a@good.example <ceo@bank.example>\r\n",
		"From: \"ceo@bank.example\" <a@good.example>, <ceo@BANK.example.>\r\n",
	} {
		domains, _ := FromDomains([]byte(head + "\r\n"))
		worst := Result{}
		for _, d := range domains {
			if r := Evaluate(context.Background(), z, d, auth); worst.Value == "" || r.Severity() > worst.Severity() {
				worst = r
			}
		}
		if len(domains) != 2 || worst.Domain != "bank.example" || worst.Policy != Reject {
			t.Errorf("%q: %v, the worst is %+v", head, domains, worst)
		}
	}
}

// pct is no longer part of DMARC (RFC 9989).
func TestNoPercent(t *testing.T) {
	with, ok := Parse("v=DMARC1; p=reject; pct=0")
	without, _ := Parse("v=DMARC1; p=reject")
	if !ok || with != without {
		t.Errorf("%+v and %+v", with, without)
	}
}

// A public suffix is never the organisational domain of the domains below it.
func TestPublicSuffix(t *testing.T) {
	z := &zone{txt: map[string][]string{"_dmarc.co.uk": {"v=DMARC1; p=reject"}, "_dmarc.uk": {"v=DMARC1; p=reject"}}}
	for _, c := range []struct{ from, signed, want string }{
		{"a.co.uk", "b.co.uk", "fail"},
		{"a.co.uk", "a.co.uk", "pass"},
		{"x.a.co.uk", "y.a.co.uk", "pass"},
		{"x.a.co.uk", "y.b.co.uk", "fail"},
	} {
		if r := Evaluate(context.Background(), z, c.from, []mail.AuthResult{dkim("pass", c.signed)}); r.Value != c.want {
			t.Errorf("From %s, signed by %s: %s (%s), want %s", c.from, c.signed, r.Value, r.Reason, c.want)
		}
	}
}
