package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// recover reads all segments into the index. Nothing on disk is changed before
// every header is known to be of a version that we can read.
func (l *Log) recover() error {
	nums, err := listSegments(l.logDir())
	if err != nil {
		return err
	}
	var headless []*segment
	for _, num := range nums {
		s, err := openSegment(filepath.Join(l.logDir(), segmentName(num)), num)
		switch {
		case errors.Is(err, errNoHeader):
			headless = append(headless, s)
		case err != nil:
			return err
		default:
			l.segs = append(l.segs, s)
		}
	}
	for _, s := range headless {
		if err := l.discardHeadless(s); err != nil {
			return err
		}
	}
	cuts, err := l.readCuts()
	if err != nil {
		return err
	}
	for i, s := range l.segs {
		limit, isCut := cuts[s.num]
		if err := l.replay(s, limit, isCut, i == len(l.segs)-1); err != nil {
			return fmt.Errorf("recover segment %d: %w", s.num, err)
		}
	}
	return l.removeOrphans()
}

// discardHeadless clears away a segment that a crash left before its header
// was synced. If it nevertheless holds something, a person should look at it.
func (l *Log) discardHeadless(s *segment) error {
	defer s.file.Close()
	info, err := s.file.Stat()
	if err != nil {
		return err
	}
	if info.Size() <= segmentHead {
		l.opt.Log.Warn().Str("segment", s.path).Msg("unfinished segment removed; nothing was in it")
		return os.Remove(s.path)
	}
	l.opt.Log.Error().Str("segment", s.path).Int64("octets", info.Size()).Msg("segment has no valid header; kept as .damaged")
	return os.Rename(s.path, damagedPath(s.path))
}

func damagedPath(path string) string { return strings.TrimSuffix(path, segmentExt) + ".damaged" }

// readCuts collects where poisoned segments end; the marks stand first in the
// segment behind.
func (l *Log) readCuts() (map[uint64]int64, error) {
	cuts := map[uint64]int64{}
	b := make([]byte, 4096)
	for _, s := range l.segs {
		n, err := s.file.ReadAt(b, segmentHead)
		if err != nil && err != io.EOF {
			return nil, err
		}
		for rest := b[:n]; ; {
			r, err := parseRecord(rest, s.salt)
			if err != nil || r.kind != cut || len(r.payload) != 16 {
				break
			}
			cuts[binary.LittleEndian.Uint64(r.payload)] = int64(binary.LittleEndian.Uint64(r.payload[8:]))
			rest = rest[r.size:]
		}
	}
	return cuts, nil
}

// replay applies one segment's records, cuts off a torn tail and reports
// whatever was unreadable.
func (l *Log) replay(s *segment, limit int64, isCut, last bool) error {
	info, err := s.file.Stat()
	if err != nil {
		return err
	}
	end := info.Size()
	if isCut {
		end = min(end, limit)
	}
	w := &window{file: s.file, salt: s.salt, pos: segmentHead, end: end}
	good := int64(segmentHead)
	records, lost := 0, int64(0)
	for {
		r, off, err := w.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if off > good && last && !l.laterBatch(s, off, end) {
			break // the blocks of one write reach the disk in any order
		}
		if off > good {
			lost += off - good
			s.damaged = true
			l.opt.Log.Error().Str("segment", s.path).Int64("offset", good).Int64("octets", off-good).
				Msg("unreadable octets in the log; the records behind them are kept, and so is the segment")
		}
		if err := l.applyRecord(s, off, r); err != nil {
			return fmt.Errorf("record at %d: %w", off, err)
		}
		good = off + r.size
		records++
	}
	s.size = good
	if err := l.cutTail(s, good, end, last); err != nil {
		return err
	}
	l.opt.Log.Debug().Str("segment", s.path).Int("records", records).Int64("lost", lost).Msg("segment read")
	return nil
}

// laterBatch tells whether another batch begins behind off. Then what is
// unreadable before was synced once, and is damage. Otherwise it belongs to the
// write that a crash interrupted, with all that stands behind it.
func (l *Log) laterBatch(s *segment, off, end int64) bool {
	if s.version < 2 {
		return true
	}
	w := &window{file: s.file, salt: s.salt, pos: off, end: end}
	for {
		r, _, err := w.next()
		if err != nil || r.kind == first {
			return err == nil
		}
	}
}

// cutTail removes what stands behind the last whole record. In the newest
// segment that is a write which a crash interrupted: nobody heard a 250 for it.
// In an older one it is damage. Zeros are neither: blocks that were reserved.
func (l *Log) cutTail(s *segment, good, end int64, last bool) error {
	used, err := usedEnd(s.file, good, end)
	if err != nil {
		return err
	}
	if last || used == good {
		err = os.Truncate(s.path, good)
	}
	if used == good {
		return nil
	}
	e := l.opt.Log.Warn()
	if !last {
		s.damaged = true
		e = l.opt.Log.Error()
	}
	e.AnErr("truncate", err).Str("segment", s.path).Int64("offset", good).Int64("octets", used-good).
		Msg("octets behind the last whole record were cut off")
	return nil
}

// usedEnd is the offset behind the last octet of f in [from, to) that is not zero.
func usedEnd(f *os.File, from, to int64) (int64, error) {
	b := make([]byte, 64<<10)
	for to > from {
		n := min(int64(len(b)), to-from)
		if _, err := f.ReadAt(b[:n], to-n); err != nil {
			return 0, fmt.Errorf("read the end: %w", err)
		}
		if used := len(bytes.TrimRight(b[:n], "\x00")); used > 0 {
			return to - n + int64(used), nil
		}
		to -= n
	}
	return from, nil
}

func (l *Log) applyRecord(s *segment, off int64, r record) error {
	e := l.index[r.id]
	switch r.kind {
	case Put, keep:
		n, meta, state, err := r.entry()
		if err != nil {
			return err
		}
		if e != nil {
			l.unplace(e)
		}
		n.seg, n.off = s, off
		n.loadMeta, n.loadState = l.copies.clone(meta), l.copies.clone(state)
		l.index[r.id] = &n
		s.add(n.rec, n.place == inline)
	case Set:
		if e != nil {
			l.replaceSet(e, s, off, r.size)
			e.loadState = l.copies.clone(r.payload)
		}
	case Done:
		if e != nil {
			l.unplace(e)
			delete(l.index, r.id)
		}
	}
	return nil
}

// slab copies many small byte strings with few allocations; together they are
// dropped.
type slab struct{ free []byte }

func (s *slab) clone(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	if len(b) > len(s.free) {
		s.free = make([]byte, max(256<<10, len(b)))
	}
	c := s.free[:len(b):len(b)]
	s.free = s.free[len(b):]
	copy(c, b)
	return c
}

// removeOrphans clears away body files whose record never came or is gone.
func (l *Log) removeOrphans() error {
	n := 0
	err := filepath.WalkDir(filepath.Join(l.opt.Dir, "body"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if e := l.index[d.Name()]; e != nil && e.place == large {
			return nil
		}
		n++
		return os.Remove(path)
	})
	if err != nil {
		return fmt.Errorf("look for bodies without a record: %w", err)
	}
	if n > 0 {
		l.opt.Log.Info().Int("files", n).Msg("bodies removed whose message is gone or never came to be")
	}
	return nil
}

// window reads records from a file through one buffer.
type window struct {
	file     *os.File
	salt     uint64
	pos, end int64  // of the file: next octet to parse, first beyond
	buf      []byte // the octets from pos on that were read
	lost     bool   // looking for the next whole record
	searched int64  // octets checked in vain
}

// maxSearch bounds the work behind damage: mail could be full of what looks
// like the start of a record.
const maxSearch = 1 << 30

// next gives the next whole record and its offset. Octets that are none are passed over.
// The record is good until the next call.
func (w *window) next() (record, int64, error) {
	for {
		r, err := parseRecord(w.buf, w.salt)
		if err == errShort && w.more() {
			if err := w.fill(); err != nil {
				return r, 0, err
			}
			continue
		}
		if err == nil {
			off := w.pos
			w.skip(r.size)
			w.lost = false
			return r, off, nil
		}
		if len(w.buf) == 0 || w.searched > maxSearch {
			return r, 0, io.EOF
		}
		w.lost = true
		if len(w.buf) >= recordHead {
			w.searched += int64(binary.LittleEndian.Uint32(w.buf[12:])) % maxRecord
		}
		w.skip(int64(min(len(w.buf), nextMagic(w.buf))))
	}
}

func (w *window) more() bool { return w.pos+int64(len(w.buf)) < w.end }

func (w *window) skip(n int64) { w.buf, w.pos = w.buf[n:], w.pos+n }

// fill reads at least as much again as there is.
func (w *window) fill() error {
	want := min(max(1<<20, 2*int64(len(w.buf))), w.end-w.pos)
	have := int64(len(w.buf))
	b := w.buf
	if int64(cap(b)) < want {
		b = make([]byte, have, max(want, 4<<20))
		copy(b, w.buf)
	}
	b = b[:want]
	n, err := w.file.ReadAt(b[have:], w.pos+have)
	if err == io.EOF && n > 0 {
		err = nil
	}
	w.buf = b[:have+int64(n)]
	return err
}
