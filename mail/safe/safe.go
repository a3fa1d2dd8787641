// Package safe sanitises text from remote parties before it is displayed or
// passed on: reverse names, HELO arguments, replies from other servers, header
// values, file names, DNS answers. Each function is named after the destination
// of the text: [Header], [Reply], [Log], [Line] and [Text]; [Host] is for names
// in trace fields.
//
// The results are valid UTF-8 of bounded length, without control characters,
// characters that change the direction of text, or zero-width characters. Each
// such character, and each invalid octet, is replaced by a visible mark, so
// that a reader can see that something was removed. Escaping for a syntax
// (HTML, JSON, quoted strings) is left to the code that writes the syntax.
//
// Every other package may import this one, which imports no other package of
// the module.
package safe

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// The maximum number of octets that each function returns, including the
// ellipsis of shortened text.
const (
	MaxHeader = 900     // leaves room for a field name on a line of 998 octets (RFC 5322, 2.1.1)
	MaxReply  = 480     // leaves room for the codes on a line of 512 octets (RFC 5321, 4.5.3.1.5)
	MaxLog    = 2000    // a value in a log line
	MaxLine   = 4000    // a line on a terminal or a page
	MaxText   = 1 << 20 // text of several lines
	MaxHost   = 200     // name in a Received field
)

// The marks that replace a character: a question mark in text that may be
// parsed by a program, a dot in text for people.
const (
	asciiMark = '?'
	humanMark = '·'
)

// ellipsis is the end of shortened text.
const ellipsis = "..."

// Header returns s for the value of a header field, a comment or a quoted
// string: one line of UTF-8.
func Header(s string) string { return Clip(clean(s, asciiMark, true), MaxHeader) }

// Reply returns s for one line of an SMTP reply: printable ASCII.
func Reply(s string) string {
	if len(s) <= MaxReply && printableASCII(s) {
		return s
	}
	return string(AppendReply(nil, s, MaxReply))
}

// AppendReply appends the result of [Reply] for s to b, with a different limit
// and without allocating.
func AppendReply(b []byte, s string, limit int) []byte {
	start := len(b)
	for _, r := range s {
		if len(b)-start >= limit {
			return cutTail(b, start+limit)
		}
		if r < ' ' || r > '~' {
			r = asciiMark
		}
		b = append(b, byte(r))
	}
	return b
}

// cutTail truncates b to n octets, including a final ellipsis.
func cutTail(b []byte, n int) []byte {
	b = b[:n]
	copy(b[max(0, n-len(ellipsis)):], ellipsis)
	return b
}

// Log returns s as the value of a field in a log line.
func Log(s string) string { return Clip(clean(s, asciiMark, true), MaxLog) }

// Line returns s for one line on a terminal or a page. Each replaced character
// becomes a single mark, so columns stay aligned.
func Line(s string) string { return Clip(clean(s, humanMark, true), MaxLine) }

// Text returns s for a page or a terminal. Line breaks and tabs are kept; lines
// end in \n.
func Text(s string) string {
	if strings.Contains(s, "\r\n") {
		s = strings.ReplaceAll(s, "\r\n", "\n")
	}
	return Clip(clean(s, humanMark, false), MaxText)
}

// Host returns a name for the from clause of a Received field: letters, digits
// and the punctuation used in domains and address literals. Clients send
// arbitrary text in HELO, sometimes to forge a trace.
func Host(s string) string {
	for i := range len(s) {
		if !hostByte(s[i]) {
			s = strings.Map(func(r rune) rune {
				if r < utf8.RuneSelf && hostByte(byte(r)) {
					return r
				}
				return '_'
			}, s)
			break
		}
	}
	return s[:min(len(s), MaxHost)]
}

func hostByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		c == '.' || c == '-' || c == '_' || c == ':' || c == '[' || c == ']'
}

// ASCII replaces every character outside printable ASCII, for terminals without
// UTF-8.
func ASCII(s string) string {
	if printableASCII(s) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return asciiMark
		}
		return r
	}, s)
}

// Clip truncates s to at most n octets, ending in an ellipsis if s was longer.
// It never splits a character.
func Clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	if n < len(ellipsis) {
		return ellipsis[:max(0, n)]
	}
	cut := n - len(ellipsis)
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + ellipsis
}

// Hidden reports whether r is invisible or affects the position of other
// characters: control and format characters, line and paragraph separators,
// zero-width characters, and U+FFFD, which represents invalid octets.
func Hidden(r rune) bool {
	switch {
	case r < ' ', r == 0x7f:
		return true
	case r < 0x7f:
		return false
	case r < 0xa0, r == 0xad, r == utf8.RuneError:
		return true
	case r < 0x34f:
		return false
	}
	return unicode.Is(invisible, r) || unicode.Is(unicode.Cf, r)
}

// invisible holds invisible characters that are not format characters in
// Unicode (Default_Ignorable_Code_Point, and separators).
var invisible = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x034f, Hi: 0x034f, Stride: 1}, // combining grapheme joiner
		{Lo: 0x115f, Hi: 0x1160, Stride: 1}, // Hangul fillers
		{Lo: 0x17b4, Hi: 0x17b5, Stride: 1}, // Khmer inherent vowels
		{Lo: 0x180b, Hi: 0x180f, Stride: 1}, // Mongolian variation selectors
		{Lo: 0x2028, Hi: 0x2029, Stride: 1}, // line and paragraph separator
		{Lo: 0x2065, Hi: 0x2065, Stride: 1},
		{Lo: 0x3164, Hi: 0x3164, Stride: 1}, // Hangul filler
		{Lo: 0xfe00, Hi: 0xfe0f, Stride: 1}, // variation selectors
		{Lo: 0xffa0, Hi: 0xffa0, Stride: 1}, // half-width Hangul filler
		{Lo: 0xfff0, Hi: 0xfff8, Stride: 1},
	},
	R32: []unicode.Range32{{Lo: 0xe0000, Hi: 0xe0fff, Stride: 1}}, // tags, variation selectors
}

// clean replaces hidden characters with mark. White space becomes a space; if
// oneLine is set, so do line breaks.
func clean(s string, mark rune, oneLine bool) string {
	if !needsCleaning(s, oneLine) {
		return s
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			if oneLine {
				return ' '
			}
			return r
		case r == '\r':
			return ' '
		case Hidden(r):
			return mark
		}
		return r
	}, s)
}

func needsCleaning(s string, oneLine bool) bool {
	for _, r := range s {
		if Hidden(r) && (oneLine || r != '\n' && r != '\t') {
			return true
		}
	}
	return false
}

func printableASCII(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
