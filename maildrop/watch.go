package maildrop

import (
	"context"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// pollEvery is how often watched folders are looked at where nothing tells us
// of changes, as on network file systems; settleEvery where a folder waits to
// settle.
const (
	pollEvery   = 10 * time.Second
	settleEvery = settleTime + 100*time.Millisecond
)

// watcher looks at folders that sessions wait for.
type watcher struct {
	log zerolog.Logger

	mu      sync.Mutex
	folders map[*Folder]int
	closed  bool
}

func newWatcher(log zerolog.Logger) *watcher {
	return &watcher{log: log, folders: map[*Folder]int{}}
}

func (w *watcher) add(f *Folder) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.folders[f]++
}

func (w *watcher) remove(f *Folder) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.folders[f]--; w.folders[f] == 0 {
		delete(w.folders, f)
	}
}

func (w *watcher) run(ctx context.Context) {
	tick := time.NewTicker(settleEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.poll()
		}
	}
}

func (w *watcher) poll() {
	w.mu.Lock()
	folders := make([]*Folder, 0, len(w.folders))
	for f := range w.folders {
		folders = append(folders, f)
	}
	w.mu.Unlock()
	for _, f := range folders {
		f.Sync()
	}
}

func (w *watcher) close() {}
