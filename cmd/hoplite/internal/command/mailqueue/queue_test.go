package mailqueue

import (
	"strings"
	"testing"
	"time"

	"hoplite/relay/queue"
)

// TestFilter checks which messages the flags select. A flag that is lost makes
// queue delete remove other messages than those named.
func TestFilter(t *testing.T) {
	for _, c := range []struct {
		name string
		pick func(*queueCmd)
		want queue.Filter
		bad  string
	}{
		{"nothing", func(*queueCmd) {}, queue.Filter{}, ""},
		{"a domain", func(c *queueCmd) { c.pick.to = "example.net" }, queue.Filter{To: "example.net"}, ""},
		{"the null sender", func(c *queueCmd) { c.pick.from = "<>" }, queue.Filter{From: "<>"}, ""},
		{"days", func(c *queueCmd) { c.pick.older = "2d" }, queue.Filter{Older: 48 * time.Hour}, ""},
		{"a span", func(c *queueCmd) { c.pick.older, c.pick.younger = "30m", "2h" }, queue.Filter{Older: 30 * time.Minute, Younger: 2 * time.Hour}, ""},
		{"a span without length", func(c *queueCmd) { c.pick.older, c.pick.younger = "1h", "1h" }, queue.Filter{Older: time.Hour, Younger: time.Hour}, ""},
		{"everything", func(c *queueCmd) {
			c.pick.to, c.pick.from, c.pick.upstream, c.pick.state = "a@b.example", "c.example", "up", "held"
		}, queue.Filter{To: "a@b.example", From: "c.example", Upstream: "up", State: "held"}, ""},
		{"a state that does not exist", func(c *queueCmd) { c.pick.state = "frozen" }, queue.Filter{}, `unknown state "frozen": use active, deferred or held`},
		{"an age without a unit", func(c *queueCmd) { c.pick.older = "30" }, queue.Filter{}, "--older: "},
		{"a youth without a unit", func(c *queueCmd) { c.pick.younger = "soon" }, queue.Filter{}, "--younger: "},
		{"half an address", func(c *queueCmd) { c.pick.to = "ann@" }, queue.Filter{}, "--to: "},
		{"a sender that is none", func(c *queueCmd) { c.pick.from = "a b" }, queue.Filter{}, "--from: "},
	} {
		cmd := &queueCmd{}
		c.pick(cmd)
		f, err := cmd.filter(nil)
		if c.bad != "" {
			if err == nil || !strings.Contains(err.Error(), c.bad) {
				t.Errorf("%s: %v, want %s", c.name, err, c.bad)
			}
			continue
		}
		if err != nil || f.To != c.want.To || f.From != c.want.From || f.Upstream != c.want.Upstream || f.State != c.want.State || f.Older != c.want.Older || f.Younger != c.want.Younger {
			t.Errorf("%s: %+v, %v", c.name, f, err)
		}
	}
}

// TestSome checks that a command that changes messages names them.
func TestSome(t *testing.T) {
	for name, c := range map[string]struct {
		cmd  queueCmd
		ids  []string
		good bool
	}{
		"nothing":         {queueCmd{}, nil, false},
		"an id":           {queueCmd{}, []string{"01m8"}, true},
		"all, explicitly": {queueCmd{all: true}, nil, true},
	} {
		if _, err := c.cmd.some(c.ids); (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := missing([]string{"a", "b"}, 2); err != nil {
		t.Error(err)
	}
	if err := missing([]string{"a", "b", "c"}, 1); err == nil || err.Error() != "2 of 3 ids are not in the queue" {
		t.Errorf("two ids that are missing: %v", err)
	}
}

// TestTotals checks the line that sums the others.
func TestTotals(t *testing.T) {
	early, late := time.Unix(1000, 0), time.Unix(2000, 0)
	got := sum([]queue.Total{
		{Destination: "a", Messages: 2, Held: 1, Ages: []int{1, 1}, Oldest: late},
		{Destination: "b", Messages: 3, Ages: []int{0, 3}, Oldest: early, Next: late},
		{Destination: "c", Messages: 1, Ages: []int{1, 0}, Oldest: late, Next: early},
	})
	if got.Messages != 6 || got.Held != 1 || got.Ages[0] != 2 || got.Ages[1] != 4 || !got.Oldest.Equal(early) || !got.Next.Equal(early) {
		t.Errorf("%+v", got)
	}
}

// TestTimes checks how ages and the next attempt are printed.
func TestTimes(t *testing.T) {
	for d, want := range map[time.Duration]string{
		90 * time.Second: "1m30s", 61*time.Minute + 20*time.Second: "1h1m", 49*time.Hour + 10*time.Minute: "49h", 72*time.Hour + 20*time.Minute: "3d",
	} {
		if got := span(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
	now := time.Unix(5000, 0)
	for at, want := range map[time.Time]string{{}: "-", now: "now", now.Add(-time.Hour): "now", now.Add(5 * time.Minute): "in 5m"} {
		if got := until(at, now); got != want {
			t.Errorf("%v: %s, want %s", at, got, want)
		}
	}
}
