package milter

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"hoplite/filters"
	"hoplite/mail"
	"hoplite/mail/safe"
)

// Limits on the changes to one message.
const (
	maxTop     = 128 << 10
	maxChanges = 1000
)

// changes collects the changes a milter requests. None of them is applied
// before its final reply.
type changes struct {
	fields  []mail.Field // as sent to the milter, without dropped ones
	maxBody int64
	n       int

	first, last []byte // fields inserted at the top and added at the end
	drop        []mail.Span
	body        []byte
	newBody     bool
	from        *mail.Address
	add, del    []mail.Address
	quarantine  string
	lead        bool // values include their leading space
}

func newChanges(m *mail.Message, s *session, maxBody int64) *changes {
	c := &changes{maxBody: maxBody, lead: s.flags&leadSpace != 0}
	for f := range mail.Fields(m.Head) {
		gone := slices.ContainsFunc(m.Drop, func(d mail.Span) bool { return d.Start < f.End && f.Start < d.End })
		if f.Name != "" && !gone {
			c.fields = append(c.fields, f)
		}
	}
	return c
}

// take records one change.
func (c *changes) take(cmd byte, data []byte) error {
	if cmd != repBody {
		if c.n++; c.n > maxChanges {
			return errors.New("it makes more than 1000 changes")
		}
	}
	switch cmd {
	case repAddHeader:
		return c.field(&c.last, data)
	case repInsHeader:
		if len(data) < 4 {
			return errors.New("it inserts a field without a position")
		}
		return c.field(&c.first, data[4:])
	case repChgHeader:
		if len(data) < 4 {
			return errors.New("it changes a field without a position")
		}
		return c.change(binary.BigEndian.Uint32(data), data[4:])
	case repBody:
		if c.newBody = true; int64(len(c.body)+len(data)) > c.maxBody {
			return fmt.Errorf("its new body is larger than %d octets", c.maxBody)
		}
		c.body = append(c.body, data...)
	case repChgFrom:
		a, err := address(data)
		c.from = &a
		return err
	case repAddRcpt, repAddRcptArgs, repDelRcpt:
		a, err := address(data)
		if err != nil || a == "" {
			return fmt.Errorf("it changes a recipient that is not an address: %w", err)
		}
		if cmd == repDelRcpt {
			c.del = append(c.del, a)
		} else {
			c.add = append(c.add, a)
		}
	case repQuarantine:
		c.quarantine = "milter: " + safe.Log(string(bytes.TrimSuffix(data, []byte{0})))
	default:
		return fmt.Errorf("unknown reply %q", cmd)
	}
	return nil
}

func address(data []byte) (mail.Address, error) {
	w := words(data)
	if len(w) == 0 {
		return "", errors.New("no address")
	}
	s := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(w[0]), "<"), ">")
	if s == "" {
		return "", nil
	}
	return mail.ParseAddress(s)
}

// field appends a header field with the name and value that a milter sent.
func (c *changes) field(to *[]byte, data []byte) error {
	w := words(data)
	if len(w) < 2 || !validName(w[0]) {
		return fmt.Errorf("it adds a field with an invalid name: %.50q", w)
	}
	value := strings.ReplaceAll(strings.ReplaceAll(strings.TrimRight(w[1], "\r\n"), "\r\n", "\n"), "\r", " ")
	if len(c.first)+len(c.last)+len(value) > maxTop {
		return errors.New("it adds more than 128 KiB of fields")
	}
	if !c.lead || value == "" || value[0] != ' ' && value[0] != '\t' {
		value = " " + value
	}
	out := append(*to, w[0]+":"...)
	for i, line := range strings.Split(value, "\n") {
		if i > 0 {
			out = append(out, '\r', '\n')
			if line == "" || line[0] != ' ' && line[0] != '\t' {
				out = append(out, '\t') // the line would otherwise start a new field
			}
		}
		out = append(out, line...)
	}
	*to = append(out, '\r', '\n')
	return nil
}

func validName(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f || s[i] == ':' {
			return false
		}
	}
	return s != "" && len(s) <= 200
}

// change replaces or removes the n-th field of a name.
func (c *changes) change(n uint32, data []byte) error {
	w := words(data)
	if len(w) == 0 || !validName(w[0]) {
		return errors.New("it changes a field without a name")
	}
	count := uint32(0)
	for _, f := range c.fields {
		if !f.Is(w[0]) {
			continue
		}
		if count++; count == max(n, 1) {
			if !slices.Contains(c.drop, f.Span) {
				c.drop = append(c.drop, f.Span)
			}
			break
		}
	}
	if len(w) > 1 && w[1] != "" {
		return c.field(&c.last, data)
	}
	return nil
}

// apply turns the allowed changes into edits and returns the names of the
// others.
func (c *changes) apply(m *mail.Message, allowed []string) (e filters.Edits, refused []string) {
	may := func(what string, wanted bool) bool {
		if wanted && !slices.Contains(allowed, what) {
			refused = append(refused, what)
			return false
		}
		return wanted
	}
	if may("headers", len(c.first)+len(c.last)+len(c.drop) > 0) {
		e.Top = append(c.first, c.last...)
		e.Drop = c.drop
		slices.SortFunc(e.Drop, func(a, b mail.Span) int { return int(a.Start - b.Start) })
	}
	if may("sender", c.from != nil) {
		e.From = c.from
	}
	if may("recipients", len(c.add)+len(c.del) > 0) {
		e.AddRcpts, e.DropRcpts = c.add, c.del
	}
	if may("body", c.newBody) {
		e.Message = withBody(m, c.body)
	}
	return e, refused
}

// withBody returns the message with another body, whose lines end in CRLF.
func withBody(m *mail.Message, body []byte) *mail.Message {
	all := append(make([]byte, 0, len(m.Head)+len(body)+len(body)/32), m.Head...)
	if !bytes.HasSuffix(m.Head, []byte("\r\n\r\n")) && !bytes.Equal(m.Head, []byte("\r\n")) {
		all = append(all, '\r', '\n')
	}
	for len(body) > 0 {
		line := body
		if i := bytes.IndexByte(body, '\n'); i >= 0 {
			line, body = body[:i], body[i+1:]
		} else {
			body = nil
		}
		line = bytes.TrimRight(line, "\r")
		all = append(append(all, bytes.ReplaceAll(line, []byte("\r"), []byte(" "))...), '\r', '\n')
	}
	n := *m
	n.Base = mail.Bytes(all)
	n.LongLine = 0
	return &n
}
