package queue

import (
	"os"
	"runtime/debug"
)

// A backlog of this many messages makes the garbage collector rarer, and when it
// has shrunk to half it is as before. Its memory is large and hardly changes: to
// look through it as often as usual takes a tenth of the processor from the mail
// that moves.
const (
	backlog        = 20_000
	backlogPercent = 200 // of GOGC: the heap may be three times what is alive
)

// heed adapts the garbage collector to the number of messages. Whoever has set
// GOGC knows better. q.mu is held.
func (q *Queue) heed() {
	n := len(q.items)
	if large := n >= backlog; large == q.large || !large && n > backlog/2 {
		return
	}
	q.large = !q.large
	if os.Getenv("GOGC") != "" {
		return
	}
	percent := 100
	if q.large {
		percent = backlogPercent
	}
	debug.SetGCPercent(percent)
}
