package queue

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"hoplite/mail"
)

// Waiting mail is sent within seconds after an upstream has recovered, no
// matter how long it was down and how little mail is waiting.
func TestPing(t *testing.T) {
	down := &mail.Reply{Code: 451, Enhanced: "4.4.1", Text: "connection refused"}
	start := func(t *testing.T, reply *mail.Reply, perDomain ...bool) *pinged {
		u := &pinged{h: newTestQueue(t), perDomain: len(perDomain) > 0 && perDomain[0]}
		u.h.out.send = func(mail.Rcpt) *mail.Reply { return reply }
		u.add()
		return u
	}
	comesBack := func(u *pinged) {
		u.up.Store(true)
		u.h.out.change(func() { u.h.out.send = nil })
	}
	for _, tc := range []struct {
		name      string
		messages  int
		downFor   time.Duration
		perDomain bool
		within    time.Duration
	}{
		{"one message, a short time", 1, 20 * time.Second, false, 6 * time.Second},
		{"one message, a night", 1, 9 * time.Hour, false, 6 * time.Second},
		{"many, an hour", 30, time.Hour, false, 6 * time.Second},
		{"many, a weekend", 30, 60 * time.Hour, false, 6 * time.Second},
		{"a domain, a short time", 1, time.Minute, true, 6 * time.Second},
		{"a domain, a night", 30, 9 * time.Hour, true, 31 * time.Second},
	} {
		bubble(t, tc.name, func(t *testing.T) {
			u := start(t, down, tc.perDomain)
			for range tc.messages {
				u.h.accept(t, "out", to("a@example.net")...)
			}
			pass(tc.downFor)
			if len(u.h.out.to()) > 0 {
				t.Fatal("delivered while it is down")
			}
			comesBack(u)
			pass(tc.within)
			if n := len(u.h.out.to()); n != tc.messages {
				t.Errorf("%d of %d delivered", n, tc.messages)
			}
			log := u.h.log.String()
			if wasDown := strings.Contains(log, "destination is down"); strings.Contains(log, "destination answers again") != wasDown {
				t.Errorf("was down: %v\n%s", wasDown, log)
			}
			u.h.empty(t)
			n := u.pings.Load()
			if pass(time.Hour); u.pings.Load() != n {
				t.Error("pinged without need")
			}
			if u.wrong.Load() {
				t.Error("a wrong domain was pinged")
			}
		})
	}
	bubble(t, "it answers pings but takes no mail", func(t *testing.T) {
		u := start(t, refuse(421, "4.3.2", "too busy"))
		u.up.Store(true)
		u.h.accept(t, "out", to("a@example.net")...)
		pass(24 * time.Hour)
		if n := u.pings.Load(); n < 5 || n > 150 {
			t.Errorf("%d pings in a day", n)
		}
	})
	bubble(t, "after a restart", func(t *testing.T) {
		u := start(t, down)
		u.h.accept(t, "out", to("a@example.net")...)
		pass(9 * time.Hour)
		u.h.stop()
		comesBack(u)
		q, err := Open(Options{Journal: u.h.memory, Settings: Settings{Hostname: "mail.example.org"}, Log: u.h.Queue.log})
		if err != nil {
			t.Fatal(err)
		}
		u.h.Queue = q
		u.add()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- q.Run(ctx, time.Minute) }()
		pass(6 * time.Second)
		if got := u.h.out.to(); !slices.Equal(got, []string{"a@example.net"}) {
			t.Errorf("delivered %q", got)
		}
		cancel()
		<-done
	})
	bubble(t, "a message lost after the final dot waits out its pause", func(t *testing.T) {
		u := start(t, &mail.Reply{Code: 451, Enhanced: "4.4.2", Text: "lost connection during end of data"})
		u.h.accept(t, "out", to("a@example.net")...)
		pass(time.Second)
		u.h.out.change(func() { u.h.out.send = func(mail.Rcpt) *mail.Reply { return down } })
		u.h.accept(t, "out", to("b@example.net")...)
		pass(time.Second)
		comesBack(u)
		pass(time.Minute)
		if got := u.h.out.to(); !slices.Equal(got, []string{"b@example.net"}) {
			t.Errorf("delivered %q", got)
		}
		pass(10 * time.Minute)
		u.h.empty(t)
	})
	bubble(t, "the end of the queue does not wait for pings", func(t *testing.T) {
		u := start(t, down)
		u.h.accept(t, "out", to("a@example.net")...)
		pass(2 * time.Second)
		before := time.Now()
		if u.h.stop(); time.Since(before) > 0 {
			t.Errorf("it took %s", time.Since(before))
		}
	})
}

func (u *pinged) add() {
	u.h.Add(Upstream{Name: "out", Hop: u.h.out, PerDomain: u.perDomain, Ping: func(_ context.Context, domain string) error {
		if (domain != "") != u.perDomain || u.perDomain && domain != "example.net" {
			u.wrong.Store(true)
		}
		u.pings.Add(1)
		if u.up.Load() {
			return nil
		}
		return errors.New("down")
	}})
}

// pinged is an upstream whose answer to pings can be set.
type pinged struct {
	h         *testQueue
	perDomain bool
	wrong     atomic.Bool // a wrong domain was pinged
	up        atomic.Bool
	pings     atomic.Int64
}
