package disk

import (
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"hoplite/relay/queue/journal"
)

const (
	spareName  = "spare"
	unfinished = ".new"  // suffix of a file that is being created
	spareStep  = 1 << 20 // the amount written and synced at once
	spareSpace = 16      // free space required on the disk, in segments
)

// spare is the file for a future segment. It is as long as a full segment, and
// contains zeros or a dead segment. Its blocks are already allocated, so a sync
// does not have to write metadata along with the data.
type spare struct {
	folder  *folder
	size    int64 // size of a full segment
	enabled bool  // create one filled with zeros if there is none
	log     zerolog.Logger

	mu    sync.Mutex
	ready bool
}

func (p *spare) path() string { return filepath.Join(p.folder.logs(), spareName) }

// find looks for a spare left by an earlier run and removes unfinished files.
func (p *spare) find() {
	half, _ := filepath.Glob(filepath.Join(p.folder.logs(), "*"+unfinished))
	for _, path := range half {
		os.Remove(path)
	}
	_, err := os.Stat(p.path())
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ready = err == nil
}

// missing reports whether there is no spare, so that a file could become the
// spare.
func (p *spare) missing() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.ready
}

// take renames the spare to path, so that nothing else can use it. It returns
// "" if there is no spare.
func (p *spare) take(path string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ready || os.Rename(p.path(), path) != nil {
		path = ""
	}
	p.ready = false
	return path
}

// put makes the file at path the spare, or removes the file if there is already
// a spare.
func (p *spare) put(path string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ready {
		return os.Remove(path)
	}
	err := os.Rename(path, p.path())
	p.ready = err == nil
	return err
}

// reuse makes a dead segment's file the spare, unless it is too short to be
// useful.
func (p *spare) reuse(path string) error {
	info, err := os.Stat(path)
	if err != nil || info.Size() < p.size/2 {
		return os.Remove(path)
	}
	return p.put(path)
}

// prepare creates a spare filled with zeros if there is none and the disk has
// space. If quit is not nil, prepare leaves disk time for other work and
// returns early when quit is closed.
func (p *spare) prepare(quit <-chan struct{}) {
	if !p.enabled || !p.missing() || freeSpace(p.folder.path) < spareSpace*p.size {
		return
	}
	path := p.path() + unfinished
	err := p.fill(path, quit)
	if err == nil {
		err = p.put(path)
	}
	if err != nil {
		os.Remove(path)
		p.log.Debug().Err(err).Msg("no spare segment")
	}
}

// fill writes zeros. If quit is not nil, it pauses after each piece for as long
// as the write took.
func (p *spare) fill(path string, quit <-chan struct{}) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	zeros := make([]byte, min(spareStep, p.size))
	for written := int64(0); written < p.size; written += int64(len(zeros)) {
		start := time.Now()
		if err := p.folder.write(f, zeros); err != nil {
			return err
		}
		if quit == nil {
			continue
		}
		if err := p.folder.sync(f); err != nil {
			return err
		}
		select {
		case <-quit:
			return journal.ErrClosed
		case <-time.After(time.Since(start)):
		}
	}
	return p.folder.sync(f)
}
