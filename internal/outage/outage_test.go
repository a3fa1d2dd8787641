package outage

import (
	"errors"
	"testing"
	"time"
)

func TestState(t *testing.T) {
	var s State
	start := time.Now()
	down := errors.New("connection refused")
	for i, step := range []struct {
		after   time.Duration
		err     error
		changed bool
		resting bool // right afterwards
		since   time.Time
	}{
		{0, nil, false, false, time.Time{}},
		{time.Second, down, true, true, start.Add(time.Second)},
		{time.Minute, down, false, true, start.Add(time.Second)},
		{2 * time.Minute, nil, true, false, time.Time{}},
	} {
		now := start.Add(step.after)
		if s.Set(step.err, now) != step.changed || (s.Resting(now) != nil) != step.resting || s.Resting(now.Add(rest)) != nil || s.Outage().Since != step.since {
			t.Errorf("step %d: %+v", i, s.Outage())
		}
	}
	if !s.Note(down, start) || s.Resting(start) != nil || s.Outage().Reason != down.Error() {
		t.Errorf("noted: %+v", s.Outage())
	}
	s.Set(errors.New("a\x1b[2Jb\r\n"), start)
	if got := s.Outage().Reason; got == "" || got == "a\x1b[2Jb\r\n" {
		t.Errorf("%q", got)
	}
}
