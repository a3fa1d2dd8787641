// Package summary extracts the message data that FETCH, SEARCH, SORT and THREAD
// need, so that it can be computed once and kept by the store: the encoded
// ENVELOPE and BODYSTRUCTURE, the preview, the keys that SORT and THREAD
// compare, and the fields that SEARCH examines.
//
// The package builds a Summary from a message's octets and reads texts from it.
// Opening files and caching are left to package imap. Start with OfHeader and
// OfMessage; fields.go builds the texts.
package summary

import (
	"bytes"
	"encoding/binary"
	"io"
	"sync"
	"time"

	"hoplite/mail/mime"
)

// Summary consists of a version octet, a table of offsets, and the texts. Most
// texts come from the header, so a summary is first built from the header
// alone; Body, Structure and Preview stay empty until one of them is needed.
//
// Summaries are stored on disk, so any change to their format or content
// requires a new version.
type Summary []byte

const version = 6

// Text selects one of the texts in a Summary.
type Text int

// The texts, in the order in which they are stored.
const (
	Envelope    Text = iota // encoded ENVELOPE
	Body                    // encoded BODY
	Structure               // encoded BODYSTRUCTURE
	Preview                 // UTF-8
	sent                    // Date field; see Sent
	Subject                 // base subject, upper case (RFC 5256, 2.1)
	reply                   // not empty if the subject marks a reply or forward
	MailFrom                // local part of the first address, upper case
	MailTo                  //
	MailCc                  //
	ShowFrom                // display form of the first address, upper case (RFC 5957)
	ShowTo                  //
	MessageID               // without brackets
	references              // from References or In-Reply-To, one per line
	FindSubject             // all Subject fields, decoded and folded, for SEARCH
	FindFrom
	FindTo
	FindCc
	FindBcc
	count
)

const head = 1 + 4*(int(count)+1)

// Text returns the text t. The summary must be valid.
func (s Summary) Text(t Text) []byte {
	at := s[1+4*int(t):]
	return s[binary.LittleEndian.Uint32(at):binary.LittleEndian.Uint32(at[4:])]
}

// Valid reports whether stored octets are a summary of the current version.
func (s Summary) Valid() bool {
	if len(s) < head || s[0] != version {
		return false
	}
	last := uint32(head)
	for i := range int(count) + 1 {
		off := binary.LittleEndian.Uint32(s[1+4*i:])
		if off < last || off > uint32(len(s)) {
			return false
		}
		last = off
	}
	return true
}

// Whole reports whether the summary includes the texts derived from the body.
func (s Summary) Whole() bool { return len(s.Text(Body)) > 0 }

// Reply reports whether the subject marks a reply or forward.
func (s Summary) Reply() bool { return len(s.Text(reply)) > 0 }

// Dated reports whether the message has a valid Date field.
func (s Summary) Dated() bool { return len(s.Text(sent)) == 16 }

// Sent returns the time in the Date field in seconds since 1970, and its day in
// its own time zone, as returned by Day. If there is no valid Date field, both
// are taken from the internal date (RFC 5256, 2.2).
func (s Summary) Sent(internal time.Time) (unix, onDay int64) {
	if t := s.Text(sent); len(t) == 16 {
		return int64(binary.LittleEndian.Uint64(t)), int64(binary.LittleEndian.Uint64(t[8:]))
	}
	return internal.Unix(), Day(internal)
}

// References returns the ids of the messages that this message refers to,
// oldest first, separated by newlines.
func (s Summary) References() []byte { return s.Text(references) }

// Root returns the id of the message that started the conversation: the first
// reference if there is one, otherwise the message's own id, or "" if it has
// neither.
func (s Summary) Root() string {
	root, _, _ := bytes.Cut(s.Text(references), []byte("\n"))
	if len(root) == 0 {
		root = s.Text(MessageID)
	}
	return string(root)
}

// Day returns the date of t in its time zone, in days since 1970.
func Day(t time.Time) int64 {
	_, zone := t.Zone()
	n := t.Unix() + int64(zone)
	if n < 0 {
		n -= 86399
	}
	return n / 86400
}

// rooms holds scratch buffers for structures and previews.
var rooms = sync.Pool{New: func() any { return new([8 << 10]byte) }}

// OfHeader returns the summary of a header.
func OfHeader(header []byte) Summary {
	var texts [count][]byte
	headerTexts(&texts, header)
	return assemble(&texts)
}

// OfMessage returns the summary of a whole message. The tree describes file;
// known is the header's summary, or nil if there is none.
func OfMessage(tree *mime.Tree, file io.ReaderAt, known Summary) Summary {
	var texts [count][]byte
	if known == nil {
		headerTexts(&texts, tree.Root.Raw)
	} else {
		for t := range texts {
			texts[t] = known.Text(Text(t))
		}
	}
	room := rooms.Get().(*[8 << 10]byte)
	defer rooms.Put(room)
	texts[Body] = mime.AppendStructure(room[:0], tree.Root, false)
	texts[Structure] = mime.AppendStructure(room[min(len(texts[Body]), len(room)):][:0], tree.Root, true)
	texts[Preview] = []byte(preview(file, tree))
	return assemble(&texts)
}

func assemble(texts *[count][]byte) Summary {
	size := head
	for _, text := range texts {
		size += len(text)
	}
	s := make(Summary, head, size)
	s[0] = version
	for i, text := range texts {
		binary.LittleEndian.PutUint32(s[1+4*i:], uint32(len(s)))
		s = append(s, text...)
	}
	binary.LittleEndian.PutUint32(s[1+4*int(count):], uint32(len(s)))
	return s
}
