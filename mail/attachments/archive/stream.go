package archive

import (
	"archive/tar"
	"bufio"
	"compress/bzip2"
	"compress/gzip"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz/lzma"
)

// The memory that the decompressors need, excluding dictionaries.
const (
	gzipMemory  = 64 << 10
	bzip2Memory = 4 << 20
	lzmaMemory  = 1 << 20
	zstdMemory  = 1 << 20
	tarMemory   = 1 << 20 // for the largest extended header
)

// compressed passes the only file in a compressed file to visit.
func (w *walk) compressed(name string, r io.Reader, packed *tally) error {
	return w.visit(Entry{Name: name, Body: r, Packed: packed.count})
}

func (w *walk) gzip() error {
	if err := w.allocate(gzipMemory); err != nil {
		return err
	}
	packed := &tally{r: w.Reader}
	z, err := gzip.NewReader(bufio.NewReaderSize(packed, 4096))
	if err != nil {
		return fmt.Errorf("damaged gzip: %w", err)
	}
	return w.compressed(z.Name, z, packed)
}

func (w *walk) bzip2() error {
	if err := w.allocate(bzip2Memory); err != nil {
		return err
	}
	packed := &tally{r: w.Reader}
	return w.compressed("", bzip2.NewReader(packed), packed)
}

// lzma reads the format that preceded xz. Its header has 13 octets: properties,
// dictionary size and content size.
func (w *walk) lzma() error {
	packed := &tally{r: w.Reader}
	in := bufio.NewReaderSize(packed, 4096)
	head, err := in.Peek(lzma.HeaderLen)
	if err != nil {
		return fmt.Errorf("damaged lzma: %w", err)
	}
	dictionary := int64(le.Uint32(head[1:]))
	if size := le.Uint64(head[5:]); size < uint64(dictionary) {
		dictionary = int64(size) // the library allocates no more
	}
	if err := w.allocate(lzmaMemory + probabilities(head[0]) + dictionary); err != nil {
		return err
	}
	var z io.Reader
	err = try(func() (err error) { z, err = lzma.NewReader(in); return err })
	if err != nil {
		return fmt.Errorf("damaged lzma: %w", err)
	}
	return w.compressed("", guarded{z}, packed)
}

// zstd needs a window for its output. Each frame declares the window size.
func (w *walk) zstd() error {
	window := max(zstdMemory, min(w.Memory.Left()/2, 32<<20))
	if err := w.allocate(zstdMemory); err != nil {
		return err
	}
	packed := &tally{r: w.Reader}
	frames := &zstdFrames{w: w, in: bufio.NewReaderSize(packed, 4096), limit: window}
	z, err := zstd.NewReader(frames, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(uint64(window)), zstd.WithDecoderMaxMemory(1<<40))
	if err != nil {
		return fmt.Errorf("damaged zstd: %w", err)
	}
	defer z.Close()
	return w.compressed("", guarded{z}, packed)
}

func (w *walk) tar() error {
	if err := w.take(tarMemory); err != nil {
		return err
	}
	t := tar.NewReader(w.Reader)
	for {
		h, err := t.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("damaged tar: %w", err)
		}
		e := Entry{Name: h.Name, Size: h.Size}
		switch h.Typeflag {
		case tar.TypeReg:
			e.Body = t
		case tar.TypeSymlink, tar.TypeLink:
			e.Link = true
		default:
			continue
		}
		if err := w.visit(e); err != nil {
			return err
		}
	}
}
