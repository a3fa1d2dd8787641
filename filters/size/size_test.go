package size

import (
	"context"
	"strings"
	"testing"

	"hoplite/filters"
	"hoplite/internal/conf"
	"hoplite/mail"
)

func TestSize(t *testing.T) {
	cfg := Config{
		Max: 1000,
		Limits: []Limit{
			{To: []string{"small.example"}, Max: 100},
			{From: []string{"scanner@example.org"}, Max: 2000},
			{To: []string{".big.example"}, Max: 5000},
			{To: []string{"bücher.example"}, Max: 50},
		},
	}
	filter, err := New(cfg, filters.Env{})
	if err != nil {
		t.Fatal(err)
	}
	chain := &filters.Chain{Entries: []filters.Entry{{Name: "size", Filter: filter}}}
	for _, c := range []struct {
		name     string
		from, to mail.Address
		declared int64
		size     int
		want     string // the stage at which it was refused
	}{
		{"at the limit", "bob@example.com", "ann@example.org", 1000, 1000, "passed"},
		{"announced", "bob@example.com", "ann@example.org", 1001, 0, "rcpt"},
		{"announced, too large for everyone", "bob@example.com", "ann@example.org", 5001, 0, "mail"},
		{"one octet more", "bob@example.com", "ann@example.org", 0, 1001, "data"},
		{"lied", "bob@example.com", "ann@example.org", 10, 1001, "data"},
		{"recipient's limit announced", "bob@example.com", "ann@small.example", 101, 0, "rcpt"},
		{"recipient's limit", "bob@example.com", "ann@small.example", 0, 101, "data"},
		{"a recipient's limit is higher", "bob@example.com", "ann@x.big.example", 5000, 5000, "passed"},
		{"above the higher limit", "bob@example.com", "ann@x.big.example", 0, 5001, "data"},
		{"limit in U-labels, A-label announced", "bob@example.com", "ann@xn--bcher-kva.example", 51, 0, "rcpt"},
		{"sender's limit", "scanner@example.org", "ann@example.org", 2000, 2000, "passed"},
		{"sender's and recipient's", "scanner@example.org", "ann@x.big.example", 0, 2001, "data"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := send(chain, c.from, c.to, c.declared, c.size); got != c.want {
				t.Errorf("ended at %s, want %s", got, c.want)
			}
		})
	}
}

func send(chain *filters.Chain, from, to mail.Address, declared int64, size int) string {
	ctx := context.Background()
	run := chain.Start()
	tx := mail.NewTransaction(mail.Client{}, from)
	tx.Envelope.Size = declared
	if d := run.Mail(ctx, tx); d.Reply != nil {
		return "mail"
	}
	r := mail.Rcpt{To: to}
	if d := run.Rcpt(ctx, &r); d.Reply != nil {
		return "rcpt"
	}
	tx.Envelope.Rcpts = append(tx.Envelope.Rcpts, r)
	m := &mail.Message{Base: mail.Bytes(make([]byte, size))}
	if d := run.Data(ctx, m); d.Reply != nil {
		return "data"
	}
	return "passed"
}

func TestReplyNamesTheLimit(t *testing.T) {
	v := verdict(2, 1)
	if v.Reply.Code != 552 || v.Reply.Enhanced != "5.3.4" || v.Reply.Text != "Message size exceeds limit of 1B" {
		t.Errorf("reply %v", v.Reply)
	}
}

func TestLimitNeedsOneSide(t *testing.T) {
	for _, c := range []struct {
		name  string
		limit Limit
		ok    bool
	}{
		{"recipients", Limit{To: []string{"example.org"}}, true},
		{"senders", Limit{From: []string{"example.org"}}, true},
		{"neither", Limit{}, false},
		{"both", Limit{To: []string{"example.org"}, From: []string{"example.net"}}, false},
	} {
		if err := c.limit.Check(); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestFormerNames(t *testing.T) {
	f := conf.Parse("relay.hcl", []byte("for {\n  names = [\"example.org\"]\n  max = 10\n}\nlimit {\n  names = [\"example.org\"]\n  max = 10\n}\n"))
	f.Decode(&Config{})
	err := f.Diags.Err()
	if err == nil {
		t.Fatal("former names are accepted")
	}
	for _, want := range []string{`Did you mean "limit", the new name of "for"?`, `Did you mean "to", the new name of "names"?`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in\n%v", want, err)
		}
	}
}
