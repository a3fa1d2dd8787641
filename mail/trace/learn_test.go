package trace

import (
	"path/filepath"
	"testing"
	"time"
)

func TestClocksLearn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clocks.json")
	c := LoadClocks(path)
	now := time.Date(2026, 5, 12, 8, 0, 0, 0, time.UTC)
	see := func(host string, fast time.Duration, delays ...time.Duration) {
		for i, d := range delays {
			at := now.Add(time.Duration(i) * 7 * time.Hour)
			c.Observe(host, at.Add(fast).Add(-d), at)
		}
	}
	s := time.Second
	see("right.example", 0, 1*s, 2*s, 3600*s, 1*s, 2*s)
	see("fast.example", 300*s, 2*s, 9*s, 1*s, 1*s, 60*s, 2*s)
	see("new.example", 300*s, 1*s, 1*s)
	see("slow-or-queued.example", -600*s, 1*s, 2*s, 1*s, 2*s, 1*s, 2*s)
	c.Observe("wild.example", now, now)
	see("wild.example", 0, 1*s, -400*s, 1*s, 2*s, -300*s, 1*s, 900*s)
	if err := c.Save(); err != nil {
		t.Fatal(err)
	}
	for _, from := range []*Clocks{c, LoadClocks(path)} {
		for _, want := range []struct {
			host string
			fast time.Duration
			ok   bool
		}{
			{"right.example", 0, true}, {"FAST.example.", 299 * s, true}, {"new.example", 0, false},
			{"slow-or-queued.example", 0, false}, {"wild.example", 0, false}, {"never.example", 0, false},
		} {
			fast, ok := from.Known(want.host)
			if ok != want.ok || abs(fast-want.fast) > 2*s {
				t.Errorf("%s: %v %v, want %v %v", want.host, fast, ok, want.fast, want.ok)
			}
		}
	}
}

func TestLearnFromHeader(t *testing.T) {
	c := LoadClocks(filepath.Join(t.TempDir(), "none"))
	now := time.Date(2026, 5, 12, 8, 30, 0, 0, time.UTC)
	head := []byte("Received: from x by out.a.example with SMTP; Tue, 12 May 2026 08:35:00 +0000\r\nReceived: by other.example; Tue, 12 May 2026 07:00:00 +0000\r\n\r\n")
	for range enoughMessages {
		c.Learn(head, now, "out.a.example")
		c.Learn(head, now, "other.example") // the line does not contain this name
	}
	if fast, ok := c.Known("out.a.example"); !ok || fast != 300*time.Second {
		t.Errorf("learned %v %v", fast, ok)
	}
	if c.seen.Len() != 1 {
		t.Errorf("learned of %v", c.seen.Keys())
	}
}
