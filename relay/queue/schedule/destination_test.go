package schedule

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"hoplite/mail"
)

func TestDestinationDown(t *testing.T) {
	t.Run("three failures block it, and probes find it again", func(t *testing.T) {
		s := newSim(t)
		s.answer = always(down)
		for _, id := range []string{"a", "b", "c", "d", "e"} {
			s.admit(id, "out", mail.Address(id+"@example.net"))
		}
		// d and e were never tried, and the probe is the first in line.
		want(t, "tried", s.tried, "0 a@example.net", "0 b@example.net", "0 c@example.net")
		want(t, "notes", s.notes, "0 down out")
		if n := s.noteds[0]; n.Reply.Enhanced != "4.4.1" || n.Waiting != 3 || n.Until != epoch.Add(blockMin) {
			t.Errorf("note %+v", n)
		}
		s.tried = nil
		s.pass(30 * time.Minute)
		want(t, "probes", s.tried, "2s d@example.net", "6s e@example.net", "14s a@example.net", "30s b@example.net",
			"1m2s c@example.net", "2m6s d@example.net", "4m14s e@example.net", "8m30s a@example.net", "17m2s b@example.net")
		s.answer, s.tried = nil, nil
		s.pass(30 * time.Minute)
		want(t, "after it came back", s.tried, "32m2s c@example.net", "32m2s d@example.net", "32m2s e@example.net", "32m2s a@example.net", "32m2s b@example.net")
		if got := s.notes[len(s.notes)-1]; got != "32m2s up out" || s.m.Len() != 0 {
			t.Errorf("last note %q, %d messages", got, s.m.Len())
		}
	})
	t.Run("a success between failures", func(t *testing.T) {
		s := newSim(t)
		for _, r := range []*mail.Reply{down, down, nil, down, down} {
			s.answer = always(r)
			s.admit(fmt.Sprint("m", len(s.tried)), "out", "a@example.net")
		}
		want(t, "notes", s.notes) // it was never noted as down
	})
	t.Run("a broken connection and a refusal teach nothing", func(t *testing.T) {
		for _, r := range []*mail.Reply{dropped, later} {
			s := newSim(t)
			s.answer = always(r)
			for i := range 5 {
				s.admit(fmt.Sprint("m", i), "out", "a@example.net")
			}
			want(t, "notes", s.notes)
		}
	})
	t.Run("a server that closes the connection after it judged a recipient is not down", func(t *testing.T) {
		s := newSim(t)
		s.answer = func(a mail.Address) *mail.Reply {
			if a.Local() == "b" {
				return hangup
			}
			return nil
		}
		for i := range 5 {
			s.admit(fmt.Sprint("m", i), "out", "a@example.net", "b@example.net")
		}
		want(t, "notes", s.notes)
	})
	t.Run("domains of one upstream are blocked on their own", func(t *testing.T) {
		s := newSim(t)
		s.answer = func(a mail.Address) *mail.Reply {
			if a.Domain() == "down.example" {
				return down
			}
			return nil
		}
		for i := range 4 {
			s.admit(fmt.Sprint("m", i), "mx", "a@down.example", "b@up.example")
		}
		want(t, "notes", s.notes, "0 down mx/down.example")
		want(t, "tried", s.tried, "0 a@down.example", "0 b@up.example", "0 a@down.example", "0 b@up.example",
			"0 a@down.example", "0 b@up.example", "0 b@up.example")
	})
	t.Run("the longest block is the longest wait", func(t *testing.T) {
		s := newSim(t)
		s.m.AddUpstream(Upstream{Name: "out", Policy: Policy{RetryMin: time.Second, RetryMax: time.Second}}, s.now)
		s.answer = always(down)
		for _, id := range []string{"a", "b", "c"} {
			s.admit(id, "out", "a@example.net")
		}
		s.tried = nil
		s.pass(5 * time.Second)
		if len(s.tried) != 5 {
			t.Errorf("probes %q", s.tried)
		}
	})
	t.Run("late and expired mail is settled without attempts of its own", func(t *testing.T) {
		s := newSim(t)
		s.answer = always(down)
		for i := range 20 {
			s.admit(fmt.Sprint("m", i), "out", mail.Address(fmt.Sprintf("u%d@example.net", i)))
		}
		s.pass(6 * day)
		kinds := map[string]int{}
		for _, o := range s.owed {
			var at, kind string
			fmt.Sscan(o, &at, &kind)
			kinds[kind]++
		}
		if kinds["delayed"] != 20 || kinds["failed"] != 20 || s.m.Len() != 0 {
			t.Errorf("owed %v, %d messages left", kinds, s.m.Len())
		}
		if n := len(s.tried); n > 600 { // one probe every 15 minutes
			t.Errorf("%d attempts", n)
		}
	})
	t.Run("before a restart: the first answer wakes what waited", func(t *testing.T) {
		s := newSim(t)
		for _, id := range []string{"a", "b"} {
			msg := NewMessage(id, "out", mail.Envelope{Rcpts: []mail.Rcpt{{To: mail.Address(id + "@example.net")}}}, s.now.Add(-time.Hour))
			msg.Rcpts[0] = Rcpt{Attempts: 5, Last: down, Next: s.now.Add(3 * time.Hour)}
			s.m.Admit(msg, s.now)
		}
		s.settle()
		want(t, "tried", s.tried)
		s.admit("c", "out", "c@example.net")
		want(t, "tried", s.tried, "0 c@example.net", "0 a@example.net", "0 b@example.net")
	})
	t.Run("ReachedSince and Revive", func(t *testing.T) {
		s := newSim(t)
		if s.m.ReachedSince("out", epoch.Add(-day)) {
			t.Error("reached before any attempt")
		}
		s.m.Revive("out") // there is nothing to revive
		s.answer = always(down)
		for _, id := range []string{"a", "b", "c"} {
			s.admit(id, "out", mail.Address(id+"@example.net"))
		}
		s.answer, s.tried = nil, nil
		s.m.Revive("out")
		s.settle()
		want(t, "tried", s.tried, "0 a@example.net", "0 b@example.net", "0 c@example.net")
		if !s.m.ReachedSince("out", epoch.Add(-day)) || s.m.ReachedSince("out", s.now) {
			t.Error("ReachedSince is wrong")
		}
	})
	t.Run("mail that waits names the reason", func(t *testing.T) {
		s := newSim(t)
		s.answer = always(down)
		for _, id := range []string{"a", "b", "c"} {
			s.admit(id, "out", "a@example.net")
		}
		msg := s.admit("d", "out", "d@example.net")
		n := 0
		msg.Blocked(func(i int, why *mail.Reply) {
			n++
			if i != 0 || why.Enhanced != "4.4.1" {
				t.Errorf("recipient %d: %v", i, why)
			}
		})
		if n != 1 || msg.State(s.now) != "deferred" || msg.Next() != epoch.Add(blockMin) {
			t.Errorf("%d reasons, %s, next %v", n, msg.State(s.now), msg.Next())
		}
	})
}

// A full disk makes commits fail; these cases test the effect on the schedule.
func TestUnsaved(t *testing.T) {
	full := errors.New("disk full")
	t.Run("a deferral keeps its schedule", func(t *testing.T) {
		s := newSim(t)
		s.answer, s.saveErr = always(later), full
		s.admit("m", "out", "a@example.net")
		s.pass(time.Hour)
		want(t, "tried", times(s.tried), "0", "5m", "15m", "35m")
	})
	t.Run("a failure is tried again, and reported once it can be", func(t *testing.T) {
		s := newSim(t)
		s.answer, s.saveErr = always(no), full
		s.admit("m", "out", "a@example.net")
		s.pass(6 * time.Minute)
		s.saveErr = nil
		s.pass(time.Hour)
		want(t, "tried", times(s.tried), "0", "5m", "15m")
		want(t, "done", s.done) // the commit removed it
		if s.m.Len() != 0 {
			t.Error("still there")
		}
	})
	t.Run("a delivery whose report cannot be stored is not repeated", func(t *testing.T) {
		s := newSim(t)
		s.saveErr = full
		msg := NewMessage("m", "out", mail.Envelope{Rcpts: []mail.Rcpt{{To: "a@example.net", Notify: mail.NotifySuccess}}}, s.now)
		s.m.Admit(msg, s.now)
		s.settle()
		s.pass(day)
		want(t, "tried", s.tried, "0 a@example.net")
		want(t, "done", s.done, "0 m")
	})
	// The first version dropped the message here.
	t.Run("a delivery whose report cannot be stored leaves the other recipients", func(t *testing.T) {
		s := newSim(t)
		s.saveErr = full
		s.answer = func(a mail.Address) *mail.Reply {
			if a.Domain() == "later.example" && len(s.tried) < 3 {
				return later
			}
			return nil
		}
		msg := NewMessage("m", "mx", mail.Envelope{Rcpts: []mail.Rcpt{
			{To: "a@now.example", Notify: mail.NotifySuccess}, {To: "b@later.example"},
		}}, s.now)
		s.m.Admit(msg, s.now)
		s.settle()
		s.pass(time.Hour)
		want(t, "tried", s.tried, "0 a@now.example", "0 b@later.example", "5m b@later.example")
		want(t, "done", s.done, "5m m")
	})
	t.Run("a delay notice that cannot be stored is sent later", func(t *testing.T) {
		s := newSim(t)
		s.answer = always(later)
		msg := s.admit("m", "out", "a@example.net")
		s.pass(5 * time.Hour)
		s.saveErr = full
		s.pass(time.Hour)
		if msg.Warned {
			t.Error("counted as warned")
		}
		s.saveErr = nil
		s.pass(4 * time.Hour)
		want(t, "owed", s.owed, "5h15m delayed a@example.net", "9h15m delayed a@example.net")
	})
}

// A message whose file is missing is removed from the queue.
func TestLost(t *testing.T) {
	s := newSim(t)
	s.slow = true
	s.admit("m", "mx", "a@x.example", "b@y.example")
	if !s.m.Lost(s.pending[0]) || s.m.Lost(s.pending[1]) {
		t.Error("reported wrongly")
	}
	s.settle()
	want(t, "done", s.done, "0 m")
	if s.m.Len() != 0 || s.m.dispatcher.active != 0 {
		t.Errorf("%d messages, %d active", s.m.Len(), s.m.dispatcher.active)
	}
}

// The invariants of sim.check hold after random events, and once everything
// works again, every message is delivered.
func TestRandomEvents(t *testing.T) {
	replies := []*mail.Reply{nil, nil, later, down, down, dropped, hangup}
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 1))
		s := newSim(t)
		s.m.AddUpstream(Upstream{Name: Router}, s.now)
		s.m.Limit(Limits{Workers: 1 + r.IntN(5)})
		s.answer = func(mail.Address) *mail.Reply { return replies[r.IntN(len(replies))] }
		upstreams := []string{"out", "mx", "extra"}
		expected := map[string]bool{}
		for n := range 120 {
			s.seed = fmt.Sprintf("seed %d, event %d", seed, n)
			var any *Message
			for _, msg := range sorted(s.m.messages, func(*Message) bool { return r.IntN(3) == 0 }) {
				any = msg
			}
			switch r.IntN(12) {
			case 0, 1, 2:
				id := fmt.Sprint("m", n)
				expected[id] = true
				s.admit(id, upstreams[r.IntN(3)], mail.Address(fmt.Sprintf("a@d%d.example", r.IntN(3))), mail.Address(fmt.Sprintf("b@d%d.example", r.IntN(3))))
			case 3:
				s.slow = !s.slow
			case 4:
				s.finishAll()
			case 5, 6:
				s.pass(time.Duration(r.IntN(3600)) * time.Second)
			case 7:
				s.m.AddUpstream(Upstream{Name: upstreams[r.IntN(3)], PerDomain: r.IntN(2) == 0}, s.now)
			case 8:
				s.m.RemoveUpstream(upstreams[1+r.IntN(2)], s.now)
			case 9, 10:
				if any != nil {
					s.order([]string{"retry", "hold", "release", "reroute"}[r.IntN(4)], []string{"out", "mx"}[r.IntN(2)], any)
				}
			case 11:
				s.saveErr = []error{nil, nil, errors.New("full")}[r.IntN(3)]
			}
			s.settle()
		}
		s.answer, s.saveErr, s.slow = nil, nil, false
		s.finishAll()
		for _, up := range upstreams {
			s.m.AddUpstream(Upstream{Name: up}, s.now)
		}
		s.settle()
		for _, msg := range sorted(s.m.messages, func(*Message) bool { return true }) {
			s.order("release", "", msg)
		}
		s.pass(day)
		if s.m.Len() != 0 || len(s.done) != len(expected) {
			t.Fatalf("seed %d: %d messages left, %d of %d done", seed, s.m.Len(), len(s.done), len(expected))
		}
	}
}
