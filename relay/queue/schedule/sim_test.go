package schedule

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"hoplite/mail"
)

// sim drives a Machine: it makes the attempts that the machine requests,
// answers them as the test specifies, and advances the time.
type sim struct {
	t   *testing.T
	m   *Machine
	now time.Time

	// answer is the reply to a recipient; nil means 250.
	answer func(to mail.Address) *mail.Reply
	// saveErr is the result of commits.
	saveErr error
	// answers reports whether a destination answers pings; nil means no.
	answers func(destination string) bool
	// slow leaves attempts pending until finish is called.
	slow    bool
	pending []*Job

	pings  []string // "5s out"
	tried  []string // "10m a@example.net" for each recipient of each attempt
	owed   []string // "4h35m delayed a@example.net"
	done   []string // "10m id"
	notes  []string // "1m down out"
	noteds []Note
	seed   string // seed of the random events, for failure messages
}

var epoch = time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC)

// exactly is a jitter function that returns d unchanged.
func exactly(d time.Duration) time.Duration { return d }

func newSim(t *testing.T) *sim {
	s := &sim{t: t, m: New(Options{Jitter: exactly}), now: epoch}
	s.m.AddUpstream(Upstream{Name: "out"}, s.now)
	s.m.AddUpstream(Upstream{Name: "mx", PerDomain: true}, s.now)
	s.m.Start(s.now)
	return s
}

// at prefixes x with the time since the start.
func (s *sim) at(x string) string { return short(s.now.Sub(epoch)) + " " + x }

// short formats a duration without zero units.
func short(d time.Duration) string {
	if d == 0 {
		return "0"
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// admit queues a message from ann.
func (s *sim) admit(id, upstream string, to ...mail.Address) *Message {
	env := mail.Envelope{From: "ann@example.org"}
	for _, a := range to {
		env.Rcpts = append(env.Rcpts, mail.Rcpt{To: a, Orig: a, Notify: mail.NotifyFailure | mail.NotifyDelay})
	}
	msg := NewMessage(id, upstream, env, s.now)
	s.m.Admit(msg, s.now)
	s.settle()
	return msg
}

// settle carries out effects until none are left.
func (s *sim) settle() {
	for range 10_000 {
		e := s.m.Take()
		starts, overdue := slices.Clone(e.Start), slices.Clone(e.Overdue)
		for _, p := range e.Ping {
			s.pings = append(s.pings, s.at(p.Destination))
			s.m.Pinged(p.Destination, s.answers != nil && s.answers(p.Destination), s.now)
		}
		for _, id := range e.Done {
			s.done = append(s.done, s.at(id))
		}
		for _, n := range e.Notes {
			name := map[NoteKind]string{DestinationDown: "down ", DestinationUp: "up ", UpstreamMissing: "missing ", HoldExpired: "dropped "}[n.Kind] + n.Destination
			if n.Message != nil {
				name += n.Message.ID
			}
			s.notes = append(s.notes, s.at(name))
			s.noteds = append(s.noteds, n)
		}
		if len(starts)+len(overdue)+len(e.Ping) == 0 {
			s.check()
			return
		}
		for _, j := range starts {
			for _, i := range j.Rcpts {
				s.tried = append(s.tried, s.at(string(j.Message.Envelope.Rcpts[i].To)))
			}
			if s.slow {
				s.pending = append(s.pending, j)
			} else {
				s.finish(j)
			}
		}
		for _, o := range overdue {
			for _, j := range o.Jobs {
				res := Result{Unreached: o.Why}
				for range j.Rcpts {
					res.Outcomes = append(res.Outcomes, mail.Outcome{Reply: *o.Why})
				}
				s.end(j, &res)
			}
		}
	}
	s.t.Fatal("the machine never comes to rest")
}

// finish ends an attempt with the outcome that answer returns.
func (s *sim) finish(j *Job) {
	var res Result
	for _, i := range j.Rcpts {
		reply := &mail.Reply{Code: 250, Host: "mx.example.net"}
		if s.answer != nil {
			if r := s.answer(j.Message.Envelope.Rcpts[i].To); r != nil {
				reply = r
			}
		}
		res.Outcomes = append(res.Outcomes, mail.Outcome{Reply: *reply})
		res.Weigh(reply)
	}
	s.end(j, &res)
}

func (s *sim) end(j *Job, res *Result) {
	step := s.m.Finish(j, res, s.now)
	for kind, rcpts := range map[string][]int{"failed": step.Owed.Failed, "delivered": step.Owed.Delivered, "delayed": step.Owed.Delayed} {
		for _, i := range rcpts {
			s.owed = append(s.owed, s.at(kind+" "+string(j.Message.Envelope.Rcpts[i].To)))
		}
	}
	if step.Save {
		s.m.Saved(step, s.saveErr, s.now)
	}
}

// finishAll ends the pending attempts.
func (s *sim) finishAll() {
	all := s.pending
	s.pending = nil
	for _, j := range all {
		s.finish(j)
	}
	s.settle()
}

// pass advances the time by d and processes everything that becomes due.
func (s *sim) pass(d time.Duration) {
	end := s.now.Add(d)
	for range 100_000 {
		next, ok := s.m.Next()
		if !ok || next.After(end) {
			s.now = end
			return
		}
		if next.After(s.now) {
			s.now = next
		}
		s.m.Advance(s.now)
		s.settle()
	}
	s.t.Fatal("alarms without end")
}

// order carries out an order on a message as the queue does.
func (s *sim) order(do, text string, msg *Message) bool {
	c, ok := s.m.Apply(Order{Do: do, Text: text}, msg, s.now)
	if ok {
		for _, i := range c.Owed.Failed {
			s.owed = append(s.owed, s.at("failed "+string(msg.Envelope.Rcpts[i].To)))
		}
		s.m.Settle(c, s.saveErr, s.now)
	}
	s.settle()
	return ok
}

// check verifies the machine's invariants.
func (s *sim) check() {
	s.t.Helper()
	fail := func(format string, args ...any) {
		s.t.Helper()
		s.t.Fatalf("%s: "+format, append([]any{s.at(s.seed)}, args...)...)
	}
	d := &s.m.dispatcher
	active := 0
	for key, dest := range d.destinations {
		if key != dest.key {
			fail("destination %q is filed under %q", dest.key, key)
		}
		active += dest.active
		for i, j := range dest.jobs {
			if j.index != i || j.dest != dest || j.state == jobGone || !slices.Contains(j.Message.jobs, j) {
				fail("job %d of %s is misplaced: %+v", i, key, j)
			}
		}
		if dest.active > dest.up.Concurrency {
			fail("%d attempts at %s", dest.active, key)
		}
	}
	if active != d.active || active > d.workers {
		fail("%d attempts, counted %d, limit %d", active, d.active, d.workers)
	}
	pinged := 0
	for key, dest := range d.destinations {
		if !dest.ping.since.IsZero() && dest.domain != "" {
			pinged++
		}
		if dest.ping.place >= 0 && dest.ping.since.IsZero() {
			fail("%s has an alarm for a ping, but is not pinged", key)
		}
	}
	if pinged != d.pinged || pinged > maxPinged {
		fail("%d domains are pinged, counted %d", pinged, d.pinged)
	}
	for i, a := range d.alarms {
		if *a.at() != i {
			fail("alarm %d has place %d", i, *a.at())
		}
	}
	for id, msg := range s.m.messages {
		if msg.gone || msg.ID != id || msg.active < 0 {
			fail("message %s: gone %v, active %d", id, msg.gone, msg.active)
		}
		seen := map[int]bool{}
		running := 0
		for _, j := range msg.jobs {
			if j.state == jobActive {
				running++
			}
			if j.state == jobWaiting && j.place < 0 {
				fail("a job of %s waits without an alarm", id)
			}
			for _, i := range j.Rcpts {
				if seen[i] {
					fail("recipient %d of %s is in two jobs", i, id)
				}
				seen[i] = true
			}
		}
		if running != msg.active {
			fail("%s has %d active jobs, counted %d", id, running, msg.active)
		}
		for i := range msg.Rcpts {
			if msg.Rcpts[i].Status == Waiting && msg.Held == "" && !msg.Busy() && !seen[i] {
				fail("recipient %d of %s waits and is in no job: %+v", i, id, *msg)
			}
		}
	}
}

// want compares the recorded events.
func want(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

func reply(code int, enhanced, host string) *mail.Reply {
	return &mail.Reply{Code: code, Enhanced: enhanced, Text: "text", Host: host}
}

// The most common replies.
var (
	later   = reply(451, "4.7.1", "mx.example.net") // a server's temporary refusal
	no      = reply(550, "5.1.1", "mx.example.net")
	down    = reply(451, "4.4.1", "") // no connection
	hangup  = reply(421, "4.3.2", "mx.example.net")
	dropped = reply(451, "4.4.2", "") // the connection broke
)

func always(r *mail.Reply) func(mail.Address) *mail.Reply {
	return func(mail.Address) *mail.Reply { return r }
}

// times returns the time of each entry.
func times(all []string) (out []string) {
	for _, x := range all {
		at, _, _ := strings.Cut(x, " ")
		out = append(out, at)
	}
	return out
}

func to(n int) (all []mail.Address) {
	for i := range n {
		all = append(all, mail.Address(fmt.Sprintf("u%d@example.net", i)))
	}
	return all
}
