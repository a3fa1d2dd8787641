package disk

import (
	"io"
	"os"
)

// window reads records from a file through one buffer.
type window struct {
	file     *os.File
	salt     uint64
	pos, end int64  // file offsets of the next octet to parse and of the limit
	buf      []byte // the octets already read, beginning at pos
	searched int64  // octets whose checksum did not match
}

// maxSearch bounds the work after damage, because a message could be full of
// text that looks like the start of a record.
const maxSearch = 1 << 30

// next returns the next complete record and its offset, skipping octets that
// are not a record. The record is valid until the next call.
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
			return r, off, nil
		}
		if len(w.buf) == 0 || w.searched > maxSearch {
			return r, 0, io.EOF
		}
		w.searched += r.size
		w.skip(int64(min(len(w.buf), nextMagic(w.buf))))
	}
}

func (w *window) more() bool { return w.pos+int64(len(w.buf)) < w.end }

func (w *window) skip(n int64) { w.buf, w.pos = w.buf[n:], w.pos+n }

// fill at least doubles the number of octets in the buffer, up to the limit.
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

// batch returns the records of the batch at pos and its size. They are valid
// until the next call. If the batch is incomplete, the records are nil. If no
// batch of the segment with this number begins at pos, the size is also 0.
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

// need reads until the buffer holds n octets, or everything up to the limit.
func (w *window) need(n int64) error {
	for int64(len(w.buf)) < n && w.more() {
		if err := w.fill(); err != nil {
			return err
		}
	}
	return nil
}
