package pop3

import (
	"bytes"
	"io"

	"hoplite/mail"
	"hoplite/mail/downgrade"
)

// maxHeader is the maximum size of a header that is rewritten. A larger one is
// sent as stored.
const maxHeader = 1 << 20

// asciiHeader rewrites the header of a message in ASCII, for a client that has
// not sent UTF8 (RFC 6856, 2.1). A header that is in ASCII is not changed. The
// body follows as stored, with the headers of its parts.
type asciiHeader struct {
	w    io.Writer
	head []byte // what has been written so far, if the header has not ended
	body bool
}

var headerEnd = []byte("\r\n\r\n")

// Write implements io.Writer.
func (a *asciiHeader) Write(p []byte) (int, error) {
	if a.body {
		return a.w.Write(p)
	}
	text := p
	if len(a.head) > 0 {
		a.head = append(a.head, p...)
		text = a.head
	}
	end := len(text)
	if bytes.HasPrefix(text, headerEnd[:2]) {
		end = 0
	} else if i := bytes.Index(text, headerEnd); i >= 0 {
		end = i + len("\r\n")
	} else if end < maxHeader {
		if len(a.head) == 0 {
			a.head = append(a.head, p...)
		}
		return len(p), nil
	}
	a.body = true
	if err := a.send(text[:end], text[end:]); err != nil {
		return 0, err
	}
	return len(p), nil
}

// send writes the header and the beginning of the body.
func (a *asciiHeader) send(header, rest []byte) error {
	if !downgrade.ASCII(header) && len(header) < maxHeader {
		var out bytes.Buffer
		for f := range mail.Fields(header) {
			out.Write(downgrade.Shown(f))
		}
		header = out.Bytes()
	}
	a.head = nil
	if _, err := a.w.Write(header); err != nil {
		return err
	}
	_, err := a.w.Write(rest)
	return err
}

// end writes the header of a message that consists only of a header.
func (a *asciiHeader) end() error {
	if a.body {
		return nil
	}
	a.body = true
	return a.send(a.head, nil)
}
