package schedule

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"hoplite/mail"
)

var unreachable = &mail.Reply{Code: 451, Enhanced: "4.4.1", Text: "connection refused"}

// pingable is a sim whose upstreams can be pinged and do not answer.
func pingable(t *testing.T) *sim {
	s := newSim(t)
	s.m.AddUpstream(Upstream{Name: "out", Pings: true}, s.now)
	s.m.AddUpstream(Upstream{Name: "mx", PerDomain: true, Pings: true}, s.now)
	s.answer = always(unreachable)
	return s
}

// TestPingIntervals checks how often a destination is pinged while it does not
// answer.
func TestPingIntervals(t *testing.T) {
	for _, tc := range []struct {
		upstream, dest string
		after          time.Duration
		first          []string // pings
		pause          time.Duration
	}{
		{"out", "out", 12 * time.Hour, []string{"5s", "10s", "15s"}, pingMin},
		{"mx", "mx/example.net", time.Minute, []string{"5s", "10s", "15s"}, pingMin},
		{"mx", "mx/example.net", 5 * time.Minute, []string{"5s", "10s", "15s"}, 15 * time.Second},
		{"mx", "mx/example.net", 12 * time.Hour, []string{"5s", "10s", "15s"}, pingSlow},
	} {
		t.Run(tc.dest+" after "+short(tc.after), func(t *testing.T) {
			s := pingable(t)
			s.admit("m", tc.upstream, "a@example.net")
			s.pass(tc.after)
			if got := times(s.pings); !slices.Equal(got[:3], tc.first) {
				t.Errorf("pinged at %q", got[:3])
			}
			if last := s.pings[len(s.pings)-1]; !strings.HasSuffix(last, " "+tc.dest) {
				t.Errorf("pinged %q", last)
			}
			d := s.m.dispatcher.destinations[tc.dest]
			if wait := d.ping.next.Sub(s.now); wait <= 0 || wait > tc.pause || d.ping.wait(s.now) != min(tc.pause, max(pingMin, s.now.Sub(d.ping.since)/20)) {
				t.Errorf("next ping in %s, pause %s", wait, d.ping.wait(s.now))
			}
		})
	}
}

// Pings continue only while mail is waiting for a destination that does not
// answer.
func TestPingsEnd(t *testing.T) {
	for name, end := range map[string]func(s *sim){
		"the mail leaves": func(s *sim) { s.answer, s.answers = nil, func(string) bool { return true } },
		"the mail is deleted": func(s *sim) {
			s.order("delete", "", s.m.Message("m"))
		},
		"a retry reaches the destination":    func(s *sim) { s.answer = nil; s.order("retry", "", s.m.Message("m")) },
		"the upstream can't be pinged now":   func(s *sim) { s.m.AddUpstream(Upstream{Name: "mx", PerDomain: true}, s.now) },
		"the upstream is removed":            func(s *sim) { s.m.RemoveUpstream("mx", s.now) },
		"the machine stops":                  func(s *sim) { s.m.Stop() },
		"an attempt reaches the destination": func(s *sim) { s.answer = always(later); s.order("retry", "", s.m.Message("m")) },
	} {
		t.Run(name, func(t *testing.T) {
			s := pingable(t)
			s.admit("m", "mx", "a@example.net")
			s.pass(time.Minute)
			end(s)
			s.settle()
			s.pass(pingSlow)
			s.pings = nil
			s.pass(time.Hour)
			if len(s.pings) > 0 {
				t.Errorf("pinged at %q", s.pings)
			}
		})
	}
}

// A destination that answers pings but accepts no mail is pinged at increasing
// intervals.
func TestPingWithoutSuccess(t *testing.T) {
	s := pingable(t)
	s.answers = func(string) bool { return true }
	s.admit("m", "out", "a@example.net")
	s.pass(3 * time.Hour)
	want := []string{"5s", "15s", "35s", "1m15s", "2m35s", "5m15s", "10m35s", "21m15s", "36m15s", "51m15s"}
	if got := times(s.pings); !slices.Equal(got[:len(want)], want) {
		t.Errorf("pinged at %q", got)
	}
}

// If very many domains do not answer, only some of them are pinged. When those
// answer, others are pinged instead.
func TestManyDomainsArePinged(t *testing.T) {
	s := pingable(t)
	for i := range 3 * maxPinged {
		s.admit(fmt.Sprint("m", i), "mx", mail.Address(fmt.Sprintf("a@d%d.example", i)))
	}
	s.pass(pingMin)
	if len(s.pings) != maxPinged {
		t.Errorf("%d domains are pinged", len(s.pings))
	}
	s.answer, s.answers = nil, func(string) bool { return true }
	s.pass(2 * DefaultPolicy.RetryMin)
	if n := s.m.Len(); n != 0 {
		t.Errorf("%d messages wait", n)
	}
	if s.m.dispatcher.pinged != 0 {
		t.Errorf("%d domains are pinged without need", s.m.dispatcher.pinged)
	}
}
