package schedule

import (
	"errors"
	"slices"
	"testing"
	"time"

	"hoplite/mail"
)

// The states that a message may be in when an order is applied.
var states = map[string]func(s *sim) *Message{
	"deferred": func(s *sim) *Message {
		s.answer = always(later)
		return s.admit("m", "out", "a@example.net")
	},
	"active": func(s *sim) *Message {
		s.slow = true
		return s.admit("m", "out", "a@example.net")
	},
	"held": func(s *sim) *Message {
		s.answer = always(later)
		msg := s.admit("m", "out", "a@example.net")
		s.order("hold", "virus", msg)
		return msg
	},
	"without upstream": func(s *sim) *Message { return s.admit("m", "gone", "a@example.net") },
	"blocked": func(s *sim) *Message {
		s.answer = always(down)
		for _, id := range []string{"x", "y", "z"} {
			s.admit(id, "out", "x@example.net")
		}
		return s.admit("m", "out", "a@example.net")
	},
}

func TestOrders(t *testing.T) {
	for _, tc := range []struct {
		do, text, state string
		ok              bool
		tried           []string // within the next ten minutes, with a working server
		held            string
		left            bool // the message is still in the queue afterwards
		owed            []string
	}{
		{do: "retry", state: "deferred", ok: true, tried: []string{"1m a@example.net"}},
		{do: "retry", state: "active", ok: true, left: true}, // it is already being attempted
		{do: "retry", state: "held", held: "virus", left: true},
		{do: "retry", state: "without upstream", ok: true, held: "upstream gone is not configured", left: true},
		{do: "retry", state: "blocked", ok: true, tried: []string{"1m a@example.net", "1m x@example.net", "1m x@example.net", "1m x@example.net"}},
		{do: "hold", text: "ask Ann", state: "deferred", ok: true, held: "ask Ann", left: true},
		{do: "hold", text: "ask Ann", state: "active", ok: true, held: "ask Ann", left: true},
		{do: "hold", text: "ask Ann", state: "held", ok: true, held: "virus", left: true},
		{do: "hold", text: "ask Ann", state: "without upstream", ok: true, held: "ask Ann", left: true},
		{do: "release", state: "deferred", ok: true, tried: []string{"1m a@example.net"}},
		{do: "release", state: "held", ok: true, tried: []string{"1m a@example.net"}},
		{do: "release", state: "without upstream", ok: true, held: "upstream gone is not configured", left: true},
		{do: "delete", state: "deferred", ok: true},
		{do: "delete", state: "active", ok: true},
		{do: "delete", state: "held", ok: true},
		{do: "delete", state: "without upstream", ok: true},
		{do: "bounce", text: "no", state: "deferred", ok: true, owed: []string{"1m failed a@example.net"}},
		{do: "bounce", text: "no", state: "active", left: true},
		{do: "bounce", text: "no", state: "held", ok: true, owed: []string{"1m failed a@example.net"}},
		{do: "bounce", text: "no", state: "without upstream", ok: true, owed: []string{"1m failed a@example.net"}},
		{do: "reroute", text: "mx", state: "deferred", ok: true, tried: []string{"1m a@example.net"}},
		{do: "reroute", text: "mx", state: "held", ok: true, held: "virus", left: true},
		{do: "reroute", text: "mx", state: "without upstream", ok: true, tried: []string{"1m a@example.net"}},
		{do: "reroute", text: "nowhere", state: "deferred", ok: true, held: "upstream nowhere is not configured", left: true},
	} {
		t.Run(tc.do+" "+tc.text+" "+tc.state, func(t *testing.T) {
			s := newSim(t)
			msg := states[tc.state](s)
			s.pass(time.Minute)
			s.answer, s.tried, s.owed = nil, nil, nil
			if ok := s.order(tc.do, tc.text, msg); ok != tc.ok {
				t.Fatalf("followed: %v", ok)
			}
			slices.Sort(s.tried) // jobs that wait together are attempted in any order
			want(t, "tried", s.tried, tc.tried...)
			want(t, "owed", s.owed, tc.owed...)
			if msg.Held != tc.held && !msg.gone {
				t.Errorf("held for %q", msg.Held)
			}
			if left := s.m.Message("m") != nil; left != tc.left {
				t.Errorf("in the queue: %v", left)
			}
			s.finishAll()
		})
	}
}

// An order that cannot be saved is undone, and the schedule continues as
// before.
func TestOrderNotSaved(t *testing.T) {
	for _, do := range Orders {
		t.Run(do, func(t *testing.T) {
			s := newSim(t)
			s.answer = always(later)
			msg := s.admit("m", "out", "a@example.net")
			s.pass(time.Minute)
			s.saveErr = errors.New("disk full")
			s.order(do, "mx", msg)
			s.saveErr, s.tried = nil, nil
			if msg.Held != "" || msg.Override != "" || msg.Rcpts[0].Status != Waiting || msg.Rcpts[0].Attempts != 1 {
				t.Errorf("left behind %+v", msg)
			}
			s.pass(30 * time.Minute)
			want(t, "tried", times(s.tried), "5m", "15m")
		})
	}
	t.Run("an attempt in the meantime counts", func(t *testing.T) {
		s := newSim(t)
		s.slow = true
		msg := s.admit("m", "mx", "a@x.example", "b@y.example")
		c, ok := s.m.Apply(Order{Do: "delete"}, msg, s.now)
		if !ok {
			t.Fatal("not followed")
		}
		s.finish(s.pending[0])
		s.m.Settle(c, errors.New("disk full"), s.now)
		if msg.Rcpts[0].Status != Delivered || msg.Rcpts[1].Status != Waiting {
			t.Errorf("recipients are %+v", msg.Rcpts)
		}
	})
}

func TestOrdersDuringAttempts(t *testing.T) {
	t.Run("deleted: its outcome counts for nothing", func(t *testing.T) {
		s := newSim(t)
		msg := states["active"](s)
		s.order("delete", "", msg)
		s.answer = always(no)
		s.finishAll()
		want(t, "owed", s.owed)
		if s.m.Len() != 0 || s.m.dispatcher.active != 0 {
			t.Error("something is left")
		}
	})
	t.Run("held: the rest waits when the attempt has ended", func(t *testing.T) {
		s := newSim(t)
		s.slow = true
		msg := s.admit("m", "mx", "a@x.example", "b@y.example")
		s.order("hold", "ask Ann", msg)
		s.answer = func(a mail.Address) *mail.Reply {
			if a == "b@y.example" {
				return later
			}
			return nil
		}
		s.finishAll()
		s.pass(day)
		want(t, "tried", s.tried, "0 a@x.example", "0 b@y.example")
		if msg.State(s.now) != "held" || msg.Rcpts[0].Status != Delivered || msg.Rcpts[1].Status != Waiting {
			t.Errorf("%s, %+v", msg.State(s.now), msg.Rcpts)
		}
	})
	t.Run("rerouted: the rest goes the new way, once", func(t *testing.T) {
		s := newSim(t)
		s.slow = true
		msg := s.admit("m", "out", "a@x.example", "b@y.example")
		s.order("reroute", "mx", msg)
		s.answer = always(later)
		s.finishAll()
		s.slow, s.answer = false, nil
		s.pass(10 * time.Minute)
		want(t, "tried", s.tried, "0 a@x.example", "0 b@y.example", "5m a@x.example", "5m b@y.example")
		want(t, "done", s.done, "5m m")
	})
}

func TestHolds(t *testing.T) {
	t.Run("a held message is dropped when its time is over", func(t *testing.T) {
		s := newSim(t)
		s.m.Limit(Limits{HoldTime: 3 * day})
		states["held"](s)
		s.pass(2 * day)
		if s.m.Len() != 1 {
			t.Fatal("dropped too early")
		}
		s.pass(2 * day)
		want(t, "done", s.done, "72h m")
		want(t, "notes", s.notes, "72h dropped m")
		want(t, "owed", s.owed)
	})
	t.Run("a shorter time of a reload counts", func(t *testing.T) {
		s := newSim(t)
		states["held"](s)
		s.pass(2 * day)
		s.m.Limit(Limits{HoldTime: day})
		s.pass(time.Second)
		if s.m.Len() != 0 {
			t.Error("still there")
		}
	})
	t.Run("the lifetime begins again with the release", func(t *testing.T) {
		s := newSim(t)
		msg := states["held"](s)
		s.pass(20 * day)
		s.owed = nil
		s.order("release", "", msg)
		s.pass(4 * day)
		if s.m.Len() != 1 {
			t.Fatal("expired too early")
		}
		s.pass(2 * day)
		if len(s.owed) != 2 || s.m.Len() != 0 {
			t.Errorf("owed %q", s.owed)
		}
	})
	t.Run("a released message is not dropped", func(t *testing.T) {
		s := newSim(t)
		msg := states["held"](s)
		s.answer = nil
		s.order("release", "", msg)
		s.pass(31 * day)
		want(t, "notes", s.notes)
	})
}

func TestUpstreams(t *testing.T) {
	t.Run("mail without an upstream is routed", func(t *testing.T) {
		s := newSim(t)
		s.m.AddUpstream(Upstream{Name: Router}, s.now)
		s.admit("m", "gone", "a@example.net")
		want(t, "done", s.done, "0 m")
	})
	t.Run("or waits for it, when no route accepts it", func(t *testing.T) {
		s := newSim(t)
		s.m = New(Options{Jitter: exactly, Routable: func(*Message) bool { return false }})
		s.m.AddUpstream(Upstream{Name: Router}, s.now)
		s.m.Start(s.now)
		msg := s.admit("m", "gone", "a@example.net")
		s.admit("n", "gone", "b@example.net")
		want(t, "notes", s.notes, "0 missing m") // only once per upstream
		if !msg.AwaitsUpstream() || msg.State(s.now) != "held" {
			t.Errorf("%+v", msg)
		}
		s.pass(6 * day)
		s.m.AddUpstream(Upstream{Name: "gone"}, s.now)
		s.settle()
		want(t, "done", s.done, "144h m", "144h n")
	})
	t.Run("mail of a removed upstream is routed", func(t *testing.T) {
		s := newSim(t)
		s.m.AddUpstream(Upstream{Name: Router}, s.now)
		s.answer = always(later)
		s.admit("m", "out", "a@example.net")
		s.answer = nil
		s.m.RemoveUpstream("out", s.now)
		s.settle()
		s.pass(5 * time.Minute) // the schedule does not change
		want(t, "done", s.done, "5m m")
	})
	t.Run("an attempt at a removed upstream ends as it began", func(t *testing.T) {
		s := newSim(t)
		s.m.AddUpstream(Upstream{Name: Router}, s.now)
		s.slow = true
		s.admit("m", "mx", "a@x.example", "b@y.example")
		s.m.RemoveUpstream("mx", s.now)
		s.settle()
		s.answer = func(a mail.Address) *mail.Reply {
			if a == "b@y.example" {
				return later
			}
			return nil
		}
		s.finishAll()
		s.slow, s.answer = false, nil
		s.pass(time.Hour)
		want(t, "tried", s.tried, "0 a@x.example", "0 b@y.example", "5m b@y.example")
		want(t, "done", s.done, "5m m")
	})
	// In the first version the second recipient was not attempted until the
	// next start.
	t.Run("an upstream that comes back during an attempt gets the rest, too", func(t *testing.T) {
		s := newSim(t)
		s.slow = true
		s.m.Limit(Limits{Workers: 1})
		s.admit("m", "mx", "a@x.example", "b@y.example")
		s.m.RemoveUpstream("mx", s.now)
		s.m.AddUpstream(Upstream{Name: "mx", PerDomain: true}, s.now)
		s.settle()
		s.answer, s.slow = always(later), false
		s.finishAll()
		s.answer = nil
		s.pass(time.Hour)
		want(t, "done", s.done, "5m m")
	})
	t.Run("the router can be removed, too", func(t *testing.T) {
		s := newSim(t)
		s.m.AddUpstream(Upstream{Name: Router}, s.now)
		s.answer = always(later)
		msg := s.admit("m", "gone", "a@example.net")
		s.m.RemoveUpstream(Router, s.now)
		s.settle()
		if msg.State(s.now) != "held" {
			t.Error(msg.State(s.now))
		}
	})
	t.Run("a new policy applies to mail that waits", func(t *testing.T) {
		s := newSim(t)
		s.answer = always(later)
		s.admit("m", "out", "a@example.net")
		s.m.AddUpstream(Upstream{Name: "out", Policy: Policy{RetryMin: time.Minute, RetryMax: time.Minute, Lifetime: 7 * time.Minute}}, s.now)
		s.pass(time.Hour)
		want(t, "tried", times(s.tried), "0", "5m", "6m", "7m")
	})
}

func TestFlush(t *testing.T) {
	for _, tc := range []struct {
		domain string
		want   []string
	}{
		{"example.net", []string{"a@example.net"}},
		{"Example.Net", []string{"a@example.net"}},
		{"@example.net", []string{"a@example.net", "b@sub.example.net"}},
		{"xn--bcher-kva.example", []string{"c@bücher.example"}},
		{"bücher.example", []string{"c@bücher.example"}},
		{"net", nil},
		{"", nil},
	} {
		s := newSim(t)
		s.answer = always(later)
		for _, a := range []mail.Address{"a@example.net", "b@sub.example.net", "c@bücher.example"} {
			s.admit(string(a), "mx", a)
		}
		held := s.admit("held", "mx", "h@example.net")
		s.order("hold", "x", held)
		s.answer, s.tried = nil, nil
		if n := s.m.Flush(tc.domain, s.now); n != len(tc.want) {
			t.Errorf("%q: %d messages", tc.domain, n)
		}
		s.settle()
		var got []string
		for _, x := range s.tried {
			got = append(got, x[2:])
		}
		want(t, tc.domain, got, tc.want...)
	}
}

// Before Start no attempt begins, but orders are carried out. A queue opened by
// a command is in this state.
func TestNotStarted(t *testing.T) {
	s := newSim(t)
	s.m = New(Options{Jitter: exactly})
	msg := NewMessage("m", "out", mail.Envelope{Rcpts: []mail.Rcpt{{To: "a@example.net"}}}, epoch)
	msg.Rcpts[0].Next = epoch.Add(time.Hour)
	gone := NewMessage("gone", "out", mail.Envelope{Rcpts: []mail.Rcpt{{To: "a@example.net"}}}, epoch)
	s.m.Admit(msg, epoch)
	s.m.Admit(gone, epoch)
	s.settleUnstarted()
	if msg.State(epoch) != "deferred" || msg.Next() != epoch.Add(time.Hour) {
		t.Errorf("%s, next %v", msg.State(epoch), msg.Next())
	}
	for _, x := range []struct {
		do  string
		msg *Message
	}{{"hold", msg}, {"release", msg}, {"delete", gone}} {
		c, ok := s.m.Apply(Order{Do: x.do, Text: "text"}, x.msg, epoch)
		if !ok {
			t.Errorf("%s is not followed", x.do)
		}
		s.m.Settle(c, nil, epoch)
		s.settleUnstarted()
	}
	if msg.State(epoch) != "active" || s.m.Len() != 1 {
		t.Errorf("%s, %d messages", msg.State(epoch), s.m.Len())
	}
	s.m.AddUpstream(Upstream{Name: "out"}, epoch)
	s.m.Start(epoch)
	s.settle()
	want(t, "tried", s.tried, "0 a@example.net")
}

// settleUnstarted fails if a machine that has not been started has any effects.
func (s *sim) settleUnstarted() {
	s.t.Helper()
	if e := s.m.Take(); len(e.Start)+len(e.Overdue)+len(e.Done)+len(e.Notes) > 0 {
		s.t.Errorf("effects %+v", e)
	}
}
