package cms

import "io"

// octets reads the content of one OCTET STRING, which in BER may be primitive
// or a tree of segments (X.690, 8.7).
type octets struct {
	r    *reader
	left int64 // in the current primitive segment
	base int   // depth of the reader outside the string
	done bool
	n    int64 // octets returned so far
}

// octetString starts with the element whose header has just been read. If it is
// implicitly tagged, h is not a universal OCTET STRING, but its segments are.
func (r *reader) octetString(h header) (*octets, error) {
	o := &octets{r: r, base: r.depth}
	if !h.cons {
		if h.length < 0 {
			return nil, r.fault("a primitive element of indefinite length")
		}
		o.left = h.length
		return o, nil
	}
	return o, r.enter(h)
}

// chunk returns the next octets, or io.EOF. They are valid until the next call.
func (o *octets) chunk() ([]byte, error) {
	for {
		if o.left > 0 {
			b, err := o.r.window(o.left)
			o.left -= int64(len(b))
			o.n += int64(len(b))
			return b, err
		}
		if o.done || o.r.depth == o.base {
			o.done = true
			return nil, io.EOF
		}
		more, err := o.r.more()
		if err != nil {
			return nil, err
		}
		if !more {
			if err := o.r.close1(); err != nil {
				return nil, err
			}
			continue
		}
		h, err := o.r.expect(universal, tagOctets, "OCTET STRING in an OCTET STRING")
		if err != nil {
			return nil, err
		}
		if h.cons {
			err = o.r.enter(h)
		} else if o.left = h.length; h.length < 0 {
			err = o.r.fault("a primitive element of indefinite length")
		}
		if err != nil {
			return nil, err
		}
	}
}

// Read implements io.Reader, for decompression.
func (o *octets) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if o.left == 0 {
		// Find the next non-empty segment and put it back.
		b, err := o.chunk()
		if err != nil {
			return 0, err
		}
		n := copy(p, b)
		o.r.r -= len(b) - n
		o.r.off -= int64(len(b) - n)
		o.left += int64(len(b) - n)
		o.n -= int64(len(b) - n)
		return n, nil
	}
	b, err := o.r.window(min(o.left, int64(len(p))))
	o.left -= int64(len(b))
	o.n += int64(len(b))
	return copy(p, b), err
}

// drain reads the rest.
func (o *octets) drain() error {
	for {
		if _, err := o.chunk(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}
