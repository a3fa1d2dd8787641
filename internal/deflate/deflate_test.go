package deflate

import (
	"bytes"
	"compress/flate"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

// drip returns data in small pieces, with a deadline error before each of them.
type drip struct {
	data []byte
	size int
	late bool
}

func (d *drip) Read(b []byte) (int, error) {
	if d.late = !d.late; d.late {
		return 0, os.ErrDeadlineExceeded
	}
	if len(d.data) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), d.size)], d.data)
	d.data = d.data[n:]
	return n, nil
}

// readAll reads until the stream ends, and ignores expired deadlines.
func readAll(r io.Reader) ([]byte, error) {
	var out []byte
	buf := make([]byte, 1000)
	for {
		n, err := r.Read(buf)
		out = append(out, buf[:n]...)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return out, err
		}
	}
}

// samples returns texts with every kind of block and with copies of all lengths
// and distances.
func samples() [][]byte {
	rnd := rand.New(rand.NewPCG(4, 9))
	random := make([]byte, 200_000)
	for i := range random {
		random[i] = byte(rnd.IntN(256))
	}
	var mixed []byte
	for len(mixed) < 300_000 {
		switch at := rnd.IntN(len(mixed) + 1); rnd.IntN(3) {
		case 0:
			mixed = append(mixed, random[:rnd.IntN(60)]...)
		case 1:
			mixed = append(mixed, bytes.Repeat([]byte{byte(at)}, rnd.IntN(600))...)
		default:
			mixed = append(mixed, mixed[at:min(len(mixed), at+rnd.IntN(400))]...)
		}
	}
	return [][]byte{nil, []byte("a"), []byte("a NOOP\r\n"), random, mixed, bytes.Repeat([]byte("line\r\n"), 100_000)}
}

// compressed returns text as compressed by the standard library, with a flush
// after every part.
func compressed(t testing.TB, level int, text []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, level)
	if err != nil {
		t.Fatal(err)
	}
	for len(text) > 0 {
		n := min(len(text), 70_000)
		w.Write(text[:n])
		w.Flush()
		text = text[n:]
	}
	w.Close()
	return out.Bytes()
}

func TestReader(t *testing.T) {
	for i, text := range samples() {
		for _, level := range []int{flate.HuffmanOnly, 0, 1, 6, 9} {
			data := compressed(t, level, text)
			for _, size := range []int{1, 7, inputSize} {
				if len(data) > 50_000 && size == 1 {
					continue
				}
				got, err := readAll(NewReader(&drip{data: data, size: size}))
				if err != io.EOF || !bytes.Equal(got, text) {
					t.Errorf("sample %d at level %d in pieces of %d: %d of %d octets, %v", i, level, size, len(got), len(text), err)
				}
			}
		}
	}
}

// Everything that the client has flushed is returned before more input is
// requested. Clients that use JZlib send partial flushes.
func TestFlushes(t *testing.T) {
	tests := []struct {
		name   string
		pieces []string // made by zlib
	}{
		{"partial", []string{"4a54f0f3f70fe0e50208", "a0248560571f57e710054f3f27ff085e2e8000", "4a868a0304"}},
		{"sync", []string{"4a54f0f3f70fe0e502000000ffff", "4a520876f571750e51f0f473f28fe0e502000000ffff", "4a868a03000000ffff"}},
		{"full", []string{"4a54f0f3f70fe0e502000000ffff", "4a520876f571750e51f0f473f28fe0e502000000ffff", "4a56f0f3f70fe0e502000000ffff"}},
	}
	want := []string{"a NOOP\r\n", "b SELECT INBOX\r\n", "c NOOP\r\n"}
	for _, tc := range tests {
		src := &drip{size: 1000}
		r := NewReader(src)
		for i, p := range tc.pieces {
			data, err := hex.DecodeString(p)
			if err != nil {
				t.Fatal(err)
			}
			src.data, src.late = data, true
			buf := make([]byte, 100)
			n, err := r.Read(buf)
			if string(buf[:n]) != want[i] || err != nil {
				t.Errorf("%s: %q, %v, want %q", tc.name, buf[:n], err, want[i])
			}
		}
	}
}

func TestCorrupt(t *testing.T) {
	tests := []struct{ name, data string }{
		{"block type 3", "07"},
		{"stored length", "000100feff"[:8] + "00"},
		{"copy before the start", "4b04320000"},
		{"distance code 30", "4b043e0000"},
		{"too many length codes", "fdff" + "ffffffffff"},
		{"over-subscribed code lengths", "05e0ffffffffffffffff"},
		{"plain text", hex.EncodeToString([]byte("o NOOP\r\no NOOP\r\n"))},
	}
	for _, tc := range tests {
		data, err := hex.DecodeString(tc.data)
		if err != nil {
			t.Fatal(err)
		}
		r := NewReader(&drip{data: append(data, make([]byte, 300)...), size: 3})
		if got, err := readAll(r); err != ErrCorrupt {
			t.Errorf("%s: %q, %v", tc.name, got, err)
		}
		if _, err := r.Read(make([]byte, 1)); err != ErrCorrupt {
			t.Errorf("%s: then %v", tc.name, err)
		}
	}
}

// Decompression proceeds in small steps, so that a caller can stop at its
// limit.
func TestExpansionIsGradual(t *testing.T) {
	data := compressed(t, 9, make([]byte, 20<<20))
	r := NewReader(bytes.NewReader(data))
	buf := make([]byte, 1<<20)
	for total := 0; total < 20<<20; {
		n, err := r.Read(buf)
		if err != nil || n > window {
			t.Fatalf("%d octets after %d, %v", n, total, err)
		}
		total += n
		if cap(r.hist) > 4*window {
			t.Fatalf("%d octets are allocated", cap(r.hist))
		}
	}
}

func TestWriter(t *testing.T) {
	var wire bytes.Buffer
	w := NewWriter(&wire)
	r := NewReader(&wire)
	std := flate.NewReader(io.TeeReader(&wire, io.Discard))
	if err := w.Flush(); err != nil || wire.Len() > 0 {
		t.Fatalf("an empty flush: %d octets, %v", wire.Len(), err)
	}
	for i, text := range samples()[1:] {
		for range 3 {
			if n, err := w.Write(text); n != len(text) || err != nil {
				t.Fatal(n, err)
			}
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
			if w.c != nil {
				t.Fatal("the compressor is kept")
			}
			back := make([]byte, len(text))
			if _, err := io.ReadFull(r, back); err != nil || !bytes.Equal(back, text) {
				t.Fatalf("sample %d: %v", i, err)
			}
		}
	}
	// The standard library reads the stream of several compressors as one.
	wire.Reset()
	for range 3 {
		io.WriteString(w, "* OK completed\r\n")
		w.Flush()
	}
	back := make([]byte, 3*16)
	if _, err := io.ReadFull(std, back); err != nil || string(back) != strings.Repeat("* OK completed\r\n", 3) {
		t.Errorf("%q, %v", back, err)
	}
}

// brokenPipe fails every write.
type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestWriterError(t *testing.T) {
	w := NewWriter(brokenPipe{})
	io.WriteString(w, "x")
	if err := w.Flush(); err != io.ErrClosedPipe {
		t.Error(err)
	}
	// The pooled compressor has not kept the error.
	var wire bytes.Buffer
	w = NewWriter(&wire)
	io.WriteString(w, "x")
	if err := w.Flush(); err != nil || wire.Len() == 0 {
		t.Error(err)
	}
}

// The reader accepts a subset of what the standard library accepts, and agrees
// with it about the content.
func FuzzReader(f *testing.F) {
	for _, text := range samples()[:3] {
		for _, level := range []int{0, 1, 9} {
			f.Add(compressed(f, level, text))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := readAll(NewReader(&drip{data: data, size: 3}))
		want, stdErr := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(data)), 1<<24))
		if stdErr == nil && len(want) < 1<<24 && (err != io.EOF || !bytes.Equal(got, want)) {
			t.Errorf("%d octets, %v; want %d", len(got), err, len(want))
		}
	})
}
