package queueadmin

import (
	"os"
	"runtime/debug"
	"sync"
)

// The garbage collector runs less often while the queue holds at least this
// many messages, until it has shrunk to half of that. Scanning their memory at
// the usual pace, although it is large and hardly changes, would use a tenth of
// the CPU time.
const (
	backlog        = 20_000
	backlogPercent = 200 // GOGC value; the heap may grow to three times the live memory
	loadPercent    = 400 // GOGC value while the queue is being loaded and the heap only grows
)

// gcPace adapts the garbage collector to the number of queued messages, unless
// GOGC is set.
type gcPace struct {
	mu      sync.Mutex
	large   bool
	loading bool
}

// load slows down the collector until done is called, when the queue has been
// loaded.
func (p *gcPace) load() (done func()) {
	set := func(loading bool) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.loading = loading
		p.apply()
	}
	set(true)
	return func() { set(false) }
}

// resized is called with the number of queued messages; it fits
// queue.Options.Resized.
func (p *gcPace) resized(messages int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if large := messages >= backlog; large == p.large || !large && messages > backlog/2 {
		return
	}
	p.large = !p.large
	p.apply()
}

func (p *gcPace) apply() {
	percent := 100
	switch {
	case os.Getenv("GOGC") != "":
		return
	case p.loading:
		percent = loadPercent
	case p.large:
		percent = backlogPercent
	}
	debug.SetGCPercent(percent)
}
