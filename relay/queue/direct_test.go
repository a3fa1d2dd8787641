package queue

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"hoplite/mail"
	"hoplite/relay/queue/schedule"
)

func TestDirect(t *testing.T) {
	send := func(t *testing.T, hop mail.Hop, tx *mail.Transaction, rcpts ...mail.Rcpt) []mail.Outcome {
		t.Helper()
		m, err := mail.NewMessage(mail.Bytes("Subject: hello\r\n\r\nbody\r\n"))
		if err != nil {
			t.Fatal(err)
		}
		h, err := hop.Open(t.Context(), tx)
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		for _, r := range rcpts {
			if err := h.Rcpt(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		return h.Send(t.Context(), m)
	}
	ann := func() *mail.Transaction { return mail.NewTransaction(mail.Client{}, "ann@example.org") }
	down := &mail.Reply{Code: 451, Enhanced: "4.4.1", Text: "connection refused"}

	for _, tc := range []struct {
		name   string
		auto   bool
		reply  *mail.Reply
		want   int
		queued bool
	}{
		{"taken", true, nil, 250, false},
		{"refused permanently: the client gets the reply", true, refuse(550, "5.1.1", "no"), 550, false},
		{"refused temporarily by the server: the client gets the reply", true, refuse(451, "4.7.1", "greylisted"), 451, false},
		{"unreachable", true, down, 250, true},
		{"lost after the final dot", true, &mail.Reply{Code: 451, Enhanced: "4.4.2", Text: "lost connection"}, 250, true},
		{"closed with 421", true, refuse(421, "4.3.2", "shutting down"), 250, true},
		{"unreachable, in-line only", false, down, 451, false},
	} {
		bubble(t, tc.name, func(t *testing.T) {
			h := newTestQueue(t)
			h.out.send = func(mail.Rcpt) *mail.Reply { return tc.reply }
			out := send(t, h.Direct("out", h.out, tc.auto), ann(), to("a@example.net")...)
			if out[0].Reply.Code != tc.want {
				t.Errorf("got %v", &out[0].Reply)
			}
			if n := h.memory.Usage().Messages; (n == 1) != tc.queued {
				t.Errorf("%d messages queued", n)
			}
		})
	}
	bubble(t, "a message lost after the final dot waits before it is sent again", func(t *testing.T) {
		h := newTestQueue(t)
		inline := &server{send: func(mail.Rcpt) *mail.Reply {
			return &mail.Reply{Code: 451, Enhanced: "4.4.2", Text: "lost connection during end of data"}
		}}
		d := h.Direct("out", inline, true)
		send(t, d, ann(), to("a@example.net")...)
		inline.change(func() { inline.send = nil })
		pass(passMin + time.Second) // the upstream replies to another client
		if out := send(t, d, ann(), to("b@example.net")...); out[0].Reply.Text != "ok" {
			t.Errorf("got %v", &out[0].Reply)
		}
		pass(schedule.DefaultPolicy.RetryMin/2 - passMin)
		if got := h.out.to(); len(got) > 0 {
			t.Errorf("sent again at once: %q", got)
		}
		if l := h.List(Filter{}, 0); len(l) != 1 || l[0].State != "deferred" || l[0].Rcpts[0].Attempts != 1 ||
			!strings.Contains(l[0].Rcpts[0].Reply, "end of data") {
			t.Errorf("queue %+v", l)
		}
		pass(schedule.DefaultPolicy.RetryMin)
		if got := h.out.to(); !slices.Equal(got, []string{"a@example.net"}) {
			t.Errorf("delivered %q", got)
		}
		h.empty(t)
	})
	bubble(t, "only recipients without an answer are queued", func(t *testing.T) {
		h := newTestQueue(t)
		h.out.send = func(r mail.Rcpt) *mail.Reply {
			if r.To.Local() == "b" {
				return down
			}
			return nil
		}
		out := send(t, h.Direct("out", h.out, true), ann(), to("a@example.net", "b@example.net")...)
		if out[0].Reply.Text != "ok" || !strings.HasPrefix(out[1].Reply.Text, "queued as ") {
			t.Errorf("got %v and %v", &out[0].Reply, &out[1].Reply)
		}
	})
	bubble(t, "while it is down no client waits for it, and it recovers by itself", func(t *testing.T) {
		h := newTestQueue(t)
		d := h.Direct("out", h.out, true)
		h.out.change(func() { h.out.send = func(mail.Rcpt) *mail.Reply { return down } })
		inlineTries := 0
		counted := &server{send: func(mail.Rcpt) *mail.Reply { inlineTries++; return down }}
		d.inline = counted
		for range 100 {
			send(t, d, ann(), to("a@example.net")...)
			pass(100 * time.Millisecond)
		}
		if inlineTries > 4 {
			t.Errorf("%d attempts in 10 s", inlineTries)
		}
		if state, why := d.State(); state != "down" || !strings.Contains(why, "refused") {
			t.Errorf("state %s, %s", state, why)
		}
		h.out.change(func() { h.out.send = nil })
		counted.change(func() { counted.send = nil })
		pass(2 * time.Minute)
		if out := send(t, d, ann(), to("last@example.net")...); out[0].Reply.Text != "ok" {
			t.Errorf("still not in-line: %v", &out[0].Reply)
		}
		if state, _ := d.State(); state != "up" {
			t.Errorf("state %s", state)
		}
		synctest.Wait()
		if n := len(h.out.to()); n != 100 {
			t.Errorf("%d of 100 queued messages delivered as soon as it was back", n)
		}
		h.empty(t)
	})
	bubble(t, "once the queue has reached it, mail goes in-line again", func(t *testing.T) {
		h := newTestQueue(t)
		h.out.change(func() { h.out.send = func(mail.Rcpt) *mail.Reply { return down } })
		inline := &server{send: func(mail.Rcpt) *mail.Reply { return down }}
		d := h.Direct("out", inline, true)
		send(t, d, ann(), to("a@example.net")...)
		inline.change(func() { inline.send = nil })
		pass(time.Second)
		if out := send(t, d, ann(), to("b@example.net")...); out[0].Reply.Text == "ok" {
			t.Error("asked although it was not reached")
		}
		h.out.change(func() { h.out.send = nil })
		h.Flush("example.net")
		pass(time.Second)
		if out := send(t, d, ann(), to("c@example.net")...); out[0].Reply.Text != "ok" {
			t.Errorf("still queued: %v", &out[0].Reply)
		}
	})
	bubble(t, "a message to many counts as one failure", func(t *testing.T) {
		h := newTestQueue(t)
		h.out.send = func(mail.Rcpt) *mail.Reply { return down }
		d := h.Direct("out", &server{send: h.out.send}, true)
		send(t, d, ann(), to("a@example.net", "b@example.net", "c@example.net", "d@example.net")...)
		pass(passMin)
		d.inline = &server{}
		if out := send(t, d, ann(), to("a@example.net")...); out[0].Reply.Text != "ok" {
			t.Errorf("bypassed for longer: %v", &out[0].Reply)
		}
	})
	bubble(t, "an upstream that accepts a recipient is not asked again by the queue", func(t *testing.T) {
		h := newTestQueue(t)
		h.Add(Upstream{Name: "out", Hop: h.out, Check: func(context.Context, *mail.Transaction, mail.Rcpt) error { return errors.New("asked") }})
		h.out.send = func(mail.Rcpt) *mail.Reply { return down }
		out := send(t, h.Direct("out", h.out, true), ann(), to("a@example.net")...)
		if !out[0].Reply.Positive() {
			t.Errorf("got %v", &out[0].Reply)
		}
	})
	bubble(t, "forwarded mail is queued, with its own sender for each recipient", func(t *testing.T) {
		h := newTestQueue(t, func(o *Options) {
			o.Sender = func(from mail.Address, r mail.Rcpt) mail.Address {
				if len(r.Via) > 0 {
					return "srs@mail.example.org"
				}
				return from
			}
		})
		rcpts := to("a@example.net", "b@example.net")
		rcpts[0].Via = []string{"alias"}
		send(t, h.Direct("out", h.out, false), ann(), rcpts...)
		synctest.Wait()
		got := h.out.deliveries()
		slices.SortFunc(got, func(a, b delivery) int { return strings.Compare(string(a.to), string(b.to)) })
		if len(got) != 2 || got[0].from != "srs@mail.example.org" || got[1].from != "ann@example.org" {
			t.Errorf("got %+v", got)
		}
	})
	bubble(t, "quarantined mail is held, not delivered", func(t *testing.T) {
		h := newTestQueue(t)
		tx := ann()
		tx.Quarantine = "virus"
		out := send(t, h.Direct("out", h.out, false), tx, to("a@example.net")...)
		l := h.List(Filter{State: "held"}, 0)
		if !out[0].Reply.Positive() || len(l) != 1 || len(h.out.to()) > 0 {
			t.Errorf("got %v, %+v", &out[0].Reply, l)
		}
	})
	pass := []mail.AuthResult{{Method: "spf", Value: "pass"}}
	for _, tc := range []struct {
		name   string
		client mail.Client
		from   mail.Address
		auth   []mail.AuthResult
		want   string
	}{
		{"a client that may relay", mail.Client{MayRelay: true}, "ann@example.org", nil, "ann@example.org"},
		{"a remote client whose sender is proved", mail.Client{}, "ann@example.org", pass, "ann@example.org"},
		{"a remote client", mail.Client{}, "ann@example.org", nil, "post@example.org"},
		{"a forged sender", mail.Client{}, "ann@example.org", []mail.AuthResult{{Method: "spf", Value: "pass"}, {Method: "dmarc", Value: "fail"}}, "post@example.org"},
		{"a report", mail.Client{}, "", nil, "post@example.org"},
	} {
		bubble(t, "recipients refused after others got the message: "+tc.name, func(t *testing.T) {
			h := newTestQueue(t)
			tx := mail.NewTransaction(tc.client, tc.from)
			tx.Trail.Auth = tc.auth
			tx.Envelope.Rcpts = to("a@example.net", "b@example.net")
			m, _ := mail.NewMessage(mail.Bytes("Subject: hello\r\n\r\nbody\r\n"))
			got, err := h.Bounce(t.Context(), tx, m, []mail.Outcome{{Rcpt: "b@example.net", Reply: *refuse(552, "5.2.2", "box is full")}})
			if err != nil || string(got) != tc.want {
				t.Errorf("sent to %q, %v; want %q", got, err, tc.want)
			}
			synctest.Wait()
			r := h.back.deliveries()
			if len(r) != 1 || !strings.Contains(r[0].text, "box is full") || !slices.Equal(h.back.to(), []string{tc.want}) {
				t.Errorf("reports: %+v", r)
			}
		})
	}
}

// The free space is still checked after the wall clock has been set back,
// because the interval is measured on the monotonic clock.
func TestSpaceIgnoresTheWallClock(t *testing.T) {
	looks := 0
	g := spaceGuard{log: zerolog.Nop(), free: func() (int64, error) { looks++; return 1, nil }}
	g.setReserve(100)
	for range 2 {
		if !g.low() {
			t.Error("the full disk is not noticed")
		}
	}
	if looks != 1 {
		t.Errorf("%d looks", looks)
	}
	if at := time.Duration(g.checked.Load()); at > 365*24*time.Hour {
		t.Errorf("looked at %s, a reading of the wall clock", at)
	}
}
