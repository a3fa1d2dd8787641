package queue

import (
	"fmt"
	"runtime/debug"
	"testing"
)

// The collector changes its pace with the backlog, and not back and forth at
// its edge.
func TestHeed(t *testing.T) {
	t.Setenv("GOGC", "")
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	percent := func() int {
		p := debug.SetGCPercent(-1)
		debug.SetGCPercent(p)
		return p
	}
	q := &Queue{items: map[string]*item{}}
	fill := func(n int) {
		for i := range backlog + 1 {
			if id := fmt.Sprint(i); i < n {
				q.items[id] = nil
			} else {
				delete(q.items, id)
			}
		}
		q.heed()
	}
	for _, step := range []struct{ items, percent int }{
		{0, 100}, {backlog - 1, 100}, {backlog, backlogPercent}, {backlog - 1, backlogPercent},
		{backlog/2 + 1, backlogPercent}, {backlog / 2, 100}, {backlog - 1, 100}, {backlog + 1, backlogPercent},
	} {
		if fill(step.items); percent() != step.percent {
			t.Errorf("with %d messages: GOGC is %d, want %d", step.items, percent(), step.percent)
		}
	}
	t.Setenv("GOGC", "50")
	if fill(0); percent() != backlogPercent {
		t.Error("somebody has set GOGC, and was not heeded")
	}
}
