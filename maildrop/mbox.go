package maildrop

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/mail"
	"strconv"
	"strings"
	"time"
)

// mboxMessage is one message in an mbox file.
type mboxMessage struct {
	offset   int64 // offset of its From line
	text     []byte
	date     time.Time
	flags    Flags
	keywords []string
}

// maxMbox is the maximum size in octets of a message read from an mbox.
const maxMbox = 256 << 20

// ErrNotMbox is returned for a file that does not start with a From line.
var ErrNotMbox = errors.New("not an mbox file: its first line does not begin with \"From \"")

// mboxReader reads an mbox file. A message starts with a "From " line after an
// empty line. A Content-Length is trusted if it points to another From line or
// to the end of the file.
type mboxReader struct {
	r      *bufio.Reader
	offset int64  // offset of the next line
	from   []byte // From line that has already been read
	at     int64  // offset of from
}

func newMboxReader(r io.Reader) *mboxReader {
	return &mboxReader{r: bufio.NewReaderSize(r, 256<<10)}
}

// line reads a line of any length, including its line ending.
func (m *mboxReader) line() ([]byte, error) {
	line, err := m.r.ReadBytes('\n')
	m.offset += int64(len(line))
	if err == io.EOF && len(line) > 0 {
		err = nil
	}
	return line, err
}

// next returns the next message, or io.EOF if there are no more.
func (m *mboxReader) next() (*mboxMessage, error) {
	for m.from == nil {
		m.at = m.offset
		line, err := m.line()
		if err != nil {
			return nil, err
		}
		if isFrom(line) {
			m.from = line
		} else if len(bytes.TrimSpace(line)) > 0 {
			return nil, ErrNotMbox
		}
	}
	msg := &mboxMessage{offset: m.at, date: fromDate(string(m.from))}
	m.from = nil
	if err := m.header(msg); err != nil {
		return nil, err
	}
	if err := m.body(msg); err != nil {
		return nil, err
	}
	msg.readStatus()
	return msg, nil
}

// header reads the header, including the empty line after it.
func (m *mboxReader) header(msg *mboxMessage) error {
	for {
		line, err := m.line()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		msg.text = append(msg.text, line...)
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			return nil
		}
		if len(msg.text) > maxMbox {
			return fmt.Errorf("message at octet %d is larger than %d octets", msg.offset, maxMbox)
		}
	}
}

// body reads up to the next From line.
func (m *mboxReader) body(msg *mboxMessage) error {
	if n, ok := msg.contentLength(); ok && m.trust(n) {
		start := len(msg.text)
		msg.text = append(msg.text, make([]byte, n)...)
		k, err := io.ReadFull(m.r, msg.text[start:])
		m.offset += int64(k)
		msg.text = msg.text[:start+k]
		if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
			return err
		}
		return nil
	}
	empty := true // the previous line is empty
	for {
		at := m.offset
		line, err := m.line()
		if err == io.EOF {
			msg.text = cutEmptyLine(msg.text)
			return nil
		}
		if err != nil {
			return err
		}
		// A line in the text may also start with "From ", but only a real From
		// line contains a date.
		if empty && isFrom(line) && !fromDate(string(line)).IsZero() {
			m.from, m.at = line, at
			msg.text = cutEmptyLine(msg.text)
			return nil
		}
		empty = len(bytes.TrimRight(line, "\r\n")) == 0
		if rest := bytes.TrimLeft(line, ">"); len(rest) < len(line) && bytes.HasPrefix(rest, fromPrefix) {
			line = line[1:]
		}
		msg.text = append(msg.text, line...)
		if len(msg.text) > maxMbox {
			return fmt.Errorf("message at octet %d is larger than %d octets", msg.offset, maxMbox)
		}
	}
}

// cutEmptyLine removes the empty line that separates messages in an mbox.
func cutEmptyLine(text []byte) []byte {
	short := bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
	if bytes.HasSuffix(short, []byte("\n")) {
		return short
	}
	return text
}

// trust reports whether a body of n octets is followed by a From line or the
// end of the file. It returns false for bodies that do not fit into the buffer.
func (m *mboxReader) trust(n int64) bool {
	const tail = 8
	if n < 0 || n > int64(m.r.Size()-tail) {
		return false
	}
	b, err := m.r.Peek(int(n) + tail)
	if err != nil && err != io.EOF || int64(len(b)) < n {
		return false
	}
	rest := bytes.TrimLeft(b[n:], "\r\n")
	return len(rest) == 0 && err == io.EOF || bytes.HasPrefix(rest, fromPrefix)
}

var fromPrefix = []byte("From ")

func isFrom(line []byte) bool { return bytes.HasPrefix(line, fromPrefix) }

// fromDate returns the date in a From line, or the zero time if there is none.
func fromDate(line string) time.Time {
	fields := strings.Fields(line)
	for i := 2; i < len(fields); i++ {
		text := strings.Join(fields[i:], " ")
		for _, layout := range []string{"Mon Jan 2 15:04:05 2006", "Mon Jan 2 15:04:05 MST 2006", "Mon Jan 2 15:04:05 2006 -0700", "Mon Jan 2 15:04:05 -0700 2006"} {
			if t, err := time.Parse(layout, text); err == nil {
				return t
			}
		}
	}
	return time.Time{}
}

// field returns the value of the first header field with the given name.
func (msg *mboxMessage) field(name string) string {
	for line := range bytes.Lines(msg.text) {
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			return ""
		}
		if k, v, ok := bytes.Cut(line, []byte(":")); ok && strings.EqualFold(string(k), name) {
			return strings.TrimSpace(string(v))
		}
	}
	return ""
}

func (msg *mboxMessage) contentLength() (int64, bool) {
	n, err := strconv.ParseInt(msg.field("Content-Length"), 10, 63)
	return n, err == nil
}

// readStatus reads flags and keywords from the fields in which mail programs
// store them. If the From line has no date, it reads the date from the Date
// field.
func (msg *mboxMessage) readStatus() {
	for _, c := range msg.field("Status") + msg.field("X-Status") {
		switch c {
		case 'R':
			msg.flags |= Seen
		case 'A':
			msg.flags |= Answered
		case 'F':
			msg.flags |= Flagged
		case 'D':
			msg.flags |= Deleted
		case 'T':
			msg.flags |= Draft
		}
	}
	msg.keywords = strings.Fields(msg.field("X-Keywords"))
	if msg.date.IsZero() {
		msg.date, _ = mail.ParseDate(msg.field("Date"))
	}
	if msg.date.IsZero() || msg.date.Unix() < 0 {
		msg.date = time.Unix(0, 0)
	}
}

// outgoing is a message that is written to an mbox file.
type outgoing struct {
	date     time.Time
	flags    Flags
	keywords []string
	recent   bool // in new: no client has seen it yet
}

// writeMbox appends a message in mboxrd format. r contains its octets.
func writeMbox(w *bufio.Writer, m *outgoing, r io.Reader) error {
	fmt.Fprintf(w, "From MAILER-DAEMON %s\n", m.date.UTC().Format(time.ANSIC))
	br := bufio.NewReaderSize(r, 64<<10)
	head, last := true, byte('\n')
	for {
		line, err := br.ReadSlice('\n')
		if head && last == '\n' && isStatus(line) {
			line = nil // writeStatus writes the current ones
		}
		if len(line) > 0 {
			whole := last == '\n'
			if head && whole && len(bytes.TrimRight(line, "\r\n")) == 0 {
				head = false
				m.writeStatus(w)
			}
			if whole && bytes.HasPrefix(bytes.TrimLeft(line, ">"), fromPrefix) {
				w.WriteByte('>')
			}
			last = line[len(line)-1]
			if n := len(line); n >= 2 && line[n-2] == '\r' && last == '\n' {
				w.Write(line[:n-2])
				line = line[n-1:]
			}
			w.Write(line)
		}
		if err == io.EOF {
			break
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
	if head {
		if last != '\n' {
			w.WriteByte('\n')
			last = '\n'
		}
		m.writeStatus(w)
	}
	if last != '\n' {
		w.WriteByte('\n')
	}
	return w.WriteByte('\n')
}

// isStatus reports whether line is one of the fields that hold flags.
func isStatus(line []byte) bool {
	name, _, ok := bytes.Cut(line, []byte(":"))
	switch strings.ToLower(string(name)) {
	case "status", "x-status", "x-keywords", "content-length":
		return ok
	}
	return false
}

// writeStatus writes flags and keywords as header fields.
func (m *outgoing) writeStatus(w *bufio.Writer) {
	status, x := "O", ""
	if m.flags&Seen != 0 {
		status = "RO"
	}
	for _, f := range []struct {
		flag Flags
		c    string
	}{{Answered, "A"}, {Flagged, "F"}, {Draft, "T"}, {Deleted, "D"}} {
		if m.flags&f.flag != 0 {
			x += f.c
		}
	}
	if !m.recent {
		fmt.Fprintf(w, "Status: %s\n", status)
	}
	if x != "" {
		fmt.Fprintf(w, "X-Status: %s\n", x)
	}
	if len(m.keywords) > 0 {
		fmt.Fprintf(w, "X-Keywords: %s\n", strings.Join(m.keywords, " "))
	}
}
