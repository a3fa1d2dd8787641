// Package parallel distributes many small pieces of work over the CPU cores.
// Each piece must store its result in a separate place.
package parallel

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// share is the number of pieces that a worker claims at once.
const share = 16

// Do calls do once for every i from 0 to n-1, from as many goroutines as there
// are cores, and returns when all calls have returned. After an error no new
// shares are started, and Do returns that error; a panic in do is treated as an
// error. A single share runs on the caller's goroutine.
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

// work is the state of one call to Do.
type work struct {
	n    int
	do   func(int) error
	next atomic.Int64

	once sync.Once
	err  error
}

func (w *work) run() {
	defer func() {
		// A bug must end only the session that triggers it.
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

// fail stores the first error and stops the other workers from claiming more
// work.
func (w *work) fail(err error) {
	w.once.Do(func() { w.err = err })
	w.next.Store(int64(w.n))
}
