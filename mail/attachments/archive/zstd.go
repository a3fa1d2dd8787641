package archive

import (
	"bufio"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// zstdFrames passes zstd frames on (RFC 8878, 3.1) and takes the memory for the
// window of each before the library sees it.
type zstdFrames struct {
	w     *walk
	in    *bufio.Reader
	limit int64 // the library rejects larger windows

	window int64 // the largest until now, which the library keeps
	left   int64 // octets to pass on before the next header
	block  bool  // it is the header of a block
	sum    bool  // a check sum follows the last block
}

func (z *zstdFrames) Read(p []byte) (int, error) {
	for z.left == 0 {
		next := z.frame
		if z.block {
			next = z.blockHeader
		}
		if err := next(); err != nil {
			return 0, err
		}
	}
	n, err := z.in.Read(p[:min(int64(len(p)), z.left)])
	z.left -= int64(n)
	return n, err
}

func (z *zstdFrames) frame() error {
	b, err := z.in.Peek(zstd.HeaderMaxSize)
	if len(b) == 0 {
		return err
	}
	var h zstd.Header
	if err := h.Decode(b); err != nil {
		return fmt.Errorf("damaged zstd: %w", err)
	}
	z.left = int64(h.HeaderSize)
	if h.Skippable {
		z.left = 8 + int64(h.SkippableSize)
		return nil
	}
	z.block, z.sum = true, h.HasCheckSum
	window := h.WindowSize
	if h.SingleSegment {
		window = h.FrameContentSize
	}
	if window > uint64(z.limit) || int64(window) <= z.window {
		return nil
	}
	// The previous window is garbage.
	if err := z.w.take(2 * (int64(window) - z.window)); err != nil {
		return err
	}
	z.window = int64(window)
	return z.w.Memory.Spend(2 * z.window)
}

func (z *zstdFrames) blockHeader() error {
	b, err := z.in.Peek(3)
	if err != nil {
		return io.ErrUnexpectedEOF
	}
	const repeated = 1
	head := int64(b[0]) | int64(b[1])<<8 | int64(b[2])<<16
	z.left = 3 + head>>3
	if head>>1&3 == repeated {
		z.left = 3 + 1
	}
	if head&1 != 0 {
		z.block = false
		if z.sum {
			z.left += 4
		}
	}
	return nil
}
