package smime

import "io"

// crlf converts line endings to the form that is hashed (RFC 8551, 3.1.1): a
// lone LF becomes CRLF. Everything else, including white space, is unchanged.
type crlf struct {
	r    io.Reader
	buf  [8 << 10]byte
	in   []byte
	last byte
	lf   bool // the CR has been returned, the LF has not
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
