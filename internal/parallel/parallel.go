// Package parallel shares work on many small things among the processor's
// cores. What the things are, and what becomes of their results, is the
// caller's: do writes them where no other call of it does.
package parallel

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// share is how many things a worker takes at once.
const share = 16

// Do calls do for every number from 0 up to n, each once, from as many
// goroutines as there are cores, and returns when all calls have. After an
// error no new shares are begun, and that error is returned; a panic in do is
// one. Little work is done on the caller's goroutine alone.
func Do(n int, do func(i int) error) error {
	workers := min(runtime.GOMAXPROCS(0), (n+share-1)/share)
	w := work{n: n, do: do}
	if workers <= 1 {
		w.run()
		return w.err
	}
	var wg sync.WaitGroup
	for range workers {
		wg.Go(w.run)
	}
	wg.Wait()
	return w.err
}

// work is one call of Do.
type work struct {
	n    int
	do   func(int) error
	next atomic.Int64

	once sync.Once
	err  error
}

func (w *work) run() {
	defer func() {
		// A bug here must end its session and no other.
		if p := recover(); p != nil {
			w.fail(fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
		}
	}()
	for {
		from := int(w.next.Add(share)) - share
		if from >= w.n {
			return
		}
		for i := from; i < min(from+share, w.n); i++ {
			if err := w.do(i); err != nil {
				w.fail(err)
				return
			}
		}
	}
}

// fail keeps the first error and leaves nothing to take for the others.
func (w *work) fail(err error) {
	w.once.Do(func() { w.err = err })
	w.next.Store(int64(w.n))
}
