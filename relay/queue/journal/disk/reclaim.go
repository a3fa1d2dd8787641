package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"hoplite/relay/queue/journal"
)

// moveChunk is the number of messages moved to files between two pauses.
const moveChunk = 64

// reclaimer removes segments that are no longer needed. It moves the live
// records of an old segment to the end of the log, and their messages to
// separate files.
type reclaimer struct {
	log   *Log
	spare *spare

	running sync.Mutex    // held during a reclaim
	quit    chan struct{} // closed by stop
	ended   chan struct{} // closed when loop has ended
}

func newReclaimer(l *Log, p *spare) *reclaimer {
	return &reclaimer{log: l, spare: p, quit: make(chan struct{}), ended: make(chan struct{})}
}

// loop runs a reclaim when the catalog requests one, and every 30 seconds.
func (r *reclaimer) loop(fresh bool) {
	defer close(r.ended)
	r.sweep(fresh)
	tick := time.NewTicker(30 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-r.quit:
			return
		case <-r.log.catalog.wanted:
		case <-tick.C:
			if r.log.catalog.fewSegments() {
				r.spare.prepare(r.quit)
			}
		}
		r.removeDropped()
		if err := r.run(); err != nil && !errors.Is(err, journal.ErrClosed) {
			r.log.opt.Log.Error().Err(err).Msg("the queue's log cannot be reclaimed; it grows until this works")
		}
	}
}

func (r *reclaimer) stop() {
	close(r.quit)
	<-r.ended
}

// removeDropped deletes the files of messages whose done marks are synced.
func (r *reclaimer) removeDropped() {
	for _, d := range r.log.catalog.takeDropped() {
		r.log.folder.remove(d.place, d.id)
	}
}

// run removes dead segments, and moves the survivors of segments that are old
// or contain too many dead records.
func (r *reclaimer) run() error {
	r.running.Lock()
	defer r.running.Unlock()
	for {
		t := r.log.catalog.nextTask(r.log.opt.Segment, r.log.opt.Age)
		switch {
		case t.remove:
			if err := r.removeSegment(t.seg, t.reuse && r.spare.missing()); err != nil {
				return err
			}
		case t.seg != nil:
			if n, err := r.move(t.seg); err != nil || n == 0 {
				return err
			}
		case t.rotate:
			// An empty batch opens the next segment, so that this one can be
			// removed.
			if err := r.log.Commit(context.Background()); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}

// removeSegment removes a dead segment's file, or reuses it as the spare.
func (r *reclaimer) removeSegment(s *segment, reuse bool) error {
	var err error
	switch {
	case s.damaged:
		err = os.Rename(s.path, damagedPath(s.path))
	case reuse:
		err = r.spare.reuse(s.path)
	default:
		err = os.Remove(s.path)
	}
	if err != nil {
		return fmt.Errorf("remove segment: %w", err)
	}
	// If a crash undid this removal but not a later one, done marks would
	// disappear before the messages that they finish.
	return syncDir(r.log.folder.logs())
}

// survivor is a live message with a record in a segment that is to be removed.
type survivor struct {
	id string
	e  entry // at the time of the lookup
}

// read reads the meta and state from the log.
func (v *survivor) read() (meta, state []byte, err error) {
	e := &v.e
	b := make([]byte, e.meta+e.kept)
	if _, err = e.seg.file.ReadAt(b, e.beside(v.id)); err != nil {
		return nil, nil, err
	}
	meta, state = b[:e.meta:e.meta], b[e.meta:]
	if e.set != nil {
		head := recordHead + int64(len(v.id))
		state = make([]byte, e.setLen-head)
		_, err = e.set.file.ReadAt(state, e.setOff+head)
	}
	return meta, state, err
}

// move rewrites the survivors of s at the end of the log and returns their
// number.
func (r *reclaimer) move(s *segment) (int, error) {
	all := r.log.catalog.survivors(s)
	slices.SortFunc(all, func(a, b survivor) int { // neighbours share a directory, which is then synced once
		return strings.Compare(fan(a.id)+a.id, fan(b.id)+b.id)
	})
	moved := 0
	for chunk := range slices.Chunk(all, moveChunk) {
		start := time.Now()
		n, err := r.moveSome(chunk)
		moved += n
		if err != nil {
			return moved, err
		}
		select { // pause for as long as the work took, to leave the disk to new mail
		case <-r.quit:
			return moved, journal.ErrClosed
		case <-time.After(time.Since(start)):
		}
	}
	return moved, nil
}

func (r *reclaimer) moveSome(chunk []survivor) (int, error) {
	c := newCommit()
	dirs := map[string]bool{}
	for i := range chunk {
		o, err := r.moveOne(&chunk[i])
		if err != nil {
			return 0, fmt.Errorf("move %s: %w", chunk[i].id, err)
		}
		if o.file != "" {
			dirs[filepath.Dir(o.file)] = true
		}
		c.ops = append(c.ops, o)
	}
	for dir := range dirs {
		if err := syncDir(dir); err != nil {
			return 0, err
		}
	}
	err := r.log.commits.submit(c)
	moved := 0
	for i, o := range c.ops {
		if err != nil || o.skip { // superseded by another change: the message stays where it is, or is already finished
			if o.file != "" {
				r.log.folder.remove(deferred, o.id)
			}
			continue
		}
		moved++
		if chunk[i].e.place == large && o.file != "" {
			r.log.folder.remove(large, o.id)
		}
	}
	c.free()
	return moved, err
}

// moveOne writes a survivor's file, unless it has one, and encodes its keep
// record.
func (r *reclaimer) moveOne(v *survivor) (op, error) {
	meta, state, err := v.read()
	if err != nil {
		return op{}, err
	}
	e := v.e
	o := op{kind: kindKeep, id: v.id, buf: buffers.Get().(*[]byte), version: e.version, entry: &e}
	e.kept = int64(len(state))
	if e.place != deferred {
		file := r.log.folder.message(deferred, v.id)
		err := r.writeDeferred(v, file)
		switch {
		case err == nil:
			e.place, o.file = deferred, file
			os.WriteFile(envelopePath(file), r.log.opt.Envelope(v.id, meta, state), 0o600)
		case e.place != large || !errors.Is(err, fs.ErrNotExist): // a missing body remains missing; the next attempt reports it
			return op{}, err
		}
	}
	b := appendPutHead(beginRecord((*o.buf)[:0], kindKeep, v.id), &e)
	b = append(append(b, meta...), state...)
	o.rec = endRecord(b, 0, len(v.id), r.log.salt)
	*o.buf = o.rec
	return o, nil
}

// writeDeferred writes a survivor's .eml file. The caller syncs its directory.
func (r *reclaimer) writeDeferred(v *survivor, file string) error {
	if err := r.log.folder.makeFan(filepath.Dir(file)); err != nil {
		return err
	}
	if v.e.place == large {
		os.Remove(file)
		return os.Link(r.log.folder.message(large, v.id), file)
	}
	src := io.NewSectionReader(v.e.seg.file, v.e.octets(v.id), v.e.size)
	tmp := file + ".tmp"
	if err := r.log.folder.writeSynced(tmp, func(f *os.File) error { _, err := io.Copy(f, src); return err }); err != nil {
		return err
	}
	return os.Rename(tmp, file)
}

// sweep removes files that a crash left in deferred: unfinished files, and
// messages whose done mark was written. If the log is new and empty, the files
// are kept, because the old log may have been lost.
func (r *reclaimer) sweep(fresh bool) {
	r.running.Lock()
	defer r.running.Unlock()
	removed, unknown := 0, 0
	filepath.WalkDir(filepath.Join(r.log.folder.path, "deferred"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil
		}
		id := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(d.Name(), ".tmp"), ".eml"), ".json")
		switch {
		case !strings.HasSuffix(path, ".tmp") && r.log.catalog.isDeferred(id):
		case fresh:
			unknown++
		case os.Remove(path) == nil:
			removed++
		}
		return nil
	})
	if removed > 0 {
		r.log.opt.Log.Info().Int("files", removed).Msg("leftover files of finished mail removed from deferred")
	}
	if unknown > 0 {
		r.log.opt.Log.Warn().Int("files", unknown).Msg("deferred contains mail that is not in the log; move the pairs to inject to queue them")
	}
}
