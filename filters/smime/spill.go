package smime

import (
	"fmt"
	"io"
	"os"

	"hoplite/mail"
)

// spillAt is how much content is held in memory before it goes to a file.
const spillAt = 1 << 20

// spill keeps what an opaque layer holds, so that it can be read again.
type spill struct {
	dir string
	b   []byte
	f   *os.File
	n   int64
}

func (s *spill) Write(p []byte) (int, error) {
	if s.f == nil && len(s.b)+len(p) <= spillAt {
		s.b = append(s.b, p...)
		s.n += int64(len(p))
		return len(p), nil
	}
	if s.f == nil {
		f, err := os.CreateTemp(s.dir, "smime-*")
		if err != nil {
			return 0, fmt.Errorf("hold signed content: %w", err)
		}
		os.Remove(f.Name()) // it lives as long as it is open
		s.f = f
		if _, err := f.Write(s.b); err != nil {
			return 0, fmt.Errorf("hold signed content: %w", err)
		}
		s.b = nil
	}
	n, err := s.f.Write(p)
	s.n += int64(n)
	return n, err
}

// content reads what was written. It is dead after close.
func (s *spill) content() (io.ReaderAt, int64) {
	if s.f != nil {
		return s.f, s.n
	}
	return mail.Bytes(s.b), s.n
}

func (s *spill) close() {
	if s.f != nil {
		s.f.Close()
	}
}

// crlf gives every line the ending that was hashed (RFC 8551, 3.1.1): a lone
// LF becomes CRLF. Nothing else is changed, white space least of all.
type crlf struct {
	r    io.Reader
	buf  [8 << 10]byte
	in   []byte
	last byte
	lf   bool // a LF is owed, its CR was written
	err  error
}

func (c *crlf) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n := 0
	for n < len(p) {
		if c.lf {
			p[n], c.lf, c.last = '\n', false, '\n'
			n++
			continue
		}
		if len(c.in) == 0 {
			if c.err != nil || n > 0 {
				break
			}
			var k int
			k, c.err = c.r.Read(c.buf[:])
			c.in = c.buf[:k]
			continue
		}
		b := c.in[0]
		c.in = c.in[1:]
		if b == '\n' && c.last != '\r' {
			p[n], c.lf = '\r', true
		} else {
			p[n] = b
		}
		c.last = b
		n++
	}
	if n == 0 {
		return 0, c.err
	}
	return n, nil
}
