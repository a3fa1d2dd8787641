// Package deflate compresses the two directions of a connection (RFC 1951).
//
// Reader differs from the readers of the standard library and of
// klauspost/compress in two ways that a connection requires: it continues after
// a read deadline has expired in the middle of a block, and it returns
// everything that the sender has flushed, also by a partial flush, which ends
// with an ordinary empty block. Writer takes its compressor from a pool and
// keeps it only until the next Flush. Limits on the decompressed data are left
// to the caller.
package deflate

import (
	"bufio"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"
)

// Writer compresses data. It holds no buffers between Flush and the next Write.
type Writer struct {
	dst io.Writer
	c   *compressor // nil between Flush and the next Write
}

// compressor is a compressor with a buffer for its output, which it produces in
// small pieces.
type compressor struct {
	out *bufio.Writer
	z   *flate.Writer
}

// level is the compression level. Higher levels need several times the CPU time
// for a few percent.
const level = 1

var compressors = sync.Pool{New: func() any {
	c := &compressor{out: bufio.NewWriterSize(nil, 16<<10)}
	c.z, _ = flate.NewWriter(c.out, level) // fails only for an invalid level
	return c
}}

// NewWriter returns a writer that sends compressed data to dst.
func NewWriter(dst io.Writer) *Writer { return &Writer{dst: dst} }

// Write compresses b. The data may be sent later, at the latest by Flush.
func (w *Writer) Write(b []byte) (int, error) {
	if w.c == nil {
		w.c = compressors.Get().(*compressor)
		w.c.out.Reset(w.dst)
		// The stream has ended with a complete block, so a compressor without
		// history can continue it.
		w.c.z.Reset(w.c.out)
	}
	return w.c.z.Write(b)
}

// Flush sends all data with a sync flush, so that the receiver can decompress
// it.
func (w *Writer) Flush() error {
	if w.c == nil {
		return nil
	}
	c := w.c
	w.c = nil
	err := c.z.Flush()
	if err == nil {
		err = c.out.Flush()
	}
	c.out.Reset(nil)
	compressors.Put(c)
	return err
}
