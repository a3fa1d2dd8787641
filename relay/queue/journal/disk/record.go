package disk

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"sync"

	"hoplite/mail"
	"hoplite/relay/queue/journal"
)

// kind is the type of a record. The numbers are stored on disk; the first three
// match those of journal.Kind.
type kind uint8

const (
	kindPut        = kind(journal.Put)
	kindSet        = kind(journal.Set)
	kindDone       = kind(journal.Done)
	kindKeep  kind = 4 // a survivor of a reclaimed segment
	kindFirst kind = 5 // begins a batch
)

// The layout of a record, in little endian:
//
//	0  magic   "hqr1"
//	4  crc     CRC32C of the segment's salt and of everything from 8 on
//	8  kind    1 octet, length of the id 1 octet, 2 octets of zero
//	12 length  of the payload
//	16 id, payload
//
// A batch begins with a first record, whose payload is the segment's number
// (8), the octets of the records that follow (8), and the CRC32C of their CRCs
// (4). So a batch is either complete or absent, and earlier content of the file
// is never mistaken for one.
//
// The payload of put and keep begins with putHead octets: place, flags, 2 of
// zero, longest line (4), length of meta (4), length of the message's header
// (4), size of the message (8), length of state (4), 4 of zero. Meta, state and,
// if it is inline, the message follow.
const (
	recordMagic = "hqr1"
	recordHead  = 16
	putHead     = 32
	firstSize   = recordHead + 20 // size of a first record
	maxMeta     = 1 << 20         // maximum size of meta and of state
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// newSalt returns the random seed for the checksums of this run. Senders cannot
// guess it, so no message text can be mistaken for a record.
func newSalt() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return binary.LittleEndian.Uint64(b[:])
}

func checksum(salt uint64, p []byte) uint32 {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], salt)
	return crc32.Update(crc32.Update(0, castagnoli, b[:]), castagnoli, p)
}

// buffers is a pool of memory for records. Without it, records would account
// for most of the garbage at 10,000 messages per second.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 8<<10); return &b }}

// beginRecord appends the start of a record to b. The caller appends the
// payload.
func beginRecord(b []byte, k kind, id string) []byte {
	b = append(b, recordMagic...)
	b = append(b, 0, 0, 0, 0, byte(k), byte(len(id)), 0, 0, 0, 0, 0, 0)
	return append(b, id...)
}

// endRecord fills in the length and the checksum of the record at start.
func endRecord(b []byte, start, idLen int, salt uint64) []byte {
	r := b[start:]
	binary.LittleEndian.PutUint32(r[12:], uint32(len(r)-recordHead-idLen))
	binary.LittleEndian.PutUint32(r[4:], checksum(salt, r[8:]))
	return b
}

// batchHead holds the fields of a first record.
type batchHead struct {
	num    uint64 // of the segment
	octets int64  // number of octets after the first record
	sum    uint32
}

// add includes a record in the batch.
func (h *batchHead) add(rec []byte) {
	h.octets += int64(len(rec))
	h.sum = crc32.Update(h.sum, castagnoli, rec[4:8])
}

// append adds the first record to b.
func (h *batchHead) append(b []byte, salt uint64) []byte {
	start := len(b)
	b = binary.LittleEndian.AppendUint64(beginRecord(b, kindFirst, ""), h.num)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.octets))
	return endRecord(binary.LittleEndian.AppendUint32(b, h.sum), start, 0, salt)
}

// batchHead reads the payload of a first record; ok is false for any other
// record.
func (r *record) batchHead() (h batchHead, ok bool) {
	if r.kind != kindFirst || r.size != firstSize {
		return h, false
	}
	h.num = binary.LittleEndian.Uint64(r.payload)
	h.octets = int64(binary.LittleEndian.Uint64(r.payload[8:]))
	h.sum = binary.LittleEndian.Uint32(r.payload[16:])
	return h, h.octets >= 0
}

// appendPutHead appends the fixed part of a put or keep record's payload.
func appendPutHead(b []byte, e *entry) []byte {
	flags := byte(0)
	if e.eightBit {
		flags = 1
	}
	b = append(b, byte(e.place), flags, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, e.longLine)
	b = binary.LittleEndian.AppendUint32(b, uint32(e.meta))
	b = binary.LittleEndian.AppendUint32(b, uint32(e.head))
	b = binary.LittleEndian.AppendUint64(b, uint64(e.size))
	b = binary.LittleEndian.AppendUint32(b, uint32(e.kept))
	return append(b, 0, 0, 0, 0)
}

// appendMessage appends m with all edits, as it is sent.
func appendMessage(b []byte, m *mail.Message) ([]byte, error) {
	b = m.AppendHeader(b)
	if base, ok := m.Base.(mail.Bytes); ok {
		return append(b, base[len(m.Head):]...), nil
	}
	body := m.Body()
	n, size := len(b), int(body.Size())
	b = slices.Grow(b, size)[:n+size]
	if _, err := io.ReadFull(body, b[n:]); err != nil {
		return nil, fmt.Errorf("read message: %w", err)
	}
	return b, nil
}

// record is a parsed record. Its payload points into the buffer that it was
// read from.
type record struct {
	kind    kind
	id      string
	payload []byte
	size    int64 // in the file
}

var (
	errShort = errors.New("record is longer than the octets read so far")
	errBad   = errors.New("not a record")
)

// parseRecord reads the record at the start of b. After errShort, more octets
// may complete the record. After errBad they cannot, and size is the number of
// octets whose checksum was computed and did not match.
func parseRecord(b []byte, salt uint64) (record, error) {
	if n := min(len(b), len(recordMagic)); string(b[:n]) != recordMagic[:n] {
		return record{}, errBad
	}
	if len(b) < recordHead {
		return record{}, errShort
	}
	k, idLen := kind(b[8]), int(b[9])
	length := int64(binary.LittleEndian.Uint32(b[12:]))
	if k < kindPut || k > kindFirst || idLen > journal.MaxID || length > maxRecord {
		return record{}, errBad
	}
	size := recordHead + int64(idLen) + length
	if int64(len(b)) < size {
		return record{}, errShort
	}
	if checksum(salt, b[8:size]) != binary.LittleEndian.Uint32(b[4:]) {
		return record{size: size}, errBad
	}
	return record{
		kind: k, id: string(b[recordHead : recordHead+idLen]),
		payload: b[recordHead+idLen : size], size: size,
	}, nil
}

// maxRecord is the maximum size of a record, in case its length field is
// damaged.
const maxRecord = 64 << 20

// entry reads the payload of a put or keep record.
func (r *record) entry() (e entry, meta, state []byte, err error) {
	p := r.payload
	if len(p) < putHead {
		return e, nil, nil, errBad
	}
	e = entry{
		place: place(p[0]), eightBit: p[1]&1 != 0,
		longLine: binary.LittleEndian.Uint32(p[4:]),
		meta:     int64(binary.LittleEndian.Uint32(p[8:])),
		head:     int64(binary.LittleEndian.Uint32(p[12:])),
		size:     int64(binary.LittleEndian.Uint64(p[16:])),
		kept:     int64(binary.LittleEndian.Uint32(p[24:])),
		rec:      r.size,
	}
	rest := int64(len(p) - putHead)
	want := e.meta + e.kept
	if e.place == inline {
		want += e.size
	}
	if e.place > deferred || e.head > e.size || e.size < 0 || want != rest {
		return e, nil, nil, errBad
	}
	meta = p[putHead : putHead+e.meta]
	if e.kept > 0 {
		state = p[putHead+e.meta : putHead+e.meta+e.kept]
	}
	return e, meta, state, nil
}

// nextMagic returns the offset of the first possible record after b's first
// octet. If there is none, it returns the offset at which b might contain the
// start of a truncated magic.
func nextMagic(b []byte) int {
	if i := bytes.Index(b[1:], []byte(recordMagic)); i >= 0 {
		return i + 1
	}
	return max(1, len(b)-len(recordMagic)+1)
}
