package dmarc

import (
	"context"
	"fmt"
	"testing"

	"hoplite/filters"
	"hoplite/internal/resolve/resolvetest"
	"hoplite/mail"
)

const zone = `
_dmarc.example.org TXT "v=DMARC1; p=reject; sp=quarantine; rua=mailto:x@example.org"
_dmarc.none.example TXT "v=DMARC1; p=none"
_dmarc.strict.example TXT "v=DMARC1; p=reject; adkim=s; aspf=s"
_dmarc.two.example TXT "v=DMARC1; p=reject"
_dmarc.two.example TXT "v=DMARC1; p=none"
_dmarc.np.example TXT "v=DMARC1; p=none; sp=none; np=reject"
real.np.example A 192.0.2.1
_dmarc.test.example TXT "v=DMARC1; p=reject; t=y"
_dmarc.pct.example TXT "v=DMARC1; p=reject; pct=0"
_dmarc.gov.uk TXT "v=DMARC1; p=reject; sp=reject"
_dmarc.bank TXT "v=DMARC1; p=reject; psd=y"
_dmarc.branch.corp.example TXT "v=DMARC1; p=reject; psd=n"
_dmarc.corp.example TXT "v=DMARC1; p=none"
_dmarc.dead.example SERVFAIL
_dmarc.lower.example TXT "v=DMARC1; p=Reject; rf=x; fo=9"
_dmarc.badp.example TXT "v=DMARC1; p=what"
_dmarc.xn--bcher-kva.example TXT "v=DMARC1; p=reject"
`

func spf(v, d string) mail.AuthResult {
	return mail.AuthResult{Method: "spf", Value: v, Props: []mail.AuthProp{{Type: "smtp", Name: "mailfrom", Value: "x@" + d}}}
}

func spfPass(d string) mail.AuthResult { return spf("pass", d) }

func dkim(v, d string) mail.AuthResult {
	return mail.AuthResult{Method: "dkim", Value: v, Props: []mail.AuthProp{{Type: "header", Name: "d", Value: d}}}
}

func arc(sealer string) mail.AuthResult {
	return mail.AuthResult{Method: "arc", Value: "pass", Props: []mail.AuthProp{{Type: "policy", Name: "sealer", Value: sealer}, {Type: "policy", Name: "dmarc", Value: "pass"}}}
}

func judge(t *testing.T, cfg Config, head string, auth ...mail.AuthResult) filters.Verdict {
	t.Helper()
	f, _ := New(cfg, filters.Env{DNS: resolvetest.MustZone(zone)})
	m, err := mail.NewMessage(mail.Bytes(head + "\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	tx := mail.NewTransaction(mail.Client{}, "")
	tx.Trail.Auth = auth
	v, err := f.(*Filter).AtData(context.Background(), tx, m)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestDMARC(t *testing.T) {
	enforce := Config{Mode: "enforce", BadFrom: "reject", Sealers: []string{"lists.example"}, Override: []Override{{Domain: ".kind.example.org", Policy: "none"}}}
	for _, c := range []struct {
		name, from string
		auth       []mail.AuthResult
		value      string
		action     filters.Action
	}{
		{"aligned by DKIM", "ann@example.org", []mail.AuthResult{dkim("pass", "example.org")}, "pass", ""},
		{"aligned by SPF", "ann@example.org", []mail.AuthResult{spfPass("example.org")}, "pass", ""},
		{"relaxed, below", "ann@example.org", []mail.AuthResult{spfPass("bounce.mail.example.org")}, "pass", ""},
		{"relaxed, above", "ann@deep.example.org", []mail.AuthResult{dkim("pass", "example.org")}, "pass", ""},
		{"relaxed, sisters", "ann@a.example.org", []mail.AuthResult{dkim("pass", "b.example.org")}, "pass", ""},
		{"case", "ann@Example.ORG", []mail.AuthResult{dkim("pass", "EXAMPLE.org")}, "pass", ""},
		{"other domain", "ann@example.org", []mail.AuthResult{dkim("pass", "example.com"), spfPass("example.net")}, "fail", "reject"},
		{"look-alike", "ann@example.org", []mail.AuthResult{dkim("pass", "notexample.org")}, "fail", "reject"},
		{"only the top level is the same", "ann@example.org", []mail.AuthResult{dkim("pass", "org")}, "fail", "reject"},
		{"failed signature", "ann@example.org", []mail.AuthResult{dkim("fail", "example.org")}, "fail", "reject"},
		{"signature by a testing key", "ann@example.org", []mail.AuthResult{dkim("neutral", "example.org")}, "fail", "reject"},
		{"sp for a sub-domain", "ann@a.example.org", nil, "fail", "quarantine"},
		{"p=none", "ann@none.example", nil, "fail", "tag"},
		{"no record", "ann@nowhere.example", nil, "none", ""},
		{"two records are none", "ann@two.example", nil, "none", ""},
		{"unusable p", "ann@badp.example", nil, "none", ""},
		{"capital and unknown values", "ann@lower.example", nil, "fail", "reject"},
		{"strict", "ann@strict.example", []mail.AuthResult{dkim("pass", "a.strict.example"), spfPass("b.strict.example")}, "fail", "reject"},
		{"strict, the very domain", "ann@strict.example", []mail.AuthResult{dkim("pass", "strict.example")}, "pass", ""},
		{"np for a name that does not exist", "ann@fake.np.example", nil, "fail", "reject"},
		{"np not for one that does", "ann@real.np.example", nil, "fail", "tag"},
		{"t=y is one step milder", "ann@test.example", nil, "fail", "quarantine"},
		{"pct, which RFC 9989 removed, is ignored", "ann@pct.example", nil, "fail", "reject"},
		{"suffix with a record, not aligned over it", "ann@a.gov.uk", []mail.AuthResult{dkim("pass", "b.gov.uk")}, "fail", "reject"},
		{"psd=y", "ann@mine.bank", []mail.AuthResult{dkim("pass", "yours.bank")}, "fail", "reject"},
		{"psd=y, aligned below", "ann@x.mine.bank", []mail.AuthResult{dkim("pass", "mine.bank")}, "pass", ""},
		{"psd=n ends the walk", "ann@branch.corp.example", []mail.AuthResult{dkim("pass", "corp.example")}, "fail", "reject"},
		{"no DNS never refuses", "ann@dead.example", nil, "temperror", ""},
		{"unsure SPF of the domain never refuses", "ann@example.org", []mail.AuthResult{spf("temperror", "bounce.example.org")}, "temperror", ""},
		{"unsure DKIM of the domain never refuses", "ann@example.org", []mail.AuthResult{dkim("temperror", "example.org")}, "temperror", ""},
		{"unsure SPF of another domain", "ann@example.org", []mail.AuthResult{spf("temperror", "evil.example")}, "fail", "reject"},
		{"unsure DKIM of another domain", "ann@example.org", []mail.AuthResult{dkim("temperror", "evil.example")}, "fail", "reject"},
		{"unsure DKIM of a strict domain", "ann@strict.example", []mail.AuthResult{dkim("temperror", "a.strict.example")}, "fail", "reject"},
		{"unsure HELO of another domain", "ann@example.org", []mail.AuthResult{{Method: "spf", Value: "temperror", Props: []mail.AuthProp{{Type: "smtp", Name: "helo", Value: "evil.example"}}}}, "fail", "reject"},
		{"helo counts without reverse path", "ann@example.org", []mail.AuthResult{{Method: "spf", Value: "pass", Props: []mail.AuthProp{{Type: "smtp", Name: "helo", Value: "mx.example.org"}}}}, "pass", ""},
		{"helo does not count beside one", "ann@example.org", []mail.AuthResult{{Method: "spf", Value: "pass", Props: []mail.AuthProp{{Type: "smtp", Name: "helo", Value: "mx.example.org"}}},
			{Method: "spf", Value: "fail", Props: []mail.AuthProp{{Type: "smtp", Name: "mailfrom", Value: "x@example.com"}}}}, "fail", "reject"},
		{"override", "ann@a.kind.example.org", nil, "fail", "tag"},
		{"trusted sealer", "ann@example.org", []mail.AuthResult{arc("lists.example")}, "fail", "tag"},
		{"any sealer", "ann@example.org", []mail.AuthResult{arc("evil.example")}, "fail", "reject"},
		{"u-label", "ann@bücher.example", []mail.AuthResult{dkim("pass", "xn--bcher-kva.example")}, "pass", ""},
		{"a name as bait", `"ceo@example.com" <ann@example.org>`, []mail.AuthResult{dkim("pass", "example.com")}, "fail", "reject"},
		{"group", "friends: ann@example.org;", nil, "fail", "reject"},
		{"two authors, the worst counts", "a@none.example, b@example.org", []mail.AuthResult{dkim("pass", "none.example")}, "fail", "reject"},
		{"an address before the address", "a@none.example <b@example.org>", []mail.AuthResult{dkim("pass", "none.example")}, "fail", "reject"},
		{"two in brackets", "<a@none.example> <b@example.org>", []mail.AuthResult{dkim("pass", "none.example")}, "fail", "reject"},
		{"a comment between", "a@none.example (c) <b@example.org>", []mail.AuthResult{dkim("pass", "none.example")}, "fail", "reject"},
		{"a colon between", "<a@none.example:b@example.org>", []mail.AuthResult{dkim("pass", "none.example")}, "fail", "reject"},
		{"a literal before", "a@[192.0.2.66] <b@example.org>", nil, "permerror", "reject"},
		{"a name like an address", "ann@example.org <ann@example.org>", []mail.AuthResult{dkim("pass", "example.org")}, "pass", ""},
		{"a dot in a name", "Ann B. Chen <ann@example.org>", []mail.AuthResult{dkim("pass", "example.org")}, "pass", ""},
		{"a lone @ in a name", "Team @ Home <ann@example.org>", []mail.AuthResult{dkim("pass", "example.org")}, "pass", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := judge(t, enforce, "From: "+c.from+"\r\n", c.auth...)
			if v.Action != c.action || v.Auth[0].Value != c.value {
				t.Errorf("%s %s, want %s %s: %+v", v.Auth[0].Value, v.Action, c.value, c.action, v.Facts)
			}
			if w := judge(t, Config{Mode: "observe"}, "From: "+c.from+"\r\n", c.auth...); w.Action != "" && w.Action != filters.Tag {
				t.Errorf("observing, but %s", w.Action)
			}
		})
	}
}

func TestBadFrom(t *testing.T) {
	many := "From: "
	for i := range 10 {
		many += fmt.Sprintf("a@d%d.example, ", i)
	}
	for name, head := range map[string]string{
		"none": "Subject: x\r\n", "two": "From: a@example.org\r\nFrom: b@example.com\r\n", "empty": "From:\r\n", "no domain": "From: ann\r\n",
		"empty group": "From: nobody:;\r\n", "encoded domain": "From: ann@=?utf-8?q?example.org?=\r\n", "one label": "From: ann@localhost\r\n",
		"NUL": "From: ann@example.org\x00.evil.example\r\n", "literal": "From: ann@[192.0.2.1]\r\n", "too many": many + "\r\n",
	} {
		v := judge(t, Config{Mode: "enforce", BadFrom: "reject"}, head, dkim("pass", "example.org"))
		if v.Action != filters.Reject || v.Auth[0].Value != "permerror" {
			t.Errorf("%s: %s %+v", name, v.Action, v.Auth)
		}
	}
}

// The domains of a From field are evaluated even if bad_from applies to it; the
// more severe verdict is used.
func TestBadFromDoesNotExcuse(t *testing.T) {
	two := "From: a@none.example\r\nFrom: b@example.org\r\n"
	for _, c := range []struct {
		badFrom, head string
		want          filters.Action
	}{
		{"tag", two, filters.Reject},
		{"quarantine", two, filters.Reject},
		{"tag", "From: a@none.example\r\nFrom: b@none.example\r\n", filters.Tag},
		{"reject", "From: a@none.example\r\nFrom: b@none.example\r\n", filters.Reject},
		{"tag", "From: b@example.org, a@localhost\r\n", filters.Reject},
	} {
		v := judge(t, Config{Mode: "enforce", BadFrom: c.badFrom}, c.head, dkim("pass", "none.example"))
		if v.Action != c.want || v.Auth[0].Value != "permerror" {
			t.Errorf("%s, %q: %s %+v, want %s", c.badFrom, c.head, v.Action, v.Auth, c.want)
		}
	}
}
