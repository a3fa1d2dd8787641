package cms

import "hoplite/internal/memory"

// capture returns, as DER, the element whose header has just been read,
// including the header.
func (r *reader) capture(h header, max int) ([]byte, error) {
	if h.length > int64(max) {
		return nil, r.fault("an element of %d octets where %d are allowed", h.length, max)
	}
	if h.length >= 0 {
		b := appendHeader(make([]byte, 0, int(h.length)+8), h)
		if b, err := r.append(b, h.length); err != nil {
			return nil, err
		} else {
			return r.der(b)
		}
	}
	if err := r.enter(h); err != nil {
		return nil, err
	}
	b := appendHeader(nil, h)
	for base := r.depth - 1; r.depth > base; {
		more, err := r.more()
		if err != nil {
			return nil, err
		}
		if !more {
			b = append(b, 0, 0)
			if err := r.close1(); err != nil {
				return nil, err
			}
			continue
		}
		h, err := r.next()
		if err != nil {
			return nil, err
		}
		if h.length > int64(max-len(b)) || len(b) > max {
			return nil, r.fault("an element larger than %d octets", max)
		}
		b = appendHeader(b, h)
		if h.length >= 0 {
			b, err = r.append(b, h.length)
		} else {
			err = r.enter(h)
		}
		if err != nil {
			return nil, err
		}
	}
	return r.der(b)
}

// parsed is the memory that an element needs, including its parsed form, for
// each of its octets.
const parsed = 3

func (r *reader) der(b []byte) ([]byte, error) {
	if !r.share.TryTake(parsed * int64(len(b))) {
		return nil, memory.ErrFull
	}
	b, err := toDER(b)
	if err != nil {
		return nil, r.fault("%v", err)
	}
	return b, nil
}

// append reads n octets and appends them to b.
func (r *reader) append(b []byte, n int64) ([]byte, error) {
	for n > 0 {
		p, err := r.window(n)
		if err != nil {
			return nil, err
		}
		b = append(b, p...)
		n -= int64(len(p))
	}
	return b, nil
}
