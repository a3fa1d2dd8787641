package imap

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"sync"

	"hoplite/imap/summary"
	"hoplite/internal/parallel"
	"hoplite/mail/mime"
	"hoplite/maildrop"
)

// maxSummary is the maximum size of a summary that is kept. Only a malicious
// header results in a larger one.
const maxSummary = 256 << 10

// Most headers fit into a head block, and most messages into a whole block.
var (
	headBlocks  = sync.Pool{New: func() any { return new([8 << 10]byte) }}
	wholeBlocks = sync.Pool{New: func() any { return new([64 << 10]byte) }}
)

// summaryOf returns a message's summary. The first call reads the message: only
// the header unless whole is set.
func summaryOf(folder *maildrop.Folder, m *maildrop.Message, whole bool) (s summary.Summary, err error) {
	known := summary.Summary(folder.Cached(m))
	switch {
	case !known.Valid():
		known = nil
	case known.Whole() || !whole:
		return known, nil
	}
	if whole {
		s, err = readMessage(folder, m, known)
	} else {
		s, err = readHeader(folder, m)
	}
	if err == nil && len(s) <= maxSummary {
		folder.Keep(m, s)
	}
	return s, err
}

// readMessage computes the summary of a whole message. known is the header's
// summary, or nil.
func readMessage(folder *maildrop.Folder, m *maildrop.Message, known summary.Summary) (summary.Summary, error) {
	block := wholeBlocks.Get().(*[64 << 10]byte)
	defer wholeBlocks.Put(block)
	if m.Size < int64(len(block)) {
		n, err := folder.Head(m, block[:])
		if err != nil {
			return nil, err
		}
		if n < len(block) {
			return summary.OfMessage(mime.WalkBytes(block[:n]), bytes.NewReader(block[:n]), known), nil
		}
	}
	src, err := openMessage(folder, m)
	if err != nil {
		return nil, err
	}
	defer src.close()
	t, err := src.walk()
	if err != nil {
		return nil, err
	}
	return summary.OfMessage(t, &src.file, known), nil
}

// readHeader computes the summary of a header.
func readHeader(folder *maildrop.Folder, m *maildrop.Message) (summary.Summary, error) {
	block := headBlocks.Get().(*[8 << 10]byte)
	defer headBlocks.Put(block)
	n, err := folder.Head(m, block[:])
	if err != nil {
		return nil, err
	}
	header := block[:n]
	if end := headerEnd(header); end >= 0 {
		header = header[:end]
	} else if n == len(block) {
		if header, err = longHeader(folder, m); err != nil {
			return nil, err
		}
	}
	return summary.OfHeader(header), nil
}

// longHeader returns the part of a long header that parsing the message
// retains.
func longHeader(folder *maildrop.Folder, m *maildrop.Message) ([]byte, error) {
	src, err := openMessage(folder, m)
	if err != nil {
		return nil, err
	}
	defer src.close()
	header, err := src.head()
	return header[:min(len(header), mime.MaxHeader)], err
}

// prepare computes missing summaries in parallel. idx holds indices in the
// view.
func (m *mailbox) prepare(c *call, idx []int, whole bool) error {
	folder := m.folder
	var missing []*maildrop.Message
	for _, i := range idx {
		msg := m.view.Messages[i]
		if s := summary.Summary(folder.Cached(msg)); !s.Valid() || whole && !s.Whole() {
			missing = append(missing, msg)
		}
	}
	if len(missing) < 2 {
		return nil
	}
	ctx, cancel := m.session().patience()
	defer cancel()
	p := c.begin(len(missing))
	defer p.end()
	return parallel.Do(len(missing), func(i int) error {
		p.step()
		if ctx.Err() != nil {
			return errSearchLimit
		}
		_, err := summaryOf(folder, missing[i], whole)
		if oneMessage(err) {
			return nil // reported when the message is sent
		}
		return err
	})
}

// oneMessage reports whether an error concerns only one message.
func oneMessage(err error) bool {
	return errors.Is(err, maildrop.ErrNoMessage) || errors.Is(err, maildrop.ErrUnreadable)
}

// threadID returns the id of a message's conversation, which is the same in
// every folder and never changes (RFC 8474, 5.2). It is derived from the first
// message in References, which later replies also refer to.
func threadID(m *maildrop.Message, s summary.Summary) string {
	return objectID('T', cmp.Or(s.Root(), m.GUID()))
}

// emailID returns the id of a message's content (RFC 8474, 5.1).
func emailID(m *maildrop.Message) string { return objectID('M', m.GUID()) }

// objectID returns an identifier in the form required by RFC 8474.
func objectID(kind byte, of string) string {
	sum := sha256.Sum256([]byte(of))
	return string(kind) + hex.EncodeToString(sum[:16])
}
