package journal

import (
	"fmt"
)

// encode makes the record of ch. Large messages get their file here, so that
// many may be written at once.
func (l *Log) encode(ch Change) (op, error) {
	if !validID(ch.ID) {
		return op{}, fmt.Errorf("id %q cannot be a file name", ch.ID)
	}
	if len(ch.Meta) > maxMeta || len(ch.State) > maxMeta {
		return op{}, fmt.Errorf("envelope of %s is larger than 1 MiB", ch.ID)
	}
	o := op{kind: ch.Kind, id: ch.ID, buf: buffers.Get().(*[]byte)}
	b := beginRecord((*o.buf)[:0], ch.Kind, ch.ID)
	switch ch.Kind {
	case Put:
		m := ch.Message
		o.entry = &entry{
			meta: int64(len(ch.Meta)), kept: int64(len(ch.State)),
			head: m.Size() - m.Body().Size(), size: m.Size(),
			eightBit: m.EightBit, longLine: uint32(m.LongLine),
		}
		if o.entry.size > l.opt.Inline {
			o.entry.place, o.file = large, l.path(large, ch.ID)
			if err := l.writeLarge(ch.ID, o.file, m); err != nil {
				buffers.Put(o.buf)
				return op{}, err
			}
		}
		b = append(append(appendPutHead(b, o.entry), ch.Meta...), ch.State...)
		if o.entry.place == inline {
			var err error
			if b, err = appendMessage(b, m); err != nil {
				return op{}, err
			}
		}
	case Set:
		b = append(b, ch.State...)
	}
	o.rec = endRecord(b, 0, len(ch.ID), l.salt)
	*o.buf = o.rec
	if o.entry != nil {
		o.entry.rec = int64(len(o.rec))
	}
	return o, nil
}
