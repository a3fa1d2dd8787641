package attach

import (
	"bytes"
	"context"
	"testing"

	"hoplite/filters"
	"hoplite/mail"
	"hoplite/mail/attachments"
	"hoplite/mail/attachments/attachmentstest"
)

func TestFilter(t *testing.T) {
	program := attachmentstest.Message(attachmentstest.Named("text/plain", "Invoice.PDF.exe"), attachmentstest.Program)
	secret := attachmentstest.Zip(t, "a", "b")
	secret[6] |= 1
	secret[bytes.Index(secret, []byte("PK\x01\x02"))+8] |= 1
	for _, c := range []struct {
		name, msg string
		rule      Rule
		want      filters.Action
	}{
		{"extension", program, Rule{Extensions: []string{"EXE"}}, filters.Reject},
		{"another extension", program, Rule{Extensions: []string{"scr"}}, ""},
		{"programs", program, Rule{Extensions: []string{"programs"}}, filters.Reject},
		{"name", program, Rule{Names: []string{"invoice*"}}, filters.Reject},
		{"type by content", program, Rule{Types: []string{"application/vnd.microsoft.*"}}, filters.Reject},
		{"type by claim", program, Rule{Types: []string{"text/*"}}, filters.Reject},
		{"too small", program, Rule{Extensions: []string{"exe"}, Larger: 1 << 20}, ""},
		{"large enough", program, Rule{Extensions: []string{"exe"}, Larger: 10}, filters.Reject},
		{"trick", program, Rule{Tricks: []string{"any"}}, filters.Reject},
		{"other trick", program, Rule{Tricks: []string{attachments.TrickMacros}}, ""},
		{"encrypted", attachmentstest.Message(attachmentstest.Named("application/zip", "a.zip"), secret), Rule{Encrypted: true}, filters.Reject},
		{"not encrypted", program, Rule{Encrypted: true}, ""},
		{"in a zip", attachmentstest.Message(attachmentstest.Named("application/zip", "a.zip"), attachmentstest.Zip(t, "x/run.exe", string(attachmentstest.Program))), Rule{Extensions: []string{"programs"}}, filters.Reject},
		{"unread", attachmentstest.Message(attachmentstest.Named("application/zip", "a.zip"), []byte("PK\x03\x04")), Rule{Unread: true}, filters.Reject},
		{"quarantine", program, Rule{Action: "quarantine", Extensions: []string{"exe"}}, filters.Quarantine},
		{"tag", program, Rule{Action: "tag", Extensions: []string{"exe"}}, filters.Tag},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.rule.Action == "" {
				c.rule.Action = "reject"
			}
			c.rule.Name = "rule"
			cfg := Config{Rules: []Rule{c.rule}}
			if err := cfg.Check(); err != nil {
				t.Fatal(err)
			}
			f, err := New(cfg, filters.Env{})
			if err != nil {
				t.Fatal(err)
			}
			m, err := mail.NewMessage(mail.Bytes(c.msg))
			if err != nil {
				t.Fatal(err)
			}
			v, err := f.(*Filter).AtData(context.Background(), mail.NewTransaction(mail.Client{}, ""), m)
			if err != nil {
				t.Fatal(err)
			}
			if v.Action != c.want {
				t.Errorf("action %q, want %q (%s)", v.Action, c.want, v.Reason)
			}
			if v.Action != "" && len(v.Facts) == 0 {
				t.Error("no facts")
			}
		})
	}
	for _, r := range []Rule{{Name: "empty"}, {Name: "x", Tricks: []string{"x"}}, {Name: "x", Names: []string{"["}}} {
		if err := (&Config{Rules: []Rule{r}}).Check(); err == nil {
			t.Errorf("%+v was accepted", r)
		}
	}
}

func TestWarn(t *testing.T) {
	for _, c := range []struct {
		rules []Rule
		warns bool
	}{
		{nil, false},
		{[]Rule{{Name: "programs", Extensions: []string{"programs"}}}, true},
		{[]Rule{{Name: "programs", Extensions: []string{"programs"}}, {Name: "unread", Unread: true}}, false},
	} {
		if summary, _ := (&Config{Rules: c.rules}).Warn(); (summary != "") != c.warns {
			t.Errorf("%v: %q", c.rules, summary)
		}
	}
}
