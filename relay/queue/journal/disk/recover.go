package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/rs/zerolog"
)

// recovery reads the segments of a folder into a catalog.
type recovery struct {
	folder  *folder
	catalog *catalog
	log     zerolog.Logger
	copies  slab // of meta and state, kept until Load
	// readOnly skips what a crash left behind instead of removing it.
	readOnly bool
}

// run reads all segments. It changes nothing on disk until it has verified that
// this program can read every segment's version.
func (r *recovery) run() error {
	nums, err := listSegments(r.folder.logs())
	if r.readOnly && errors.Is(err, fs.ErrNotExist) {
		return nil // no mail has been queued yet
	}
	if err != nil {
		return err
	}
	var headless []*segment
	for _, num := range nums {
		s, err := openSegment(r.folder.segment(num), num, r.readOnly)
		switch {
		case errors.Is(err, errNoHeader):
			headless = append(headless, s)
		case err != nil:
			return err
		default:
			r.catalog.segs = append(r.catalog.segs, s)
		}
	}
	for _, s := range headless {
		if err := r.discardHeadless(s); err != nil {
			return err
		}
	}
	for i, s := range r.catalog.segs {
		if err := r.replay(s, r.endOf(i)); err != nil {
			return fmt.Errorf("recover segment %d: %w", s.num, err)
		}
	}
	return r.removeOrphans()
}

// discardHeadless removes a segment whose header was not synced before a crash.
// If the segment does contain data, it is kept for inspection.
func (r *recovery) discardHeadless(s *segment) error {
	defer s.file.Close()
	info, err := s.file.Stat()
	if err != nil || r.readOnly {
		return err
	}
	if info.Size() <= segmentHead {
		r.log.Warn().Str("segment", s.path).Msg("unfinished segment removed; it was empty")
		return os.Remove(s.path)
	}
	r.log.Error().Str("segment", s.path).Int64("octets", info.Size()).Msg("segment has no valid header; kept as .damaged")
	return os.Rename(s.path, damagedPath(s.path))
}

func damagedPath(path string) string { return strings.TrimSuffix(path, segmentExt) + ".damaged" }

// endOf returns the end of the i-th segment as recorded by the next one, or -1
// if there is no next one.
func (r *recovery) endOf(i int) int64 {
	segs := r.catalog.segs
	if i+1 < len(segs) && segs[i+1].num == segs[i].num+1 {
		return segs[i+1].before
	}
	return -1
}

// replay applies the batches of one segment. known is the segment's end, or -1
// if it ends with its last batch. In that case an incomplete batch is an
// interrupted write that was never acknowledged to a caller. An incomplete
// batch before a later batch or before a known end is damage.
func (r *recovery) replay(s *segment, known int64) error {
	info, err := s.file.Stat()
	if err != nil {
		return err
	}
	end := info.Size()
	if known > end {
		s.damaged = true
		r.log.Error().Str("segment", s.path).Int64("octets", known-end).Msg("the end of the segment is missing; its records are lost")
	}
	if known >= 0 {
		end = min(end, known)
	}
	s.size = segmentHead
	for s.size < end {
		begun, err := r.replayBatches(s, end)
		if err != nil {
			return err
		}
		if s.size == end {
			break
		}
		next, err := r.laterBatch(s, end)
		if err != nil {
			return err
		}
		if next < 0 && known < 0 {
			r.cutTail(s, begun)
			break
		}
		if next < 0 {
			next = end
		}
		if err := r.salvage(s, next); err != nil {
			return err
		}
	}
	r.log.Debug().Str("segment", s.path).Int64("octets", s.size).Msg("segment read")
	return nil
}

// replayBatches applies complete batches and advances the segment's end past
// them. begun is true if another batch begins there.
func (r *recovery) replayBatches(s *segment, end int64) (begun bool, err error) {
	w := &window{file: s.file, salt: s.salt, pos: s.size, end: end}
	for {
		records, size, err := w.batch(s.num)
		if err != nil || records == nil {
			return size > 0, err
		}
		off := s.size + firstSize
		for _, rec := range records {
			if err := r.catalog.replay(s, off, rec, &r.copies); err != nil {
				return false, fmt.Errorf("record at %d: %w", off, err)
			}
			off += rec.size
		}
		w.skip(size)
		s.size += size
	}
}

// laterBatch returns the offset of the next batch of this segment after its
// current end, or -1 if there is none.
func (r *recovery) laterBatch(s *segment, end int64) (int64, error) {
	w := &window{file: s.file, salt: s.salt, pos: s.size + 1, end: end}
	for {
		rec, off, err := w.next()
		if err == io.EOF {
			return -1, nil
		}
		if err != nil {
			return 0, err
		}
		if h, ok := rec.batchHead(); ok && h.num == s.num {
			return off, nil
		}
	}
}

// salvage applies every complete record up to end in a damaged range.
func (r *recovery) salvage(s *segment, end int64) error {
	s.damaged = true
	w := &window{file: s.file, salt: s.salt, pos: s.size, end: end}
	good, kept := int64(0), 0
	for {
		rec, off, err := w.next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = r.catalog.replay(s, off, rec, &r.copies)
		}
		if err != nil {
			return fmt.Errorf("record at %d: %w", off, err)
		}
		if good += rec.size; rec.kind != kindFirst {
			kept++
		}
	}
	r.log.Error().Str("segment", s.path).Int64("offset", s.size).Int64("octets", end-s.size-good).Int("kept", kept).
		Msg("unreadable octets in the log; the records around them and the segment are kept")
	s.size = end
	return nil
}

// cutTail truncates the newest segment after its last complete batch. The rest
// is either an interrupted batch or earlier content of the file, which needs no
// truncation.
func (r *recovery) cutTail(s *segment, begun bool) {
	if begun && !r.readOnly {
		err := os.Truncate(s.path, s.size)
		r.log.Warn().AnErr("truncate", err).Str("segment", s.path).Int64("offset", s.size).
			Msg("a write that a crash interrupted was cut off")
	}
}

// removeOrphans deletes body files that no record refers to.
func (r *recovery) removeOrphans() error {
	if r.readOnly {
		return nil
	}
	n := 0
	err := filepath.WalkDir(filepath.Join(r.folder.path, "body"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if e := r.catalog.index[d.Name()]; e != nil && e.place == large {
			return nil
		}
		n++
		return os.Remove(path)
	})
	if err != nil {
		return fmt.Errorf("look for orphaned bodies: %w", err)
	}
	if n > 0 {
		r.log.Info().Int("files", n).Msg("orphaned bodies removed")
	}
	return nil
}

// slab copies many small byte strings with few allocations. Their memory is
// freed as a whole.
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
