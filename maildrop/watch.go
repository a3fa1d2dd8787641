package maildrop

import (
	"errors"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// pollEvery is how often watched folders are looked at, for what nothing tells
// us of: changes over a network file system, directories that had to settle.
// A look costs a few microseconds.
const pollEvery = settleTime + 100*time.Millisecond

// gather is how long we wait after a change by others for more of them.
const gather = 20 * time.Millisecond

// watcher looks at folders that sessions wait for.
type watcher struct {
	log zerolog.Logger

	mu       sync.Mutex
	folders  map[*Folder]int
	notifier *notifier // nil without
	started  bool
	closed   bool
}

func newWatcher(log zerolog.Logger) *watcher {
	return &watcher{log: log, folders: map[*Folder]int{}}
}

// add begins to watch a folder. The folder must stay open until remove.
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

// changed has a folder looked at soon.
func (w *watcher) changed(f *Folder) {
	w.mu.Lock()
	watched := w.folders[f] > 0 && !w.closed
	w.mu.Unlock()
	if watched {
		w.look(f, gather)
	}
}

// poll has all watched folders looked at.
func (w *watcher) poll() {
	w.mu.Lock()
	folders := make([]*Folder, 0, len(w.folders))
	for f := range w.folders {
		folders = append(folders, f)
	}
	w.mu.Unlock()
	for _, f := range folders {
		w.look(f, 0)
	}
}

// look has a folder looked at in the background, once for all who ask
// meanwhile.
func (w *watcher) look(f *Folder, wait time.Duration) {
	if !f.waking.CompareAndSwap(false, true) {
		return
	}
	b := f.box
	b.mu.Lock()
	open := f.refs > 0
	if open {
		f.refs++ // it stays open until the look is done
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
			b.store.log.Warn().Err(err).Msg("changes not announced")
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

// watchers are the channels of those who wait for changes.
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
