package pop3

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"

	"hoplite/maildrop"
)

// handleRetr runs RETR (RFC 1939, 5). The message is copied from the file to
// the connection in one pass.
func handleRetr(s *session, in *inbox, arg string) error {
	i, r := s.openMessage(in, arg)
	if r == nil {
		return nil
	}
	defer r.Close()
	s.ok("%d octets", r.Size())
	n, err := s.sendMessage(func(w io.Writer) (int64, error) { return r.WriteTo(w) })
	if err == nil {
		in.fetched[i] = true
		in.octets += n
	}
	return err
}

// sendMessage sends a message as a multi-line response, with an ASCII header
// unless the client has sent UTF8. write writes the message and returns the number
// of octets.
func (s *session) sendMessage(write func(io.Writer) (int64, error)) (int64, error) {
	d := &dotWriter{w: s.w, start: true}
	if s.utf8 {
		n, err := write(d)
		if err != nil {
			return n, err
		}
		return n, d.end()
	}
	a := &asciiHeader{w: d}
	n, err := write(a)
	if err == nil {
		err = a.end()
	}
	if err != nil {
		return n, err
	}
	return n, d.end()
}

// handleTop runs TOP, which sends the header and some lines of the body (RFC
// 1939, 7).
func handleTop(s *session, in *inbox, arg string) error {
	number, lines, ok := parseTop(arg)
	if !ok {
		s.err("TOP needs a message number and a number of lines")
		return nil
	}
	i, r := s.openMessage(in, number)
	if r == nil {
		return nil
	}
	defer r.Close()
	s.ok("Top of message %d follows", i+1)
	_, err := s.sendMessage(func(w io.Writer) (int64, error) { return 0, copyTop(w, r, lines) })
	return err
}

// parseTop parses the arguments of TOP.
func parseTop(arg string) (number string, lines int64, ok bool) {
	number, rest, found := strings.Cut(arg, " ")
	lines, err := strconv.ParseInt(rest, 10, 63)
	return number, lines, found && err == nil && lines >= 0
}

// openMessage opens the message with the given number. If it cannot be opened,
// openMessage sends an error to the client and returns a nil Reader.
func (s *session) openMessage(in *inbox, number string) (i int, r *maildrop.Reader) {
	i, err := in.find(number)
	if err != nil {
		s.err("%s", err)
		return i, nil
	}
	r, err = in.folder.Read(in.messages[i])
	switch {
	case err == nil:
		return i, r
	case errors.Is(err, maildrop.ErrNoMessage):
		s.err("[SYS/TEMP] Message %d no longer exists", i+1)
	default:
		s.log.Error().Err(err).Msg("pop3 message")
		s.err("[SYS/TEMP] Message %d can't be read", i+1)
	}
	return i, nil
}

// copyTop copies the header, the empty line, and n lines of the body.
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

// dotWriter doubles dots at the beginning of lines (RFC 1939, 3). Its input
// must have CRLF line endings.
type dotWriter struct {
	w     *bufio.Writer
	start bool // at the beginning of a line
	any   bool // something has been written
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

// end ends the response. It adds a line ending if the message lacks a final
// one.
func (d *dotWriter) end() error {
	if d.any && !d.start {
		d.w.WriteString("\r\n")
	}
	_, err := d.w.WriteString(".\r\n")
	return err
}
