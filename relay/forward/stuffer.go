package forward

import (
	"bytes"
	"io"
)

// stuffer doubles each dot at the start of a line (RFC 5321, 4.5.2) and copies
// everything else unchanged.
type stuffer struct {
	w    io.Writer
	line bool // the next octet is the first of a line
}

var (
	dotLine = []byte("\n.")
	dot     = []byte(".")
)

// Write writes p with dot-stuffing. A line begins only after CRLF; bare CR and
// LF were refused or repaired on receipt.
func (s *stuffer) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	total := len(p)
	if s.line && p[0] == '.' {
		if _, err := s.w.Write(dot); err != nil {
			return 0, err
		}
	}
	for {
		i := bytes.Index(p, dotLine)
		if i < 0 {
			break
		}
		if _, err := s.w.Write(p[:i+2]); err != nil {
			return 0, err
		}
		if _, err := s.w.Write(dot); err != nil {
			return 0, err
		}
		p = p[i+2:]
	}
	s.line = len(p) > 0 && p[len(p)-1] == '\n'
	if _, err := s.w.Write(p); err != nil {
		return 0, err
	}
	return total, nil
}

// end writes the final dot, preceded by a line ending if the message lacks one.
func (s *stuffer) end() {
	if !s.line {
		io.WriteString(s.w, "\r\n")
	}
	io.WriteString(s.w, ".\r\n")
}
