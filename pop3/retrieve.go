package pop3

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"hoplite/maildrop"
)

// retr is RETR: file to socket in one pass.
func (s *session) retr(arg string) error {
	i, ok := s.number(arg)
	if !ok {
		return nil
	}
	r, ok := s.openMessage(i)
	if !ok {
		return nil
	}
	defer r.Close()
	s.ok("%d octets", r.Size())
	d := &dotWriter{w: s.w, start: true}
	n, err := r.WriteTo(d)
	if err != nil {
		return err
	}
	s.inbox.fetched[i] = true
	s.inbox.octets += n
	return d.end()
}

// top is TOP: the header, and some lines of the body (RFC 1939, 7).
func (s *session) top(arg string) error {
	first, lines, ok := twoNumbers(arg)
	if !ok {
		s.err("give a message number and how many lines")
		return nil
	}
	i, ok := s.number(first)
	if !ok {
		return nil
	}
	r, ok := s.openMessage(i)
	if !ok {
		return nil
	}
	defer r.Close()
	s.ok("top of message %d follows", i+1)
	d := &dotWriter{w: s.w, start: true}
	if err := copyTop(d, r, lines); err != nil {
		return err
	}
	return d.end()
}

// openMessage opens a message and answers when it is gone.
func (s *session) openMessage(i int) (*maildrop.Reader, bool) {
	r, err := s.inbox.folder.Read(s.inbox.msgs[i])
	if err == nil {
		return r, true
	}
	if errors.Is(err, maildrop.ErrNoMessage) {
		s.err("[SYS/TEMP] message %d is gone", i+1)
		return nil, false
	}
	s.log.Error().Err(err).Msg("pop3 message")
	s.err("[SYS/TEMP] message %d can't be read", i+1)
	return nil, false
}

// copyTop copies the header with its empty line, and n lines of the body.
func copyTop(w io.Writer, r io.Reader, n int64) error {
	br := bufio.NewReaderSize(r, 16<<10)
	body, start := false, true
	for !body || n > 0 {
		part, err := br.ReadSlice('\n')
		if _, werr := w.Write(part); werr != nil {
			return werr
		}
		whole := err == nil
		switch {
		case err == io.EOF:
			return nil
		case !whole && !errors.Is(err, bufio.ErrBufferFull):
			return err
		case whole && body:
			n--
		case whole && start && len(bytes.TrimRight(part, "\r\n")) == 0:
			body = true
		}
		start = whole
	}
	return nil
}

// dotWriter doubles dots at the beginning of lines (RFC 1939, 3). Line ends
// are CRLF already.
type dotWriter struct {
	w     *bufio.Writer
	start bool // at the beginning of a line
	any   bool
}

var lineDot = []byte("\n.")

func (d *dotWriter) Write(p []byte) (int, error) {
	n := len(p)
	if n == 0 {
		return 0, nil
	}
	if d.start && p[0] == '.' {
		if err := d.w.WriteByte('.'); err != nil {
			return 0, err
		}
	}
	d.start, d.any = p[n-1] == '\n', true
	for {
		i := bytes.Index(p, lineDot)
		if i < 0 {
			_, err := d.w.Write(p)
			return n, err
		}
		if _, err := d.w.Write(p[:i+1]); err != nil {
			return 0, err
		}
		if err := d.w.WriteByte('.'); err != nil {
			return 0, err
		}
		p = p[i+1:]
	}
}

// end finishes the answer; a message without a last line end gets one.
func (d *dotWriter) end() error {
	if d.any && !d.start {
		d.w.WriteString("\r\n")
	}
	_, err := d.w.WriteString(".\r\n")
	return err
}
