package rate

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hoplite/filters"
	"hoplite/internal/conf"
	"hoplite/mail"
)

func tx(ip, user, from string) *mail.Transaction {
	return mail.NewTransaction(mail.Client{Addr: netip.AddrPortFrom(netip.MustParseAddr(ip), 1), User: user}, mail.Address(from))
}

func newFilter(t *testing.T, limits ...Limit) *Filter {
	t.Helper()
	cfg := Config{Limits: limits, Action: "defer"}
	if err := cfg.Check(); err != nil {
		t.Fatal(err)
	}
	f, err := New(cfg, filters.Env{})
	if err != nil {
		t.Fatal(err)
	}
	return f.(*Filter)
}

// pass sends n messages and returns the number accepted.
func pass(f *Filter, n int, t *mail.Transaction) (in int) {
	for range n {
		if v, _ := f.AtMail(context.Background(), t); v.Action == "" {
			in++
		}
	}
	return in
}

func hourly(n int) conf.Rate { return conf.Rate{Count: n, Per: time.Hour} }

func TestBuckets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFilter(t, Limit{Of: "address", Messages: hourly(10)})
		if n := pass(f, 30, tx("192.0.2.1", "", "")); n != 10 {
			t.Errorf("a burst: %d", n)
		}
		if n := pass(f, 30, tx("192.0.2.2", "", "")); n != 10 {
			t.Errorf("another address: %d", n)
		}
		time.Sleep(12 * time.Minute)
		if n := pass(f, 30, tx("192.0.2.1", "", "")); n != 2 {
			t.Errorf("12 minutes later: %d", n)
		}
		time.Sleep(5 * time.Hour)
		if n := pass(f, 30, tx("192.0.2.1", "", "")); n != 10 {
			t.Errorf("hours later: %d", n)
		}
		v, _ := f.AtMail(context.Background(), tx("192.0.2.1", "", ""))
		if v.Reply.Code != 451 || !strings.Contains(v.Reply.Text, "Too many messages for the address 192.0.2.1: the limit is 10 in 1h, try again in 6m0s") {
			t.Errorf("reply %s", v.Reply)
		}
	})
}

func TestWhatIsCounted(t *testing.T) {
	for _, c := range []struct {
		of        string
		one, same *mail.Transaction
		other     *mail.Transaction
	}{
		{"address", tx("2001:db8::1", "", ""), tx("2001:db8::2", "", ""), tx("2001:db8:0:1::1", "", "")},
		{"network", tx("192.0.2.1", "", ""), tx("192.0.2.200", "", ""), tx("192.0.3.1", "", "")},
		{"login", tx("192.0.2.1", "ann@example.org", ""), tx("192.0.2.9", "ann@example.org", ""), tx("192.0.2.1", "bob@example.org", "")},
		{"login", tx("192.0.2.1", "ann@example.org", ""), tx("192.0.2.9", "ann@example.org", ""), tx("192.0.2.1", "", "")},
		{"sender", tx("192.0.2.1", "", "a@example.org"), tx("192.0.2.9", "", "A@example.org"), tx("192.0.2.1", "", "b@example.org")},
		{"domain", tx("192.0.2.1", "", "a@example.org"), tx("192.0.2.9", "", "b@example.org"), tx("192.0.2.1", "", "b@example.com")},
	} {
		f := newFilter(t, Limit{Of: c.of, Messages: hourly(1)})
		if a, b, o := pass(f, 1, c.one), pass(f, 1, c.same), pass(f, 1, c.other); a != 1 || b != 0 || o != 1 {
			t.Errorf("%s: %d, then %d, another %d", c.of, a, b, o)
		}
	}
}

func TestRecipients(t *testing.T) {
	ctx := context.Background()
	f := newFilter(t, Limit{Of: "sender", Recipients: hourly(3)}, Limit{Of: "recipient", Messages: hourly(2)})
	rcpt := func(from, to string) filters.Action {
		v, _ := f.AtRcpt(ctx, tx("192.0.2.1", "", from), &mail.Rcpt{To: mail.Address(to)})
		return v.Action
	}
	var got []string
	for _, r := range [][2]string{{"a@x.example", "1@y.example"}, {"a@x.example", "2@y.example"}, {"a@x.example", "3@y.example"}, {"a@x.example", "4@y.example"}, {"b@x.example", "1@y.example"}, {"c@x.example", "1@y.example"}} {
		got = append(got, string(rcpt(r[0], r[1])))
	}
	if s := strings.Join(got, ","); s != ",,,defer,,defer" {
		t.Errorf("got %s", s)
	}
}

// A message refused by one limit does not use tokens of the others.
func TestAllOrNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFilter(t, Limit{Of: "domain", Messages: hourly(10)}, Limit{Of: "sender", Messages: hourly(2)})
		if n := pass(f, 50, tx("192.0.2.1", "", "a@x.example")); n != 2 {
			t.Errorf("one sender: %d", n)
		}
		if n := pass(f, 50, tx("192.0.2.1", "", "b@x.example")); n != 2 {
			t.Errorf("another sender: %d", n)
		}
		sent := 0
		for _, local := range []string{"c", "d", "e", "f", "g"} {
			sent += pass(f, 50, tx("192.0.2.1", "", local+"@x.example"))
		}
		if sent != 6 {
			t.Errorf("the rest of the domain: %d", sent)
		}
	})
}

// A reload keeps the buckets.
func TestInherit(t *testing.T) {
	a, b := newFilter(t, Limit{Of: "address", Messages: hourly(3)}), newFilter(t, Limit{Of: "address", Messages: hourly(3)})
	pass(a, 2, tx("192.0.2.1", "", ""))
	b.Inherit(a)
	if n := pass(b, 5, tx("192.0.2.1", "", "")); n != 1 {
		t.Errorf("after a reload: %d", n)
	}
}

func TestExcept(t *testing.T) {
	for except, x := range map[string]*mail.Transaction{
		"192.0.2.0/24": tx("192.0.2.1", "", "a@x.example"), "192.0.2.1": tx("192.0.2.1", "", "a@x.example"),
		"Ann@example.org": tx("192.0.2.1", "ann@example.org", "a@x.example"), "x.example": tx("192.0.2.1", "", "a@x.example"), "a@x.example": tx("192.0.2.1", "", "a@x.example"),
		"bücher.example": tx("192.0.2.1", "", "a@xn--bcher-kva.example"), ".example": tx("192.0.2.1", "", "a@x.example"),
		"ann": tx("192.0.2.1", "Ann", "a@x.example"), "2001:db8::/32": tx("2001:db8::1", "", "a@x.example"),
	} {
		f := newFilter(t, Limit{Of: "sender", Messages: hourly(1), Except: []string{except}})
		if n := pass(f, 5, x); n != 5 {
			t.Errorf("except %s: %d", except, n)
		}
	}
}

func TestCheck(t *testing.T) {
	for _, l := range []Limit{{Of: "adress", Messages: hourly(1)}, {Of: "address"}, {Of: "recipient", Messages: hourly(1), Recipients: hourly(1)}} {
		if (&Config{Limits: []Limit{l}}).Check() == nil {
			t.Errorf("%+v was accepted", l)
		}
	}
	if (&Config{}).Check() == nil {
		t.Error("no limits were accepted")
	}
}
