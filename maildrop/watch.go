package maildrop

import (
	"errors"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// pollEvery is the interval at which watched folders are checked for changes
// that cause no event, such as changes over a network file system, and for
// directories that had not settled. A check takes a few microseconds.
const pollEvery = settleTime + 100*time.Millisecond

// batchDelay is the time to wait for further changes after a change by another
// program.
const batchDelay = 20 * time.Millisecond

// watcher checks the folders that sessions are watching.
type watcher struct {
	log zerolog.Logger

	mu       sync.Mutex
	folders  map[*Folder]int
	notifier *notifier // nil if unavailable
	started  bool
	closed   bool
}

func newWatcher(log zerolog.Logger) *watcher {
	return &watcher{log: log, folders: map[*Folder]int{}}
}

// add starts watching a folder. The folder must stay open until remove is
// called.
func (w *watcher) add(f *Folder) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.folders[f]++; w.folders[f] > 1 || w.closed {
		return
	}
	if !w.started {
		w.started = true
		if w.notifier = newNotifier(); w.notifier != nil {
			go w.notifier.run(w.changed)
		}
	}
	if w.notifier != nil {
		w.notifier.add(f)
	}
}

func (w *watcher) remove(f *Folder) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.folders[f]--; w.folders[f] > 0 {
		return
	}
	delete(w.folders, f)
	if w.notifier != nil && !w.closed {
		w.notifier.remove(f)
	}
}

// changed schedules a Sync of a folder.
func (w *watcher) changed(f *Folder) {
	w.mu.Lock()
	watched := w.folders[f] > 0 && !w.closed
	w.mu.Unlock()
	if watched {
		w.look(f, batchDelay)
	}
}

// poll schedules a Sync of all watched folders.
func (w *watcher) poll() {
	w.mu.Lock()
	folders := make([]*Folder, 0, len(w.folders))
	for f := range w.folders {
		folders = append(folders, f)
	}
	w.mu.Unlock()
	for _, f := range folders {
		if !f.unchanged() {
			w.look(f, 0)
		}
	}
}

// look syncs a folder in the background. Concurrent calls share one Sync.
func (w *watcher) look(f *Folder, wait time.Duration) {
	if !f.waking.CompareAndSwap(false, true) {
		return
	}
	b := f.box
	b.mu.Lock()
	open := f.refs > 0
	if open {
		f.refs++ // keep it open until the Sync is done
	}
	b.mu.Unlock()
	if !open {
		f.waking.Store(false)
		return
	}
	go func() {
		defer f.Close()
		time.Sleep(wait)
		f.waking.Store(false)
		if _, err := f.Sync(); err != nil && !errors.Is(err, ErrGone) {
			b.store.log.Warn().Err(err).Msg("sync watched folder")
		}
	}()
}

func (w *watcher) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	if w.notifier != nil {
		w.notifier.close()
	}
}

// watchers holds the channels of sessions that are waiting for changes.
type watchers struct {
	mu    sync.Mutex
	chans map[chan struct{}]bool
}

func (w *watchers) add() chan struct{} {
	c := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.chans == nil {
		w.chans = map[chan struct{}]bool{}
	}
	w.chans[c] = true
	return c
}

func (w *watchers) remove(c chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.chans, c)
}

func (w *watchers) any() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.chans) > 0
}

func (w *watchers) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.chans {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}
