package journal

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
	"time"

	"hoplite/mail"
)

// moveChunk is how many messages move to files of their own between two
// pauses.
const moveChunk = 64

// wantTidy wakes the reclaimer if there may be something to do.
func (l *Log) wantTidy() {
	if len(l.drop) == 0 && (len(l.segs) < 2 || l.segs[0].count > 0 && l.segs[len(l.segs)-1].size > segmentHead) {
		return
	}
	select {
	case l.tidy <- struct{}{}:
	default:
	}
}

func (l *Log) reclaimLoop(fresh bool) {
	defer close(l.tidied)
	l.sweep(fresh)
	tick := time.NewTicker(30 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-l.quit:
			return
		case <-l.tidy:
		case <-tick.C:
			l.prepare(true) // in a rush, dead segments follow each other soon enough
		}
		l.removeDropped()
		if err := l.reclaim(); err != nil && !errors.Is(err, ErrClosed) {
			l.opt.Log.Error().Err(err).Msg("the queue's log could not be tidied; it grows until this works")
		}
	}
}

// removeDropped deletes the files of messages whose done marks are synced.
func (l *Log) removeDropped() {
	l.mu.Lock()
	drop := l.drop
	l.drop = nil
	l.mu.Unlock()
	for _, path := range drop {
		os.Remove(path)
		if eml, ok := strings.CutSuffix(path, ".eml"); ok {
			os.Remove(eml + ".json")
		}
	}
}

// reclaim removes segments that hold nothing alive, and moves the survivors
// of those that are old, or stand in the way of too much dead weight.
func (l *Log) reclaim() error {
	l.tidying.Lock()
	defer l.tidying.Unlock()
	for {
		l.mu.Lock()
		if n := len(l.segs); n > 0 && l.segs[n-1].mails > 0 && time.Since(l.segs[n-1].born) > l.opt.Age && !l.segs[n-1].sealed {
			l.rotate = true
		}
		rotate := l.rotate
		s, remove := l.candidate()
		reuse := false
		if remove {
			reuse = !l.spare && !s.damaged && !s.failed && s.refs == 0
			l.segs = l.segs[1:]
			if s.removed = true; s.refs == 0 {
				s.file.Close()
			}
		}
		l.mu.Unlock()
		switch {
		case remove:
			if err := l.removeSegment(s, reuse); err != nil {
				return err
			}
		case s != nil:
			if n, err := l.move(s); err != nil || n == 0 {
				return err
			}
		case rotate:
			// An empty batch opens the next segment, so that this one can go.
			if err := l.Commit(context.Background()); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}

// candidate is the segment to work on; remove says that it is dead and the
// oldest, so that the done marks in it are needed by nobody.
func (l *Log) candidate() (s *segment, remove bool) {
	var total, live int64
	for _, s := range l.segs {
		total += s.size
		live += s.live
	}
	for i, s := range l.segs {
		switch {
		case i == len(l.segs)-1:
			return nil, false
		case i == 0 && s.count == 0:
			return s, true
		case i == 0 && total > 2*live+l.opt.Segment:
			return s, false
		case s.mails > 0 && time.Since(s.born) > l.opt.Age:
			return s, false
		}
	}
	return nil, false
}

// removeSegment takes a dead segment out of the log; its file may be of use
// again.
func (l *Log) removeSegment(s *segment, reuse bool) error {
	var err error
	switch {
	case s.damaged:
		err = os.Rename(s.path, damagedPath(s.path))
	case reuse:
		err = l.keepSpare(s.path)
	default:
		err = os.Remove(s.path)
	}
	if err != nil {
		return fmt.Errorf("remove segment: %w", err)
	}
	// Were this removal lost and a later one not, marks would be gone before
	// the mail that they cancel.
	return syncDir(l.logDir())
}

// survivor is a live message with a record in a segment that should go.
type survivor struct {
	id string
	e  entry // as it was when we looked
}

// move rewrites the survivors of s at the end of the log, mail itself to
// deferred. It returns how many moved.
func (l *Log) move(s *segment) (int, error) {
	l.mu.Lock()
	var all []survivor
	for id, e := range l.index {
		if (e.seg == s || e.set == s) && e.seg != nil && !e.dead {
			all = append(all, survivor{id, *e})
		}
	}
	l.mu.Unlock()
	slices.SortFunc(all, func(a, b survivor) int { // neighbours share a folder and its sync
		return strings.Compare(fan(a.id)+a.id, fan(b.id)+b.id)
	})
	moved := 0
	for chunk := range slices.Chunk(all, moveChunk) {
		start := time.Now()
		n, err := l.moveSome(chunk)
		moved += n
		if err != nil {
			return moved, err
		}
		select { // as long a pause as the work took: mail comes first
		case <-l.quit:
			return moved, ErrClosed
		case <-time.After(time.Since(start)):
		}
	}
	return moved, nil
}

func (l *Log) moveSome(chunk []survivor) (int, error) {
	c := newCommit()
	dirs := map[string]bool{}
	for i := range chunk {
		o, err := l.moveOne(&chunk[i])
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
	err := l.submit(c)
	moved := 0
	for i, o := range c.ops {
		if err != nil || o.skip { // overtaken: it stays where it is, or is gone
			if o.file != "" {
				os.Remove(o.file)
				os.Remove(strings.TrimSuffix(o.file, ".eml") + ".json")
			}
			continue
		}
		moved++
		if chunk[i].e.place == large && o.file != "" {
			os.Remove(l.path(large, o.id))
		}
	}
	c.free()
	return moved, err
}

// moveOne writes a survivor's file, if it has none yet, and encodes its keep
// record.
func (l *Log) moveOne(v *survivor) (op, error) {
	meta, state, err := l.readBeside(v)
	if err != nil {
		return op{}, err
	}
	e := v.e
	o := op{kind: keep, id: v.id, buf: buffers.Get().(*[]byte), version: e.version, entry: &e}
	e.kept = int64(len(state))
	if e.place != deferred {
		file := l.path(deferred, v.id)
		err := l.writeDeferred(v, file)
		switch {
		case err == nil:
			e.place, o.file = deferred, file
			os.WriteFile(strings.TrimSuffix(file, ".eml")+".json", l.opt.Envelope(v.id, meta, state), 0o600)
		case e.place != large || !errors.Is(err, fs.ErrNotExist): // a removed body stays missing: the next attempt says so
			return op{}, err
		}
	}
	b := appendPutHead(beginRecord((*o.buf)[:0], keep, v.id), &e)
	b = append(append(b, meta...), state...)
	o.rec = endRecord(b, 0, len(v.id), l.salt)
	*o.buf = o.rec
	return o, nil
}

// readBeside reads meta and state of v back from the log.
func (l *Log) readBeside(v *survivor) (meta, state []byte, err error) {
	e := &v.e
	b := make([]byte, e.meta+e.kept)
	if _, err = e.seg.file.ReadAt(b, e.off+recordHead+int64(len(v.id))+putHead); err != nil {
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

// writeDeferred makes the .eml of v durable but for its folder.
func (l *Log) writeDeferred(v *survivor, file string) error {
	if err := l.fanDir(filepath.Dir(file)); err != nil {
		return err
	}
	if v.e.place == large {
		os.Remove(file)
		return os.Link(l.path(large, v.id), file)
	}
	off := v.e.off + recordHead + int64(len(v.id)) + putHead + v.e.meta + v.e.kept
	src := io.NewSectionReader(v.e.seg.file, off, v.e.size)
	tmp := file + ".tmp"
	if err := l.writeSynced(tmp, func(f *os.File) error { _, err := io.Copy(f, src); return err }); err != nil {
		return err
	}
	return os.Rename(tmp, file)
}

// writeLarge streams a message to its own file; file and folder are durable
// when it returns.
func (l *Log) writeLarge(id, file string, m *mail.Message) error {
	l.mu.Lock()
	known := l.index[id] != nil
	l.mu.Unlock()
	if known {
		return fmt.Errorf("put %s: %w", id, ErrExists)
	}
	dir := filepath.Dir(file)
	if err := l.fanDir(dir); err != nil {
		return err
	}
	err := l.writeSynced(file, func(f *os.File) error {
		n, err := m.WriteTo(f)
		if err == nil && n != m.Size() {
			err = fmt.Errorf("message has %d octets, not %d", n, m.Size())
		}
		return err
	})
	if err != nil {
		return err
	}
	return syncDir(dir)
}

// fanDir makes one of the 256 folders durable.
func (l *Log) fanDir(dir string) error {
	if err := os.Mkdir(dir, 0o700); errors.Is(err, fs.ErrExist) {
		return nil
	} else if err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

// writeSynced writes a file and syncs it; what failed is removed.
func (l *Log) writeSynced(path string, fill func(*os.File) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err = fill(f); err == nil {
		err = l.opt.sync(f)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(path)
	}
	return err
}

// sweep clears deferred of what a crash left: unfinished files, and mail whose
// done mark was written. A log that knows nothing at all is no witness: then
// the files stay.
func (l *Log) sweep(fresh bool) {
	l.tidying.Lock()
	defer l.tidying.Unlock()
	n, strangers := 0, 0
	filepath.WalkDir(filepath.Join(l.opt.Dir, "deferred"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil
		}
		id := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(d.Name(), ".tmp"), ".eml"), ".json")
		l.mu.Lock()
		e := l.index[id]
		ours := e != nil && e.place == deferred && !strings.HasSuffix(path, ".tmp")
		l.mu.Unlock()
		switch {
		case ours:
		case fresh:
			strangers++
		case os.Remove(path) == nil:
			n++
		}
		return nil
	})
	if n > 0 {
		l.opt.Log.Info().Int("files", n).Msg("left-over files of finished mail removed from deferred")
	}
	if strangers > 0 {
		l.opt.Log.Warn().Int("files", strangers).Msg("deferred holds mail that the log does not know; move the pairs to inject to queue them")
	}
}
