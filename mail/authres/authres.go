// Package authres reads and writes Authentication-Results (RFC 8601), and the
// same list inside ARC-Authentication-Results (RFC 8617).
//
// Start with [Parse], [Field] and [Ours]. The writer follows the grammar
// strictly. The reader also accepts common deviations, such as unquoted base64,
// and uses a bounded amount of memory.
package authres

import (
	"errors"
	"strings"

	"hoplite/mail"
)

// Limits on the reader.
const (
	maxValue   = mail.MaxField
	maxResults = 100
	maxProps   = 50
	maxDepth   = 20 // nesting of comments
)

// ErrSyntax is returned for a field that violates RFC 8601, 2.2.
var ErrSyntax = errors.New("not an Authentication-Results field")

// Header is the parsed value of one field.
type Header struct {
	ID      string // the authserv-id, or empty if it is missing
	Results []mail.AuthResult
}

// Parse parses the value of a field. If it returns an error, Header contains
// the results that precede the error.
func Parse(value []byte) (Header, error) {
	if len(value) > maxValue {
		return Header{}, ErrSyntax
	}
	s := &scanner{in: string(value)}
	h, err := s.header()
	return h, err
}

// scanner reads one value. It remembers the last comment it skipped.
type scanner struct {
	in      string
	at      int
	comment string
}

func (s *scanner) header() (h Header, err error) {
	s.cfws()
	if s.startsResult() {
		return s.results(h)
	}
	var ok bool
	if h.ID, ok = s.value(";"); !ok || h.ID == "" {
		return h, ErrSyntax
	}
	s.cfws()
	if s.peek() != ';' && s.peek() != 0 { // the version
		if v, ok := s.value(";"); !ok || strings.Trim(v, "0123456789") != "" {
			return h, ErrSyntax
		}
		s.cfws()
	}
	if s.peek() == 0 {
		return h, nil
	}
	if s.peek() != ';' {
		return h, ErrSyntax
	}
	s.at++
	return s.results(h)
}

// startsResult reports whether the field begins with a result instead of an
// authserv-id, as in the fields written by Microsoft 365.
func (s *scanner) startsResult() bool {
	ahead := *s
	switch strings.ToLower(ahead.word()) {
	case "spf", "dkim", "dmarc", "arc", "compauth":
		return ahead.peek() == '='
	}
	return false
}

// results reads the results after a semicolon, up to the end.
func (s *scanner) results(h Header) (Header, error) {
	for first := true; first || s.peek() != 0; first = false {
		if !first {
			if s.peek() != ';' {
				return h, ErrSyntax
			}
			s.at++
		}
		if len(h.Results) >= maxResults {
			return h, ErrSyntax
		}
		s.cfws()
		if s.peek() == 0 || s.peek() == ';' { // a stray semicolon
			continue
		}
		r, none, err := s.result()
		if err != nil {
			return h, err
		}
		if !none {
			h.Results = append(h.Results, r)
		}
	}
	return h, nil
}

// result parses method=result reason="..." ptype.property=value ...
func (s *scanner) result() (r mail.AuthResult, none bool, err error) {
	if r.Method = strings.ToLower(s.word()); r.Method == "" {
		return r, false, ErrSyntax
	}
	s.cfws()
	if s.peek() == '/' { // the method's version
		s.at++
		s.cfws()
		v := s.word()
		if v == "" || strings.Trim(v, "0123456789") != "" {
			return r, false, ErrSyntax
		}
		if v != "1" {
			r.Method += "/" + v
		}
		s.cfws()
	}
	if r.Method == "none" && (s.peek() == ';' || s.peek() == 0) {
		return r, true, nil
	}
	if s.peek() != '=' {
		return r, false, ErrSyntax
	}
	s.at++
	s.cfws()
	if r.Value = strings.ToLower(s.word()); r.Value == "" {
		return r, false, ErrSyntax
	}
	s.comment = ""
	s.cfws()
	r.Comment = s.comment
	for s.peek() != ';' && s.peek() != 0 {
		if err := s.prop(&r); err != nil {
			return r, false, err
		}
		s.cfws()
	}
	return r, false, nil
}

// prop parses a reason or one property.
func (s *scanner) prop(r *mail.AuthResult) error {
	typ := strings.ToLower(s.word())
	s.cfws()
	name := ""
	if s.peek() == '.' {
		s.at++
		s.cfws()
		name = strings.ToLower(s.word())
		s.cfws()
	}
	if typ == "" || s.peek() != '=' {
		return ErrSyntax
	}
	s.at++
	s.cfws()
	v, ok := s.value("")
	switch {
	case !ok:
		return ErrSyntax
	case name == "" && typ == "reason":
		r.Reason = v
	case name == "": // as in "action=none" of Microsoft 365: it says nothing about a property
	case len(r.Props) >= maxProps:
		return ErrSyntax
	default:
		r.Props = append(r.Props, mail.AuthProp{Type: typ, Name: name, Value: v})
	}
	return nil
}

func (s *scanner) peek() byte {
	if s.at < len(s.in) {
		return s.in[s.at]
	}
	return 0
}

// word reads a Keyword (RFC 5321, 4.1.2), in which underscores are also
// allowed.
func (s *scanner) word() string {
	start := s.at
	for s.at < len(s.in) {
		c := s.in[s.at]
		if c != '-' && c != '_' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			break
		}
		s.at++
	}
	return s.in[start:s.at]
}

// value reads a quoted string, or the text up to a space, a semicolon or a
// comment.
func (s *scanner) value(stop string) (string, bool) {
	if s.peek() == '"' {
		return s.quoted()
	}
	start := s.at
	for s.at < len(s.in) {
		c := s.in[s.at]
		if c <= ' ' || c == ';' || c == '(' || c == 0x7f || strings.IndexByte(stop, c) >= 0 {
			break
		}
		if c == '"' { // "odd local part"@domain
			if _, ok := s.quoted(); !ok {
				return "", false
			}
			continue
		}
		s.at++
	}
	return s.in[start:s.at], true
}

func (s *scanner) quoted() (string, bool) {
	start := s.at
	var b strings.Builder
	for s.at++; s.at < len(s.in); s.at++ {
		switch c := s.in[s.at]; c {
		case '"':
			s.at++
			if s.peek() == '@' { // a quoted local part
				local := s.in[start:s.at]
				domain, ok := s.value("")
				return local + domain, ok
			}
			return b.String(), true
		case '\\':
			if s.at++; s.at == len(s.in) {
				return "", false
			}
			b.WriteByte(s.in[s.at])
		case '\r', '\n':
		default:
			b.WriteByte(c)
		}
	}
	return "", false
}

// cfws skips white space and comments.
func (s *scanner) cfws() {
	for s.at < len(s.in) {
		switch c := s.in[s.at]; {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			s.at++
		case c == '(':
			s.skipComment()
		default:
			return
		}
	}
}

func (s *scanner) skipComment() {
	start, depth := s.at+1, 0
	for ; s.at < len(s.in); s.at++ {
		switch s.in[s.at] {
		case '\\':
			s.at++
		case '(':
			depth++
		case ')':
			depth--
		}
		if depth == 0 || depth > maxDepth {
			break
		}
	}
	end := min(s.at, len(s.in))
	if depth == 0 {
		s.comment = unfold(s.in[start:end])
		s.at++
		return
	}
	s.at = len(s.in) // unterminated
}

func unfold(s string) string { return strings.NewReplacer("\r", "", "\n", "").Replace(s) }
