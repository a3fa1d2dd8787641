package queueadmin

import (
	"runtime/debug"
	"testing"
)

// The collector's pace follows the backlog, without switching back and forth
// near the limit.
func TestGCPace(t *testing.T) {
	t.Setenv("GOGC", "")
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	percent := func() int {
		p := debug.SetGCPercent(-1)
		debug.SetGCPercent(p)
		return p
	}
	var p gcPace
	for _, step := range []struct{ messages, percent int }{
		{0, 100}, {backlog - 1, 100}, {backlog, backlogPercent}, {backlog - 1, backlogPercent},
		{backlog/2 + 1, backlogPercent}, {backlog / 2, 100}, {backlog - 1, 100}, {backlog + 1, backlogPercent},
	} {
		if p.resized(step.messages); percent() != step.percent {
			t.Errorf("with %d messages: GOGC is %d, want %d", step.messages, percent(), step.percent)
		}
	}
	done := p.load()
	if p.resized(0); percent() != loadPercent {
		t.Errorf("while loading: GOGC is %d", percent())
	}
	p.resized(backlog)
	if done(); percent() != backlogPercent {
		t.Errorf("after loading: GOGC is %d", percent())
	}
	t.Setenv("GOGC", "50")
	if p.resized(0); percent() != backlogPercent {
		t.Error("GOGC of the environment was overridden")
	}
}
