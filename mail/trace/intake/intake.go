// Package intake extracts a header block from pasted or uploaded text: a
// message file, an mbox, a header copied from a mail program without its
// folding, a quoted or quoted-printable copy of a header, an Outlook .msg file,
// or a bounce. Start with Read, which reports the repairs it made. Interpreting
// the header is left to mail/trace.
package intake

import (
	"bytes"
	"context"
	"fmt"
	"html"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// MaxInput is the number of bytes read of an input, and maxFields that of the
// fields of its header, as many as mail/trace reads.
const (
	MaxInput  = 64 << 20
	maxFields = 20_000
)

// Input is one pasted or uploaded message.
type Input struct {
	// Head is the header block with its folding, without the empty line
	// that ends it. Body is the rest of the message.
	Head, Body []byte
	// Repairs describes the repairs that were made.
	Repairs []string
	// Pasted is set if the text is an imperfect copy, in which fields may
	// be missing and signatures broken.
	Pasted bool
	// Outlook is set if the input is an Outlook .msg file, which preserves the
	// header but not the original body.
	Outlook bool
	// Messages is the number of messages in the input. Head is the header
	// of the first.
	Messages int
	// Bounce is set if the message is a report about another message.
	Bounce *Bounce
}

func (in *Input) repaired(format string, args ...any) {
	in.Repairs = append(in.Repairs, fmt.Sprintf(format, args...))
}

// pasted records a repair that shows that the input is an imperfect copy.
func (in *Input) pasted(format string, args ...any) {
	in.Pasted = true
	in.repaired(format, args...)
}

// Message returns the header and body together.
func (in *Input) Message() []byte {
	end := "\n"
	if bytes.HasSuffix(in.Head, []byte("\r\n")) {
		end = "\r\n"
	}
	whole := make([]byte, 0, len(in.Head)+len(in.Body)+4)
	whole = append(whole, in.Head...)
	if len(in.Head) > 0 && in.Head[len(in.Head)-1] != '\n' {
		whole = append(whole, end...)
	}
	return append(append(whole, end...), in.Body...)
}

// Read extracts a message from raw. It returns an error only if there is no
// header field or ctx is done.
func Read(ctx context.Context, raw []byte) (*Input, error) {
	in := &Input{Messages: 1}
	if len(raw) > MaxInput {
		raw = raw[:MaxInput]
		in.repaired("only the first %d MiB were read", MaxInput>>20)
	}
	if bytes.HasPrefix(raw, oleMagic) {
		if err := in.readMsg(ctx, raw); err != nil {
			return nil, err
		}
		return in, nil
	}
	text, err := steps(ctx, raw, in.characters, in.lineEnds, in.envelope, in.intro, in.quoting)
	if err != nil {
		return nil, err
	}
	head, body := split(text)
	head, in.Body = in.doubleSpaced(head, body)
	in.Head, err = steps(ctx, head, in.quotedPrintable, in.entities, in.spaces, in.oneLine, in.folding, in.firstFields)
	if err != nil {
		return nil, err
	}
	if !hasField(in.Head) {
		return nil, fmt.Errorf("no header field found: this is not a message")
	}
	in.Bounce = readBounce(in.Head, in.Body)
	return in, ctx.Err()
}

// steps makes repairs one after the other, until ctx is done.
func steps(ctx context.Context, b []byte, repairs ...func([]byte) []byte) ([]byte, error) {
	for _, repair := range repairs {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		b = repair(b)
	}
	return b, nil
}

// characters converts UTF-16 to UTF-8 and removes a byte order mark.
func (in *Input) characters(b []byte) []byte {
	switch {
	case bytes.HasPrefix(b, []byte{0xef, 0xbb, 0xbf}):
		in.repaired("byte order mark removed")
		return b[3:]
	case bytes.HasPrefix(b, []byte{0xff, 0xfe}), bytes.HasPrefix(b, []byte{0xfe, 0xff}):
		in.repaired("UTF-16 converted")
		return fromUTF16(b[2:], b[0] == 0xfe)
	case len(b) >= 8 && b[1] == 0 && b[3] == 0 && b[5] == 0 && b[7] == 0:
		in.repaired("UTF-16 converted")
		return fromUTF16(b, false)
	}
	return b
}

func fromUTF16(b []byte, big bool) []byte {
	units := make([]uint16, len(b)/2)
	for i := range units {
		if big {
			units[i] = uint16(b[2*i])<<8 | uint16(b[2*i+1])
		} else {
			units[i] = uint16(b[2*i+1])<<8 | uint16(b[2*i])
		}
	}
	out := make([]byte, 0, len(units))
	for _, r := range utf16.Decode(units) {
		out = utf8.AppendRune(out, r)
	}
	return out
}

// lineEnds converts lone CRs to LFs and removes empty lines at the start.
func (in *Input) lineEnds(b []byte) []byte {
	if bytes.IndexByte(b, '\n') < 0 && bytes.IndexByte(b, '\r') >= 0 {
		in.repaired("classic Mac OS line endings replaced")
		b = bytes.ReplaceAll(b, []byte{'\r'}, []byte{'\n'})
	}
	trimmed := bytes.TrimLeft(b, "\r\n")
	if len(trimmed) < len(b) {
		in.repaired("empty lines before the header removed")
	}
	return trimmed
}

// envelope removes the "From " line of an mbox, and everything after the first
// message.
func (in *Input) envelope(b []byte) []byte {
	if !bytes.HasPrefix(b, []byte("From ")) && !bytes.HasPrefix(b, []byte(">From ")) {
		return b
	}
	nl := bytes.IndexByte(b, '\n')
	if nl < 0 {
		return b
	}
	b = b[nl+1:]
	in.repaired("mbox \"From \" line removed")
	rest := b
	for {
		i := bytes.Index(rest, []byte("\nFrom "))
		if i < 0 {
			break
		}
		end := len(b) - len(rest) + i + 1
		before := bytes.TrimRight(b[:end], "\r")
		if bytes.HasSuffix(before, []byte("\n\n")) || bytes.HasSuffix(before, []byte("\n\r\n")) {
			in.Messages++
			if in.Messages == 2 {
				in.repaired("mbox with several messages: only the first is shown")
				first := b[:end]
				in.countMessages(b[end:])
				return first
			}
		}
		rest = rest[i+1:]
	}
	return b
}

func (in *Input) countMessages(b []byte) {
	in.Messages += bytes.Count(b, []byte("\n\nFrom ")) + bytes.Count(b, []byte("\n\r\nFrom "))
}

// quoting removes "> " from the start of every line, and common indentation.
func (in *Input) quoting(b []byte) []byte {
	for range 5 {
		lines := bytes.SplitAfter(b, []byte{'\n'})
		quoted, n := 0, 0
		for _, l := range lines[:min(len(lines), 40)] {
			if len(bytes.TrimSpace(l)) == 0 {
				continue
			}
			n++
			if l[0] == '>' {
				quoted++
			}
		}
		if n == 0 || quoted*10 < n*9 {
			break
		}
		for i, l := range lines {
			if len(l) > 0 && l[0] == '>' {
				if l = l[1:]; len(l) > 0 && l[0] == ' ' {
					l = l[1:]
				}
				lines[i] = l
			}
		}
		b = bytes.Join(lines, nil)
		in.pasted("quote marks removed")
	}
	return in.dedent(b)
}

func (in *Input) dedent(b []byte) []byte {
	indent := len(b) - len(bytes.TrimLeft(b, " \t"))
	if indent == 0 || indent > 40 || indent == len(b) {
		return b
	}
	prefix := b[:indent]
	lines := bytes.SplitAfter(b, []byte{'\n'})
	for i, l := range lines {
		if bytes.HasPrefix(l, prefix) {
			lines[i] = l[indent:]
		}
	}
	in.pasted("indentation removed")
	return bytes.Join(lines, nil)
}

// split separates header and body at the first empty line.
func split(b []byte) (head, body []byte) {
	for i := 0; i < len(b); {
		nl := bytes.IndexByte(b[i:], '\n')
		if nl < 0 {
			break
		}
		next := i + nl + 1
		if rest := b[next:]; len(rest) > 0 && rest[0] == '\n' {
			return b[:next], rest[1:]
		} else if len(rest) > 1 && rest[0] == '\r' && rest[1] == '\n' {
			return b[:next], rest[2:]
		}
		i = next
	}
	return b, nil
}

// doubleSpaced repairs headers pasted with an empty line after each line.
func (in *Input) doubleSpaced(head, body []byte) ([]byte, []byte) {
	if bytes.Count(head, []byte{'\n'}) > 1 || len(body) == 0 {
		return head, body
	}
	var joined []byte
	joined = append(joined, head...)
	rest, fields := body, 0
	for {
		one, after := split(rest)
		line := bytes.TrimRight(one, "\r\n")
		if bytes.IndexByte(line, '\n') >= 0 || len(line) == 0 || !isField(line) && line[0] != ' ' && line[0] != '\t' {
			break
		}
		joined = append(append(joined, line...), '\n')
		rest = after
		if fields++; after == nil || fields > 20_000 {
			break
		}
	}
	if fields < 2 {
		return head, body
	}
	in.pasted("empty lines between header lines removed")
	return joined, rest
}

// quotedPrintable decodes a quoted-printable header, for example one copied
// from the source of another message's body.
func (in *Input) quotedPrintable(head []byte) []byte {
	if !bytes.Contains(head, []byte("=3D")) || !bytes.Contains(head, []byte("=\n")) && !bytes.Contains(head, []byte("=\r\n")) {
		return head
	}
	out := make([]byte, 0, len(head))
	for i := 0; i < len(head); i++ {
		if head[i] != '=' {
			out = append(out, head[i])
			continue
		}
		rest := head[i+1:]
		switch {
		case len(rest) >= 2 && rest[0] == '\r' && rest[1] == '\n':
			i += 2
		case len(rest) >= 1 && rest[0] == '\n':
			i++
		case len(rest) >= 2 && hexDigit(rest[0]) >= 0 && hexDigit(rest[1]) >= 0:
			out = append(out, byte(hexDigit(rest[0])<<4|hexDigit(rest[1])))
			i += 2
		default:
			out = append(out, '=')
		}
	}
	in.pasted("quoted-printable decoded")
	return out
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}

// entities decodes the HTML entities in a header that was copied as HTML.
func (in *Input) entities(head []byte) []byte {
	if !bytes.Contains(head, []byte("&lt;")) || !bytes.Contains(head, []byte("&gt;")) || bytes.IndexByte(head, '<') >= 0 {
		return head
	}
	in.pasted("HTML escapes decoded")
	return []byte(html.UnescapeString(string(head)))
}

// folding restores the indentation of continuation lines in a copy that lost
// its leading spaces.
func (in *Input) folding(head []byte) []byte {
	lines := bytes.SplitAfter(head, []byte{'\n'})
	lost := 0
	out := make([]byte, 0, len(head)+64)
	for i, l := range lines {
		if len(l) == 0 {
			continue
		}
		if i > 0 && l[0] != ' ' && l[0] != '\t' && !isField(l) {
			out = append(out, ' ')
			lost++
		}
		out = append(out, l...)
	}
	if lost > 0 {
		in.pasted("folding restored in %d lines", lost)
	}
	return out
}

// firstFields removes the fields of a header beyond maxFields.
func (in *Input) firstFields(head []byte) []byte {
	fields, at := 0, 0
	for line := range bytes.SplitAfterSeq(head, []byte{'\n'}) {
		if len(line) > 0 && line[0] != ' ' && line[0] != '\t' {
			if fields++; fields > maxFields {
				in.pasted("only the first %d fields were read", maxFields)
				return head[:at]
			}
		}
		at += len(line)
	}
	return head
}

// isField reports whether a line begins with "Name:", other than a time such as
// "08:30:06" or an address such as "2001:db8::1".
func isField(l []byte) bool {
	colon := bytes.IndexByte(l, ':')
	if colon < 2 || colon > 76 {
		return false
	}
	letters := false
	for _, c := range bytes.TrimRight(l[:colon], " \t") {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
			letters = true
		case c >= '0' && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	if !letters || l[0] < 'A' || l[0] > 'z' {
		return false
	}
	// "TLSv1:AES256-SHA" may start a line that lost its folding. In most
	// fields, a space or nothing follows the colon.
	return colon+1 >= len(l) || l[colon+1] == ' ' || l[colon+1] == '\t' || l[colon+1] == '\r' || l[colon+1] == '\n' || knownField(l[:colon])
}

func knownField(name []byte) bool {
	for _, k := range [...]string{"received", "from", "to", "subject", "date", "message-id", "return-path", "delivered-to", "cc"} {
		if strings.EqualFold(k, string(name)) {
			return true
		}
	}
	return false
}

func hasField(head []byte) bool {
	for l := range bytes.SplitSeq(head, []byte{'\n'}) {
		if isField(l) {
			return true
		}
	}
	return false
}
