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

// TestReasons checks the replies to the client and the reasons on the trail.
func TestReasons(t *testing.T) {
	year := Config{DateSkew: time.Hour, BadDate: "reject"}
	for name, tt := range map[string]struct {
		cfg   Config
		head  string
		want  string // the reply or the reason
		facts string
	}{
		"missing":               {Config{Require: []string{"Date"}, Missing: "reject"}, "From: a\r\n", "550 5.6.0 The message has no Date field", ""},
		"missing, tagged":       {Config{Require: []string{"Date"}, Missing: "tag"}, "From: a\r\n", "The message has no Date field", ""},
		"missing, quarantined":  {Config{Require: []string{"Date"}, Missing: "quarantine"}, "From: a\r\n", "The message has no Date field", ""},
		"the first that is":     {Config{Require: []string{"X", "Y"}, Missing: "reject"}, "X: 1\r\n", "550 5.6.0 The message has no Y field", ""},
		"doubled, in order":     {Config{Doubled: "reject"}, "To: a\r\nSubject: b\r\nsubject: c\r\nTo: d\r\nTo: e\r\n", "550 5.6.0 The message has 3 To fields, one is allowed", ""},
		"a date that is no one": {year, "Date: 31 Feb\r\n", "550 5.6.0 Date cannot be read", ""},
		"the future":            {year, "Date: Fri, 1 Jan 2100 00:00:00 +0000\r\n", "550 5.6.0 Date is in the future: 2100-01-01T00:00:00Z", ""},
		"the past":              {year, "Date: Thu, 1 Jan 2015 01:00:00 +0100\r\n", "550 5.6.0 Date is too old: 2015-01-01T00:00:00Z", ""},
		"no date":               {year, "From: a\r\n", "", ""},
		"no limit":              {Config{BadDate: "reject"}, "Date: 31 Feb\r\n", "", ""},
		"a rule's text":         {rules(Rule{Name: "a", Field: "X", Match: "1", Action: "reject", Text: "go away"}), "X: 1\r\n", "550 5.7.1 go away", "rule=a field=X"},
		"a rule without text":   {rules(Rule{Name: "a", Field: "x", Match: "1", Action: "tag"}), "X: 1\r\n", `rule "a"`, "rule=a field=X"},
		"a rule turned round":   {rules(Rule{Name: "a", Field: "X", Match: "1", Not: true, Action: "reject"}), "Y: 1\r\n", `550 5.7.1 rule "a"`, "rule=a"},
		"discarded":             {rules(Rule{Name: "a", Field: "X", Match: "1", Action: "discard"}), "X: 1\r\n", `rule "a"`, "rule=a field=X"},
		"passed":                {rules(Rule{Name: "a", Field: "X", Match: "1", Action: "pass"}, Rule{Name: "b", Field: "X", Match: "1", Action: "reject"}), "X: 1\r\n", `rule "a"`, ""},
		"a refusal of the shape is not for rules": {
			Config{Require: []string{"Date"}, Missing: "reject", Rules: rules(Rule{Name: "a", Field: "X", Match: "1", Action: "pass"}).Rules},
			"X: 1\r\n", "550 5.6.0 The message has no Date field", "",
		},
		"a rule weighs more than a tag": {
			Config{Require: []string{"Date"}, Missing: "tag", Rules: rules(Rule{Name: "a", Field: "X", Match: "1", Action: "quarantine"}).Rules},
			"X: 1\r\n", `rule "a"`, "rule=a field=X",
		},
		"but a tag does not weigh more than quarantine": {
			Config{Require: []string{"Date"}, Missing: "quarantine", Rules: rules(Rule{Name: "a", Field: "X", Match: "1", Action: "reject"}).Rules},
			"X: 1\r\n", "The message has no Date field", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			v, _ := run(t, tt.cfg, tt.head)
			got := v.Reason
			if v.Action == filters.Reject {
				got = v.Reply.String()
			}
			if got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
			var facts []string
			for _, f := range v.Facts {
				facts = append(facts, f.Key+"="+f.Value)
			}
			if strings.Join(facts, " ") != tt.facts {
				t.Errorf("facts %q, want %q", facts, tt.facts)
			}
		})
	}
}

func rules(r ...Rule) Config { return Config{Rules: r} }

// Fields are edited unless the message is refused or discarded, and a field
// that an earlier filter has removed is not removed again.
func TestEditsOfVerdicts(t *testing.T) {
	add := []Field{{Name: "X-A", Value: "1"}}
	for action, edited := range map[string]bool{"pass": true, "tag": true, "quarantine": true, "reject": false, "discard": false} {
		v, _ := run(t, Config{Add: add, Remove: []string{"X"}, Rules: []Rule{{Name: "a", Field: "X", Match: "1", Action: action}}}, "X: 1\r\n")
		if (len(v.Top) > 0) != edited || (len(v.Drop) > 0) != edited {
			t.Errorf("%s: %q and %v", action, v.Top, v.Drop)
		}
	}
	f, err := New(Config{Remove: []string{"X*"}}, filters.Env{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := mail.NewMessage(mail.Bytes("X: 1\r\nX-B: 2\r\n\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	for field := range mail.Fields(m.Head) {
		m = m.Edited(nil, field.Span)
		break
	}
	v, err := f.(*Filter).AtData(context.Background(), mail.NewTransaction(mail.Client{}, ""), m)
	if err != nil || len(v.Drop) != 1 || string(m.Edited(v.Top, v.Drop...).Header()) != "\r\n" {
		t.Errorf("%+v, %v", v.Drop, err)
	}
	if _, err := New(rules(Rule{Match: "("}), filters.Env{}); err == nil {
		t.Error("a pattern that cannot be compiled")
	}
}
