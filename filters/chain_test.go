package filters

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"hoplite/internal/conf"
	"hoplite/mail"
)

// fake returns the same verdict at every stage and records that it was called.
type fake struct {
	verdict Verdict
	err     error
	asked   []string
}

func (f *fake) note(s string) (Verdict, error) {
	f.asked = append(f.asked, s)
	return f.verdict, f.err
}

type fakeAll struct{ *fake }

func (f fakeAll) AtConnect(context.Context, *mail.Transaction) (Verdict, error) {
	return f.note("connect")
}
func (f fakeAll) AtMail(context.Context, *mail.Transaction) (Verdict, error) { return f.note("mail") }
func (f fakeAll) AtRcpt(_ context.Context, _ *mail.Transaction, r *mail.Rcpt) (Verdict, error) {
	return f.note("rcpt " + string(r.To))
}
func (f fakeAll) AtData(context.Context, *mail.Transaction, *mail.Message) (Verdict, error) {
	return f.note("data")
}

type fakeData struct{ *fake }

func (f fakeData) AtData(context.Context, *mail.Transaction, *mail.Message) (Verdict, error) {
	return f.note("data")
}

type slow struct{}

func (slow) AtMail(ctx context.Context, _ *mail.Transaction) (Verdict, error) {
	<-ctx.Done()
	return Verdict{}, ctx.Err()
}

// only parses patterns for an only attribute.
func only(patterns ...string) mail.Patterns {
	p, err := mail.ParsePatterns(patterns)
	if err != nil {
		panic(err)
	}
	return p
}

func through(c *Chain, to ...mail.Address) (string, *mail.Transaction, Decision) {
	ctx := context.Background()
	run := c.Start()
	conn := mail.NewTransaction(mail.Client{}, "")
	if d := run.Connect(ctx, conn); d.Reply != nil {
		return "connect " + d.Reply.String(), conn, d
	}
	tx := mail.NewTransaction(mail.Client{}, "bob@example.com")
	if d := run.Mail(ctx, tx); d.Reply != nil {
		return "mail " + d.Reply.String(), tx, d
	}
	for _, a := range to {
		r := mail.Rcpt{To: a, Orig: a}
		if d := run.Rcpt(ctx, &r); d.Reply != nil {
			return "rcpt " + d.Reply.String(), tx, d
		}
		tx.Envelope.Rcpts = append(tx.Envelope.Rcpts, r)
	}
	m, err := mail.NewMessage(mail.Bytes("Subject: x\r\n\r\nbody\r\n"))
	if err != nil {
		panic(err)
	}
	d := run.Data(ctx, m)
	switch {
	case d.Reply != nil:
		return "data " + d.Reply.String(), tx, d
	case d.Discard:
		return "discarded", tx, d
	}
	return "passed", tx, d
}

func TestChain(t *testing.T) {
	reject := Rejected(550, "5.7.1", "no")
	for _, c := range []struct {
		name    string
		entries []Entry
		want    string
		events  string
	}{
		{"empty", nil, "passed", ""},
		{"zero verdict", []Entry{{Name: "a", Filter: fakeData{&fake{}}}}, "passed", "a data pass"},
		{"first word counts", []Entry{
			{Name: "a", Filter: fakeData{&fake{verdict: reject}}},
			{Name: "b", Filter: fakeData{&fake{verdict: Verdict{Action: Discard}}}},
		}, "data 550 5.7.1 no", "a data reject"},
		{"connect", []Entry{{Name: "a", Filter: fakeAll{&fake{verdict: reject}}}}, "connect 550 5.7.1 no", "a connect reject"},
		{"shadow", []Entry{{Name: "a", Filter: fakeData{&fake{verdict: reject}}, Shadow: true}}, "passed", "a data reject"},
		{"discard", []Entry{{Name: "a", Filter: fakeData{&fake{verdict: Verdict{Action: Discard}}}}}, "discarded", "a data discard"},
		{"no reply of its own", []Entry{{Name: "a", Filter: fakeData{&fake{verdict: Verdict{Action: Reject}}}}}, "data 550 5.7.1 refused by a", "a data reject"},
		{"error", []Entry{{Name: "a", Filter: fakeData{&fake{err: errors.New("broken")}}}},
			"data 451 4.7.0 a could not check this message, try again later", "a data error"},
		{"error passes", []Entry{{Name: "a", Filter: fakeData{&fake{err: errors.New("broken")}}, OnError: Pass}}, "passed", "a data error"},
		{"slow", []Entry{{Name: "a", Filter: slow{}, Timeout: time.Millisecond}},
			"mail 451 4.7.0 a could not check this message, try again later", "a mail error"},
		{"not for this one", []Entry{{Name: "a", Filter: fakeAll{&fake{verdict: reject}}, Only: only("other.example")}}, "passed", ""},
		{"for a domain", []Entry{{Name: "a", Filter: fakeAll{&fake{verdict: reject}}, Only: only("example.org")}},
			"rcpt 550 5.7.1 no", "a connect reject"},
		{"for sub-domains", []Entry{{Name: "a", Filter: fakeData{&fake{verdict: reject}}, Only: only(".org")}}, "data 550 5.7.1 no", "a data reject"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, tx, _ := through(&Chain{Entries: c.entries}, "ann@example.org")
			if got != c.want {
				t.Errorf("ended %q, want %q", got, c.want)
			}
			var events []string
			for _, e := range tx.Trail.Events {
				events = append(events, fmt.Sprint(e.By, " ", e.Stage, " ", e.Verdict))
			}
			if s := strings.Join(events, "; "); s != c.events {
				t.Errorf("trail %q, want %q", s, c.events)
			}
		})
	}
}

// A filter with an only attribute runs its early stages once, at the first
// recipient it applies to.
func TestOnlyCatchesUp(t *testing.T) {
	f := &fake{}
	chain := &Chain{Entries: []Entry{{Name: "a", Filter: fakeAll{f}, Only: only("example.org")}}}
	if got, _, _ := through(chain, "ann@example.org", "bob@example.org"); got != "passed" {
		t.Fatal(got)
	}
	want := "connect, mail, rcpt ann@example.org, rcpt bob@example.org, data"
	if s := strings.Join(f.asked, ", "); s != want {
		t.Errorf("asked %q, want %q", s, want)
	}
}

func TestUnlikeRecipients(t *testing.T) {
	chain := &Chain{Entries: []Entry{{Name: "a", Filter: fakeData{&fake{}}, Only: only("example.org")}}}
	got, _, _ := through(chain, "ann@example.org", "bob@example.com")
	if want := "rcpt " + errDifferentFilters.String(); got != want {
		t.Errorf("ended %q, want %q", got, want)
	}
}

// The addresses of one recipient, such as those of an alias, pass every filter
// that applies to any of them. The next recipient is compared with all of these
// filters.
func TestGroupSharesItsFilters(t *testing.T) {
	f := &fake{}
	chain := &Chain{Entries: []Entry{{Name: "a", Filter: fakeData{f}, Only: only("example.com")}}}
	tx := mail.NewTransaction(mail.Client{}, "sender@example.net")
	r := chain.Start()
	r.Mail(t.Context(), tx)
	rcpt := func(group ...mail.Rcpt) (last Decision) {
		r.Group(group)
		for i := range group {
			if last = r.Rcpt(t.Context(), &group[i]); last.Reply != nil {
				return last
			}
			tx.Envelope.Rcpts = append(tx.Envelope.Rcpts, group[i])
		}
		return last
	}
	ann, bob := mail.Rcpt{To: "ann@example.org"}, mail.Rcpt{To: "bob@example.com"}
	if d := rcpt(ann, bob); d.Reply != nil {
		t.Fatal(d.Reply)
	}
	if d := rcpt(ann); d.Reply != errDifferentFilters {
		t.Errorf("without the filter: %v", d.Reply)
	}
	if d := rcpt(bob); d.Reply != nil {
		t.Errorf("with the filter: %v", d.Reply)
	}
	r.Data(t.Context(), nil)
	if got := strings.Join(f.asked, ", "); got != "data" {
		t.Errorf("asked %q", got)
	}
}

func TestDecisionGathers(t *testing.T) {
	chain := &Chain{Entries: []Entry{
		{Name: "tag", Filter: fakeData{&fake{verdict: Verdict{Action: Tag, Edits: Edits{Top: []byte("X-A: 1\r\n")}}}}},
		{Name: "keep", Filter: fakeData{&fake{verdict: Quarantined("odd")}}},
		{Name: "drop", Filter: fakeData{&fake{verdict: Verdict{Edits: Edits{Drop: []mail.Span{{Start: 0, End: 12}}}}}}},
		{Name: "send", Filter: fakeData{&fake{verdict: Verdict{Action: Redirect, Edits: Edits{To: "eve@example.org"}}}}},
	}}
	got, tx, d := through(chain, "ann@example.org")
	if got != "passed" || tx.Quarantine != "keep: odd" || d.Redirect != "eve@example.org" {
		t.Errorf("%s, quarantine %q, redirect %q", got, tx.Quarantine, d.Redirect)
	}
	if h := string(d.Message.Header()); h != "X-A: 1\r\n\r\n" {
		t.Errorf("header %q", h)
	}
}

func TestTooManyFilters(t *testing.T) {
	if err := (&Chain{Entries: make([]Entry, 65)}).Check(); !errors.Is(err, ErrTooManyFilters) {
		t.Errorf("Check = %v", err)
	}
}

// inheriting keeps its state behind a pointer.
type inheriting struct{ memory *int }

func (h *inheriting) Inherit(from Filter) { h.memory = from.(*inheriting).memory }

type heirConfig struct {
	conf.Pos
	Max int `hcl:"max,optional"`
}

func TestInherit(t *testing.T) {
	build := func(config string) *Chain {
		t.Helper()
		var cfg struct {
			Filters []Config `hcl:"filter,block"`
		}
		file := conf.Parse("test", []byte(config))
		kind := Of("heir", func(heirConfig, Env) (Filter, error) { return &inheriting{new(int)}, nil })
		if file.Decode(&cfg); file.Diags.Err() != nil {
			t.Fatal(file.Diags.Err())
		}
		return &Chain{Entries: Build("in", cfg.Filters, func(string) (Kind, bool) { return kind, true }, Env{})}
	}
	memory := func(c *Chain, i int) *int { return c.Entries[i].Filter.(*inheriting).memory }
	const a, b = "filter \"heir\" {\n max = 1\n}\n", "filter \"heir\" {\n max = 2\n}\n"
	old := build(a + b)
	for _, c := range []struct {
		name, config string
		from         []int // index of the old filter whose state each filter inherits; -1 for none
	}{
		{"nothing changed", a + b, []int{0, 1}},
		{"moved in the file", "\n\n" + a + "\n" + b, []int{0, 1}},
		{"one changed", a + a, []int{0, -1}},
		{"the other way round", b + a, []int{1, 0}},
		{"another in front", "filter \"heir\" {\n max = 3\n}\n" + a + b, []int{-1, 0, 1}},
		{"one left", a, []int{0}},
	} {
		now := build(c.config)
		now.Inherit(old)
		for i, from := range c.from {
			for j := range old.Entries {
				if got := memory(now, i) == memory(old, j); got != (from == j) {
					t.Errorf("%s: filter %dcontinues %d: %v", c.name, i, j, got)
				}
			}
		}
	}
}
