package history

import (
	"encoding/binary"
	"encoding/json"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/rs/zerolog"
)

// batch holds lines for the file and their index entries, whose offsets are relative
// to the first line until moveTo is called.
type batch struct {
	lines, entries []byte
}

// add appends a line and the hashes of its keys.
func (b *batch) add(line []byte, keys []uint64) {
	b.entries = appendEntries(b.entries, keys, int64(len(b.lines)))
	b.lines = append(b.lines, line...)
}

// moveTo makes the offsets absolute. The lines start at offset base.
func (b *batch) moveTo(base int64) {
	for e := b.entries; len(e) > 0; e = e[entrySize:] {
		binary.LittleEndian.PutUint64(e[8:], binary.LittleEndian.Uint64(e[8:])+uint64(base))
	}
}

// reset empties the batch and keeps its memory, unless it has grown unusually
// large.
func (b *batch) reset() {
	if cap(b.lines) > 4*batchSize {
		*b = batch{}
	}
	b.lines, b.entries = b.lines[:0], b.entries[:0]
}

func appendEntries(to []byte, keys []uint64, off int64) []byte {
	for _, k := range keys {
		to = binary.LittleEndian.AppendUint64(to, k)
		to = binary.LittleEndian.AppendUint64(to, uint64(off))
	}
	return to
}

// encoder encodes a record and hashes its keys. It avoids encoding/json because
// it runs for every relayed message (see mail/story).
type encoder struct {
	log  zerolog.Logger // writes to line
	line []byte
	keys []uint64
}

var encoders = sync.Pool{New: func() any {
	e := &encoder{}
	e.log = zerolog.New(e)
	return e
}}

// Write receives the line from the logger.
func (e *encoder) Write(p []byte) (int, error) {
	e.line = append(e.line[:0], p...)
	return len(p), nil
}

func (e *encoder) encode(r *Record, data zerolog.LogObjectMarshaler) {
	var at [len(time.RFC3339Nano) + 8]byte
	line := e.log.Log().Str("id", r.ID).RawJSON("at", r.At.AppendFormat(at[:0], `"`+time.RFC3339Nano+`"`)).Str("kind", r.Kind)
	if r.MessageID != "" {
		line.Str("message_id", r.MessageID)
	}
	if r.From != "" {
		line.Str("from", r.From)
	}
	if len(r.To) > 0 {
		line.Strs("to", r.To)
	}
	if data != nil {
		line.Object("data", data)
	}
	line.Send()
	e.keys = r.hashes(e.keys[:0])
}

// JSON returns data as encoded in a record.
func JSON(data zerolog.LogObjectMarshaler) json.RawMessage {
	var e encoder
	log := zerolog.New(&e)
	log.Log().EmbedObject(data).Send()
	return e.line
}

// hash returns the FNV-1a hash of a kind and a key in lower case.
func hash(kind byte, key string) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211
	if strings.ContainsFunc(key, func(r rune) bool { return r >= utf8.RuneSelf }) {
		key = strings.ToLower(key)
	}
	h := (offset ^ uint64(kind)) * prime
	for i := range len(key) {
		c := key[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		h = (h ^ uint64(c)) * prime
	}
	return h
}
