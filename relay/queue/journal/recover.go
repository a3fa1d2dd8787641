package journal

import (
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
	for i, s := range l.segs {
		if err := l.replay(s, l.endOf(i)); err != nil {
			return fmt.Errorf("recover segment %d: %w", s.num, err)
		}
	}
	l.findSpare()
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

// endOf is where the i-th segment ends, as the one behind it says; -1 if there
// is none.
func (l *Log) endOf(i int) int64 {
	if i+1 < len(l.segs) && l.segs[i+1].num == l.segs[i].num+1 {
		return l.segs[i+1].before
	}
	return -1
}

// replay applies the batches of one segment. known is its end, -1 if that is
// where its last batch ends: then a batch that is not whole is a write that a
// crash interrupted, for which nobody heard a 250. Before a later batch, or a
// known end, it is damage.
func (l *Log) replay(s *segment, known int64) error {
	info, err := s.file.Stat()
	if err != nil {
		return err
	}
	end := info.Size()
	if known > end {
		s.damaged = true
		l.opt.Log.Error().Str("segment", s.path).Int64("octets", known-end).Msg("the end of the segment is gone; what it held is lost")
	}
	if known >= 0 {
		end = min(end, known)
	}
	s.size = segmentHead
	for s.size < end {
		begun, err := l.replayBatches(s, end)
		if err != nil {
			return err
		}
		if s.size == end {
			break
		}
		next, err := l.laterBatch(s, end)
		if err != nil {
			return err
		}
		if next < 0 && known < 0 {
			l.cutTail(s, begun)
			break
		}
		if next < 0 {
			next = end
		}
		if err := l.salvage(s, next); err != nil {
			return err
		}
	}
	l.opt.Log.Debug().Str("segment", s.path).Int64("octets", s.size).Msg("segment read")
	return nil
}

// replayBatches applies whole batches, and moves the segment's end behind them.
// begun tells that another one begins there.
func (l *Log) replayBatches(s *segment, end int64) (begun bool, err error) {
	w := &window{file: s.file, salt: s.salt, pos: s.size, end: end}
	for {
		records, size, err := w.batch(s.num)
		if err != nil || records == nil {
			return size > 0, err
		}
		off := s.size + firstSize
		for _, r := range records {
			if err := l.applyRecord(s, off, r); err != nil {
				return false, fmt.Errorf("record at %d: %w", off, err)
			}
			off += r.size
		}
		w.skip(size)
		s.size += size
	}
}

// laterBatch is the offset of the next batch of this segment behind its end so
// far, -1 if there is none.
func (l *Log) laterBatch(s *segment, end int64) (int64, error) {
	w := &window{file: s.file, salt: s.salt, pos: s.size + 1, end: end}
	for {
		r, off, err := w.next()
		if err == io.EOF {
			return -1, nil
		}
		if err != nil {
			return 0, err
		}
		if h, ok := r.batchHead(); ok && h.num == s.num {
			return off, nil
		}
	}
}

// salvage applies whatever is whole up to end, where octets are damaged.
func (l *Log) salvage(s *segment, end int64) error {
	s.damaged = true
	w := &window{file: s.file, salt: s.salt, pos: s.size, end: end}
	good, kept := int64(0), 0
	for {
		r, off, err := w.next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = l.applyRecord(s, off, r)
		}
		if err != nil {
			return fmt.Errorf("record at %d: %w", off, err)
		}
		if good += r.size; r.kind != first {
			kept++
		}
	}
	l.opt.Log.Error().Str("segment", s.path).Int64("offset", s.size).Int64("octets", end-s.size-good).Int("kept", kept).
		Msg("unreadable octets in the log; the records around them are kept, and so is the segment")
	s.size = end
	return nil
}

// cutTail ends the newest segment behind its last whole batch. What stands
// there is a batch that was begun, or what the file held before it was used.
func (l *Log) cutTail(s *segment, begun bool) {
	if begun {
		err := os.Truncate(s.path, s.size)
		l.opt.Log.Warn().AnErr("truncate", err).Str("segment", s.path).Int64("offset", s.size).
			Msg("a write that a crash interrupted was cut off")
	}
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

// batch gives the records of the batch at hand and its size; they are good until
// the next call. Without an error, nil means that it is not whole; its size is 0
// if none of this segment begins here.
func (w *window) batch(num uint64) ([]record, int64, error) {
	if err := w.need(firstSize); err != nil {
		return nil, 0, err
	}
	r, err := parseRecord(w.buf, w.salt)
	h, ok := r.batchHead()
	if err != nil || !ok || h.num != num {
		return nil, 0, nil
	}
	size := firstSize + h.octets
	if size < 0 || size > w.end-w.pos {
		return nil, firstSize, nil
	}
	if err := w.need(size); err != nil {
		return nil, 0, err
	}
	records, found := make([]record, 0, 16), batchHead{num: num}
	for rest := w.buf[firstSize:size]; len(rest) > 0; {
		r, err := parseRecord(rest, w.salt)
		if err != nil {
			return nil, size, nil
		}
		found.add(rest[:r.size])
		records, rest = append(records, r), rest[r.size:]
	}
	if found != h {
		return nil, size, nil
	}
	return records, size, nil
}

// need reads until n octets are at hand, or all there are.
func (w *window) need(n int64) error {
	for int64(len(w.buf)) < n && w.more() {
		if err := w.fill(); err != nil {
			return err
		}
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
