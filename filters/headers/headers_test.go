package headers

import (
	"context"
	"strings"
	"testing"
	"time"

	"hoplite/filters"
	"hoplite/mail"
)

func run(t *testing.T, cfg Config, head string) (filters.Verdict, *mail.Message) {
	t.Helper()
	if err := cfg.Check(); err != nil {
		t.Fatal(err)
	}
	f, err := New(cfg, filters.Env{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := mail.NewMessage(mail.Bytes(head + "\r\nbody\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	v, err := f.(*Filter).AtData(context.Background(), mail.NewTransaction(mail.Client{}, ""), m)
	if err != nil {
		t.Fatal(err)
	}
	return v, m
}

func TestHeaders(t *testing.T) {
	now := time.Now()
	date := func(d time.Duration) string { return "Date: " + now.Add(d).Format(time.RFC1123Z) + "\r\n" }
	rule := func(field, match, action string) Config {
		return Config{Rules: []Rule{{Name: "r", Field: field, Match: match, Action: action, Text: "not here"}}}
	}
	not := rule("X-Key", "^secret$", "reject")
	not.Rules[0].Not = true
	for _, c := range []struct {
		name string
		cfg  Config
		head string
		want filters.Action
	}{
		{"nothing set", Config{}, "From: a\r\nFrom: b\r\n", ""},
		{"required", Config{Require: []string{"From", "date"}, Missing: "reject"}, "From: a\r\nDate: x\r\n", ""},
		{"missing", Config{Require: []string{"From", "Date"}, Missing: "reject"}, "From: a\r\n", "reject"},
		{"doubled", Config{Doubled: "reject"}, "Subject: a\r\nsubject: b\r\n", "reject"},
		{"doubled, but may be", Config{Doubled: "reject"}, "Received: a\r\nReceived: b\r\n", ""},
		{"date now", Config{DateSkew: 24 * time.Hour, BadDate: "reject"}, date(0), ""},
		{"date in the future", Config{DateSkew: 24 * time.Hour, BadDate: "reject"}, date(48 * time.Hour), "reject"},
		{"date last week", Config{DateSkew: 24 * time.Hour, BadDate: "reject"}, date(-7 * 24 * time.Hour), ""},
		{"date long ago", Config{DateSkew: 24 * time.Hour, BadDate: "tag"}, date(-30 * 24 * time.Hour), "tag"},
		{"date rubbish", Config{DateSkew: 24 * time.Hour, BadDate: "reject"}, "Date: yesterday\r\n", "reject"},
		{"rule", rule("Subject", "(?i)lottery", "reject"), "Subject: The LOTTERY\r\n", "reject"},
		{"rule over folds", rule("Subject", "the lottery", "reject"), "Subject: the\r\n lottery\r\n", "reject"},
		{"rule, encoded", rule("Subject", "^été$", "quarantine"), "Subject: =?utf-8?q?=C3=A9t=C3=A9?=\r\n", "quarantine"},
		{"rule of another field", rule("Subject", "x", "reject"), "From: x\r\n", ""},
		{"rule of any field", rule("*", "^x$", "discard"), "X-Any: x\r\n", "discard"},
		{"rule turned round", not, "X-Key: secret\r\n", ""},
		{"rule turned round, missing", not, "X-Key: guess\r\n", "reject"},
		{"the first rule decides", Config{Rules: []Rule{{Name: "a", Field: "Subject", Match: "good", Action: "pass"}, {Name: "b", Field: "*", Match: "", Action: "reject"}}}, "Subject: good\r\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if v, _ := run(t, c.cfg, c.head); v.Action != c.want {
				t.Errorf("%s %v", v.Action, v.Reply)
			}
		})
	}
}

func TestEdits(t *testing.T) {
	v, m := run(t, Config{
		Add:    []Field{{Name: "X-A", Value: "1"}, {Name: "Subject", Value: "(none)", IfMissing: true}, {Name: "X-B", Value: "2", IfMissing: true}},
		Remove: []string{"X-Our-*", "bcc"},
	}, "x-our-mark: 1\r\nSubject: s\r\nBcc: x@example.org\r\nX-Our: stays\r\n")
	if got := string(m.Edited(v.Top, v.Drop...).Header()); got != "X-A: 1\r\nX-B: 2\r\nSubject: s\r\nX-Our: stays\r\n\r\n" {
		t.Errorf("header is now %q", got)
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []Config{
		{Rules: []Rule{{Field: "Subject", Match: "("}}}, {Rules: []Rule{{Field: "Sub ject", Match: "x"}}}, {Add: []Field{{Name: "X:", Value: "x"}}},
		{Add: []Field{{Name: "X", Value: "a\r\nb"}}}, {Remove: []string{""}}, {Require: []string{"a b"}},
	} {
		if c.Check() == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}

// Matching several rules against a thousand fields is fast, because RE2 runs in
// linear time.
func TestManyFields(t *testing.T) {
	var rules []Rule
	for range 5 {
		rules = append(rules, Rule{Field: "*", Match: "(a*)*b", Action: "tag"})
	}
	run(t, Config{Rules: rules}, strings.Repeat("X: "+strings.Repeat("a", 200)+"\r\n", 1000))
}
