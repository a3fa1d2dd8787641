package schedule

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"hoplite/mail"
)

const day = 24 * time.Hour

func TestRetries(t *testing.T) {
	for _, tc := range []struct {
		name   string
		policy Policy
		edit   func(msg *Message)
		answer *mail.Reply
		tried  []string // the first few entries
		last   string   // the last entry
		n      int      // number of attempts
		owed   []string
	}{
		{
			name: "five days by default", answer: later,
			tried: []string{"0", "5m", "15m", "35m", "1h15m", "2h35m", "5h15m", "9h15m", "13h15m"},
			last:  "121h15m", n: 36,
			owed: []string{"5h15m delayed a@example.net", "121h15m failed a@example.net"},
		},
		{
			name: "a policy of its own", answer: later,
			policy: Policy{RetryMin: time.Minute, RetryMax: 3 * time.Minute, Lifetime: 10 * time.Minute, DelayWarning: 2 * time.Minute, Concurrency: 1},
			tried:  []string{"0", "1m", "3m", "6m", "9m", "12m"}, last: "12m", n: 6,
			owed: []string{"3m delayed a@example.net", "12m failed a@example.net"},
		},
		{
			name: "no delay notice", answer: later,
			policy: Policy{RetryMin: time.Hour, RetryMax: time.Hour, Lifetime: 2 * time.Hour},
			tried:  []string{"0", "1h", "2h"}, last: "2h", n: 3,
			owed: []string{"2h failed a@example.net"},
		},
		{
			name: "a longest wait below the shortest is raised", answer: later,
			policy: Policy{RetryMin: time.Hour, RetryMax: time.Minute, Lifetime: 2 * time.Hour},
			tried:  []string{"0", "1h", "2h"}, last: "2h", n: 3, owed: []string{"2h failed a@example.net"},
		},
		{
			name: "missing values have their defaults", answer: later, policy: Policy{Lifetime: time.Hour},
			tried: []string{"0", "5m", "10m"}, last: "1h", n: 13, owed: []string{"1h failed a@example.net"},
		},
		{
			name: "refused permanently", answer: no, tried: []string{"0"}, last: "0", n: 1,
			owed: []string{"0 failed a@example.net"},
		},
		{
			name: "refused permanently, with NOTIFY=NEVER", answer: no, tried: []string{"0"}, last: "0", n: 1,
			edit: func(msg *Message) { msg.Envelope.Rcpts[0].Notify = mail.NotifyNever },
		},
		{
			name: "no delay notice without NOTIFY=DELAY", answer: later,
			policy: Policy{RetryMin: time.Hour, RetryMax: time.Hour, Lifetime: 2 * time.Hour, DelayWarning: time.Hour},
			edit:   func(msg *Message) { msg.Envelope.Rcpts[0].Notify = mail.NotifyFailure },
			tried:  []string{"0", "1h", "2h"}, last: "2h", n: 3, owed: []string{"2h failed a@example.net"},
		},
		{
			name: "delivered, with NOTIFY=SUCCESS", tried: []string{"0"}, last: "0", n: 1,
			edit: func(msg *Message) { msg.Envelope.Rcpts[0].Notify = mail.NotifySuccess },
			owed: []string{"0 delivered a@example.net"},
		},
		{
			name: "DELIVERBY with return", answer: later, tried: []string{"0", "5m", "15m", "35m"}, last: "35m", n: 4,
			edit: func(msg *Message) {
				msg.Envelope.DeliverBy = &mail.DeliverBy{At: epoch.Add(20 * time.Minute), Return: true}
			},
			owed: []string{"35m failed a@example.net"},
		},
		{
			name: "DELIVERBY with notify", answer: later, tried: []string{"0", "5m", "15m", "35m", "1h15m"}, last: "121h15m", n: 36,
			edit: func(msg *Message) { msg.Envelope.DeliverBy = &mail.DeliverBy{At: epoch.Add(20 * time.Minute)} },
			owed: []string{"35m delayed a@example.net", "121h15m failed a@example.net"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newSim(t)
			s.m.AddUpstream(Upstream{Name: "out", Policy: tc.policy}, s.now)
			s.answer = always(tc.answer)
			msg := NewMessage("m", "out", mail.Envelope{From: "ann@example.org", Rcpts: []mail.Rcpt{{
				To: "a@example.net", Notify: mail.NotifyFailure | mail.NotifyDelay,
			}}}, s.now)
			if tc.edit != nil {
				tc.edit(msg)
			}
			s.m.Admit(msg, s.now)
			s.settle()
			s.pass(6 * day)
			got := times(s.tried)
			if len(got) != tc.n || !slices.Equal(got[:min(len(got), len(tc.tried))], tc.tried) || got[len(got)-1] != tc.last {
				t.Errorf("%d attempts at %q", len(got), got)
			}
			want(t, "owed", s.owed, tc.owed...)
			if s.m.Len() != 0 || len(s.m.dispatcher.alarms) != 0 {
				t.Errorf("%d messages and %d alarms are left", s.m.Len(), len(s.m.dispatcher.alarms))
			}
		})
	}
}

// Recipients are independent of each other.
func TestRecipients(t *testing.T) {
	s := newSim(t)
	n := 0
	s.answer = func(a mail.Address) *mail.Reply {
		switch a.Local() {
		case "no":
			return no
		case "later":
			if n++; n < 3 {
				return later
			}
		}
		return nil
	}
	s.admit("m", "out", "yes@example.net", "no@example.net", "later@example.net")
	s.pass(day)
	want(t, "tried", s.tried, "0 yes@example.net", "0 no@example.net", "0 later@example.net", "5m later@example.net", "15m later@example.net")
	want(t, "owed", s.owed, "0 failed no@example.net")
	want(t, "done", s.done, "15m m")
}

func TestJobs(t *testing.T) {
	sender := func(from mail.Address, r mail.Rcpt) mail.Address {
		if len(r.Via) > 0 {
			return "srs@example.org"
		}
		return from
	}
	for _, tc := range []struct {
		name     string
		upstream string
		rcpts    []mail.Rcpt
		want     []string // the recipients of each job
	}{
		{"one destination", "out", []mail.Rcpt{{To: "a@x.example"}, {To: "b@y.example"}}, []string{"a@x.example b@y.example"}},
		{"by domain", "mx", []mail.Rcpt{{To: "a@x.example"}, {To: "b@y.example"}, {To: "c@x.example"}}, []string{"a@x.example c@x.example", "b@y.example"}},
		{"one domain in two spellings", "mx", []mail.Rcpt{{To: "a@bücher.example"}, {To: "b@xn--bcher-kva.example"}}, []string{"a@bücher.example b@xn--bcher-kva.example"}},
		{"by reverse path", "out", []mail.Rcpt{{To: "a@x.example"}, {To: "b@x.example", Via: []string{"list"}}}, []string{"a@x.example", "b@x.example"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := New(Options{Sender: sender})
			m.AddUpstream(Upstream{Name: "out"}, epoch)
			m.AddUpstream(Upstream{Name: "mx", PerDomain: true}, epoch)
			m.Start(epoch)
			m.Admit(NewMessage("m", tc.upstream, mail.Envelope{From: "ann@example.org", Rcpts: tc.rcpts}, epoch), epoch)
			var got []string
			for _, j := range m.Take().Start {
				var to []string
				for _, i := range j.Rcpts {
					to = append(to, string(tc.rcpts[i].To))
				}
				got = append(got, strings.Join(to, " "))
			}
			want(t, "jobs", got, tc.want...)
		})
	}
	t.Run("a transaction takes a hundred recipients", func(t *testing.T) {
		s := newSim(t)
		s.slow = true
		s.admit("m", "out", to(250)...)
		if len(s.pending) != 3 || len(s.pending[0].Rcpts) != maxPerJob || len(s.pending[2].Rcpts) != 50 {
			t.Errorf("%d jobs", len(s.pending))
		}
	})
}

func TestUnreachable(t *testing.T) {
	for _, tc := range []struct {
		reply                  *mail.Reply
		unreached, spoke, cut_ bool
	}{
		{reply(250, "2.0.0", "mx"), false, true, false},
		{no, false, true, false},
		{later, false, true, false},
		{hangup, true, false, false},
		{reply(421, "", ""), true, false, false},
		{down, true, false, false},
		{reply(451, "4.3.2", ""), true, false, false},
		{reply(451, "4.4.3", ""), true, false, false},
		{reply(451, "4.4.1", "mx"), false, true, false}, // a reply from the server itself
		{dropped, false, false, true},
		{reply(451, "4.3.0", ""), false, false, true},
		{reply(554, "5.4.1", ""), false, true, false}, // permanent, so it concerns this message only
	} {
		var res Result
		res.Weigh(tc.reply)
		if (res.Unreached != nil) != tc.unreached || res.Spoke != tc.spoke || res.Cut != tc.cut_ {
			t.Errorf("%v: %+v", tc.reply, res)
		}
	}
}

func TestKeepReply(t *testing.T) {
	for _, tc := range []struct {
		name string
		out  mail.Outcome
		want mail.Reply
	}{
		{"the cause is for the log", mail.Outcome{Reply: mail.Reply{Code: 451, Text: "x", Cause: errors.New("secret")}}, mail.Reply{Code: 451, Text: "x"}},
		{"the host of the outcome", mail.Outcome{Host: "mx", Reply: mail.Reply{Code: 250}}, mail.Reply{Code: 250, Host: "mx"}},
		{"the host of the reply", mail.Outcome{Host: "mx", Reply: mail.Reply{Code: 250, Host: "other"}}, mail.Reply{Code: 250, Host: "other"}},
		{"a bounded text", mail.Outcome{Reply: mail.Reply{Code: 550, Text: strings.Repeat("x", 996) + "üüü"}}, mail.Reply{Code: 550, Text: strings.Repeat("x", 996) + "..."}},
	} {
		if got := KeepReply(&tc.out); *got != tc.want {
			t.Errorf("%s: %+v", tc.name, got)
		}
	}
}

func TestPriority(t *testing.T) {
	s := newSim(t)
	s.m.Limit(Limits{Workers: 1})
	s.slow = true
	s.admit("first", "out", "first@example.net") // occupies the only worker
	for _, x := range []struct {
		id       mail.Address
		priority int
	}{{"low", -3}, {"normal", 0}, {"high", 3}, {"normal2", 0}, {"high2", 9}} {
		msg := NewMessage(string(x.id), "out", mail.Envelope{Priority: x.priority, Rcpts: []mail.Rcpt{{To: x.id + "@example.net"}}}, s.now)
		s.m.Admit(msg, s.now)
	}
	s.settle()
	s.slow = false
	s.finishAll()
	want(t, "order", s.tried, "0 first@example.net", "0 high@example.net", "0 high2@example.net", "0 normal@example.net", "0 normal2@example.net", "0 low@example.net")
}

func TestConcurrency(t *testing.T) {
	t.Run("grows with each round of answers, up to its limit", func(t *testing.T) {
		s := newSim(t)
		s.m.AddUpstream(Upstream{Name: "out", Policy: Policy{Concurrency: 9}}, s.now)
		s.slow = true
		for i := range 300 {
			s.admit(string(rune('a'+i%26))+strings.Repeat("x", i/26), "out", "a@example.net")
		}
		if len(s.pending) != startLimit {
			t.Errorf("starts with %d", len(s.pending))
		}
		most := 0
		for len(s.pending) > 0 {
			most = max(most, len(s.pending))
			s.finishAll()
		}
		if most != 9 || s.m.Len() != 0 {
			t.Errorf("%d at once at most, %d left", most, s.m.Len())
		}
	})
	t.Run("halves with each failure to connect", func(t *testing.T) {
		s := newSim(t)
		s.slow = true
		for _, id := range []string{"a", "b", "c", "d", "e", "f"} {
			s.admit(id, "out", "a@example.net")
		}
		s.answer = always(down)
		s.finish(s.pending[0])
		if d := s.m.dispatcher.destinations["out"]; d.limit != startLimit/2.0 {
			t.Errorf("limit is %v", d.limit)
		}
		s.finish(s.pending[1])
		if d := s.m.dispatcher.destinations["out"]; d.limit != startLimit/4.0 {
			t.Errorf("limit is %v", d.limit)
		}
	})
	t.Run("a lower limit of a reload counts at once", func(t *testing.T) {
		s := newSim(t)
		s.m.AddUpstream(Upstream{Name: "out", Policy: Policy{Concurrency: 2}}, s.now)
		s.slow = true
		for _, id := range []string{"a", "b", "c"} {
			s.admit(id, "out", "a@example.net")
		}
		if len(s.pending) != 2 {
			t.Errorf("%d at once", len(s.pending))
		}
		s.m.AddUpstream(Upstream{Name: "out", Policy: Policy{Concurrency: 1}}, s.now)
		s.finish(s.pending[0])
		if e := s.m.Take(); len(e.Start) != 0 {
			t.Error("started beyond the new limit")
		}
	})
	t.Run("destinations take turns when workers are few", func(t *testing.T) {
		s := newSim(t)
		s.m.Limit(Limits{Workers: 1})
		s.slow = true
		for _, id := range []string{"a", "b", "c", "d"} {
			s.admit(id, "mx", "a@big.example")
		}
		s.admit("e", "mx", "a@small.example")
		s.slow = false
		s.finishAll()
		want(t, "order", s.tried, "0 a@big.example", "0 a@big.example", "0 a@small.example", "0 a@big.example", "0 a@big.example")
	})
	t.Run("more workers of a reload start at once", func(t *testing.T) {
		s := newSim(t)
		s.m.Limit(Limits{Workers: 1})
		s.slow = true
		s.admit("a", "mx", "a@x.example")
		s.admit("b", "mx", "a@y.example")
		s.m.Limit(Limits{Workers: 2})
		s.settle()
		if len(s.pending) != 2 {
			t.Errorf("%d at once", len(s.pending))
		}
	})
}

// Jobs in line that are no longer ready must not prevent a probe of the
// destination.
func TestLine(t *testing.T) {
	d := &destination{up: &Upstream{}, limit: 1}
	var all []*Job
	for range 200 {
		j := &Job{Message: &Message{}, state: jobReady}
		all = append(all, j)
		d.push(j)
	}
	for i, j := range all {
		if i%2 == 0 {
			j.state = jobWaiting
		}
	}
	n := 0
	for d.wants() {
		if j := d.pop(); j != all[2*n+1] {
			t.Fatalf("job %d is the wrong one", n)
		}
		n++
	}
	if n != 100 || d.hasReady() || len(d.lines[1].all) != 0 {
		t.Errorf("%d jobs; left %d", n, len(d.lines[1].all))
	}
}

func TestDoubledAndVary(t *testing.T) {
	for _, tc := range []struct {
		n    int
		want time.Duration
	}{{0, time.Minute}, {1, time.Minute}, {2, 2 * time.Minute}, {5, 16 * time.Minute}, {7, time.Hour}, {1000, time.Hour}} {
		if got := Doubled(time.Minute, tc.n, time.Hour); got != tc.want {
			t.Errorf("after %d: %v", tc.n, got)
		}
	}
	for range 1000 {
		if d := vary(time.Hour); d < 50*time.Minute || d > 70*time.Minute {
			t.Fatalf("varied to %v", d)
		}
	}
}

// Times stored while the clock was wrong do not delay anything, and times read
// from disk are unaffected by later changes of the wall clock.
func TestClock(t *testing.T) {
	const years = 10 * 365 * day
	load := func(s *sim, edit func(msg *Message)) {
		msg := NewMessage("m", "out", mail.Envelope{From: "ann@example.org", Rcpts: []mail.Rcpt{{To: "a@example.net"}}}, s.now.Add(-time.Hour))
		edit(msg)
		msg.SetClock(s.now)
		s.m.Admit(msg, s.now)
		s.settle()
	}
	t.Run("the next attempt in ten years", func(t *testing.T) {
		s := newSim(t)
		load(s, func(msg *Message) { msg.Rcpts[0] = Rcpt{Attempts: 3, Last: later, Next: s.now.Add(years)} })
		s.pass(5 * time.Hour)
		want(t, "tried", s.tried, "4h40m a@example.net") // max_retry plus a sixth
	})
	t.Run("a wait within the policy is kept", func(t *testing.T) {
		s := newSim(t)
		load(s, func(msg *Message) { msg.Rcpts[0] = Rcpt{Attempts: 3, Last: later, Next: s.now.Add(3 * time.Hour)} })
		s.pass(5 * time.Hour)
		want(t, "tried", s.tried, "3h a@example.net")
	})
	t.Run("arrived in ten years", func(t *testing.T) {
		s := newSim(t)
		s.answer = always(later)
		load(s, func(msg *Message) { msg.At = s.now.Add(years); msg.Rcpts[0].Tried = msg.At })
		s.pass(6 * day)
		if s.m.Len() != 0 {
			t.Error("it is still tried after six days")
		}
	})
	t.Run("held in ten years", func(t *testing.T) {
		s := newSim(t)
		load(s, func(msg *Message) { msg.Held, msg.HeldAt = "why", s.now.Add(years) })
		s.pass(31 * day)
		want(t, "notes", s.notes, "720h dropped m")
	})
	t.Run("monotonic", func(t *testing.T) {
		now := time.Now()
		msg := NewMessage("m", "out", mail.Envelope{DeliverBy: &mail.DeliverBy{At: now.Add(time.Hour).Round(0)}, Rcpts: make([]mail.Rcpt, 1)}, now.Add(-day).Round(0))
		msg.Rcpts[0] = Rcpt{Tried: now.Add(-time.Hour).Round(0), Next: now.Add(time.Hour).Round(0)}
		msg.SetClock(now)
		for name, is := range map[string]struct{ got, want time.Time }{
			"at": {msg.At, now.Add(-day)}, "tried": {msg.Rcpts[0].Tried, now.Add(-time.Hour)}, "next": {msg.Rcpts[0].Next, now.Add(time.Hour)},
			"deliver by": {msg.Envelope.DeliverBy.At, now.Add(time.Hour)},
		} {
			if !is.got.Equal(is.want) || !strings.Contains(is.got.String(), "m=") {
				t.Errorf("%s is %s, want %s", name, is.got, is.want)
			}
		}
		if !msg.HeldAt.IsZero() {
			t.Errorf("held at %s", msg.HeldAt)
		}
	})
}
