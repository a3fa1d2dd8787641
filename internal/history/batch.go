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

// batch is lines on their way to the file, and their index entries, whose
// offsets count from the first line until moveTo.
type batch struct {
	lines, entries []byte
}

// add puts a line and the hashes of its keys at the end.
func (b *batch) add(line []byte, keys []uint64) {
	b.entries = appendEntries(b.entries, keys, int64(len(b.lines)))
	b.lines = append(b.lines, line...)
}

// moveTo makes the offsets those of a file in which the lines begin at base.
func (b *batch) moveTo(base int64) {
	for e := b.entries; len(e) > 0; e = e[entrySize:] {
		binary.LittleEndian.PutUint64(e[8:], binary.LittleEndian.Uint64(e[8:])+uint64(base))
	}
}

// reset empties the batch and keeps its memory, unless that is out of the ordinary.
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

// encoder makes a record's line and keys. Reflection over the same structs would
// take a tenth of all the time that a relayed message costs.
type encoder struct {
	log  zerolog.Logger // writes into line
	line []byte
	keys []uint64
}

var encoders = sync.Pool{New: func() any {
	e := &encoder{}
	e.log = zerolog.New(e)
	return e
}}

// Write takes the line from the encoder of the log.
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

// JSON is data as it stands in a record.
func JSON(data zerolog.LogObjectMarshaler) json.RawMessage {
	var e encoder
	log := zerolog.New(&e)
	log.Log().EmbedObject(data).Send()
	return e.line
}

// hash is FNV-1a of a kind and a key in lower case.
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
