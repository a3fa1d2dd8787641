package disk

import (
	"fmt"
	"iter"
	"os"
	"time"

	"github.com/rs/zerolog"
)

// batch holds the records that one write and sync make durable. Its slices are
// reused.
type batch struct {
	taken   []*commit // taken from the committer's queue
	dones   []string
	commits []*commit // the ones in taken that are written
	marks   []op      // done marks
	done    []byte    // their encoded records
	size    int64     // on disk, including the first record
	records int
	out     []byte // small records, combined into one write
}

func (b *batch) reset() {
	clear(b.taken)
	b.taken, b.dones = b.taken[:0], b.dones[:0]
	b.commits, b.marks, b.done, b.size, b.records = b.commits[:0], b.marks[:0], b.done[:0], 0, 0
}

// mark adds a done mark.
func (b *batch) mark(id string, salt uint64) {
	start := len(b.done)
	b.done = endRecord(beginRecord(b.done, kindDone, id), start, len(id), salt)
	b.marks = append(b.marks, op{kind: kindDone, id: id, rec: b.done[start:]})
	b.records++
}

// ops yields the records of b in file order.
func (b *batch) ops() iter.Seq[*op] {
	return func(yield func(*op) bool) {
		for _, c := range b.commits {
			for i := range c.ops {
				if o := &c.ops[i]; !o.skip && !yield(o) {
					return
				}
			}
		}
		for i := range b.marks {
			if !yield(&b.marks[i]) {
				return
			}
		}
	}
}

// head returns the fields of the first record.
func (b *batch) head(segment uint64) batchHead {
	h := batchHead{num: segment}
	for o := range b.ops() {
		h.add(o.rec)
	}
	return h
}

// writer writes batches to the newest segment. One goroutine uses it at a time.
type writer struct {
	folder  *folder
	catalog *catalog
	spare   *spare
	salt    uint64
	size    int64 // size of a full segment
	synced  func(records int, took time.Duration)
	log     zerolog.Logger
}

// write makes b durable in the newest segment or in a new one. After an error
// that segment is no longer used.
func (w *writer) write(b *batch) error {
	start := time.Now()
	s, err := w.target(b)
	if err != nil {
		return err
	}
	err = w.writeOps(s, b)
	if err == nil {
		err = w.folder.sync(s.file)
	}
	if cap(b.out) > maxBatch {
		b.out = nil
	}
	if err != nil {
		w.abandon(s, err)
		return fmt.Errorf("write segment %d: %w", s.num, err)
	}
	w.synced(b.records, time.Since(start))
	return nil
}

// writeOps writes the first record and the records of b. Small records are
// combined into one write.
func (w *writer) writeOps(s *segment, b *batch) error {
	head := b.head(s.num)
	b.size = firstSize + head.octets
	b.out = head.append(b.out[:0], w.salt)
	for o := range b.ops() {
		if len(o.rec) < 64<<10 {
			b.out = append(b.out, o.rec...)
			continue
		}
		if err := w.folder.write(s.file, b.out); err != nil {
			return err
		}
		b.out = b.out[:0]
		if err := w.folder.write(s.file, o.rec); err != nil {
			return err
		}
	}
	return w.folder.write(s.file, b.out)
}

// target returns the segment for the batch.
func (w *writer) target(b *batch) (*segment, error) {
	size := int64(len(b.done))
	for _, c := range b.commits {
		size += c.size
	}
	s, next, end := w.catalog.target(size, w.size)
	if s != nil {
		return s, nil
	}
	s, err := w.createSegment(next, end)
	if err != nil {
		return nil, err
	}
	w.catalog.append(s)
	return s, nil
}

// createSegment creates a segment whose header and directory entry are durable
// before anything else is written to it. before is the end of the previous
// segment. The spare file is used if there is one.
func (w *writer) createSegment(num uint64, before int64) (*segment, error) {
	path := w.folder.segment(num)
	spare := w.spare.take(path + unfinished)
	s, err := w.startSegment(num, before, path, spare)
	if err == nil {
		err = syncDir(w.folder.logs())
	}
	if err != nil {
		if s != nil {
			s.file.Close()
		}
		os.Remove(path)
		os.Remove(path + unfinished)
		return nil, fmt.Errorf("create segment %d: %w", num, err)
	}
	return s, nil
}

// startSegment writes the header to a new file, or to the spare.
func (w *writer) startSegment(num uint64, before int64, path, spare string) (s *segment, err error) {
	var f *os.File
	if spare != "" {
		f, err = os.OpenFile(spare, os.O_RDWR, 0)
	} else {
		f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	}
	if err != nil {
		return nil, err
	}
	s = &segment{num: num, path: path, salt: w.salt, before: before, born: time.Now(), size: segmentHead, file: f}
	if err = w.folder.write(f, s.header()); err == nil {
		err = w.folder.sync(f)
	}
	if err == nil && spare != "" {
		err = os.Rename(spare, path)
	}
	return s, err
}

// abandon stops using a segment after a failed write or sync. The kernel
// reports a failed sync only once, so the state of the file is unknown: it is
// never written to again, and the next segment's header records its end.
func (w *writer) abandon(s *segment, err error) {
	end := w.catalog.fail(s)
	cutErr := os.Truncate(s.path, end)
	w.log.Error().Err(err).AnErr("truncate", cutErr).Str("segment", s.path).Int64("synced", end).
		Msg("write to the queue's log failed; the segment is abandoned and the next message opens a new one")
}
