package mime

import (
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/transform"
)

// lookup returns a charset's encoding. ok is false if the charset is not
// supported. If ok is true, a nil encoding means that the text is already
// UTF-8.
func lookup(charset string) (enc encoding.Encoding, ok bool) {
	charset = strings.ToLower(strings.TrimSpace(charset))
	switch charset {
	case "", "us-ascii", "ascii", "utf-8", "utf8":
		return nil, true
	case "iso-8859-1", "latin1":
		// Text declared as ISO 8859-1 is often Windows-1252. The two
		// differ only in octets that are control characters in ISO
		// 8859-1.
		return charmap.Windows1252, true
	case "utf-7", "utf7", "unicode-1-1-utf-7", "csunicode11utf7":
		return utf7{}, true
	case "hz-gb-2312":
		// The x/text decoder does not terminate for some escapes, and
		// the charset is not used in practice.
		return nil, false
	}
	if len(charset) > 40 {
		return nil, false
	}
	if enc, err := htmlindex.Get(charset); err == nil && enc != encoding.Replacement {
		return enc, true
	}
	if enc, err := ianaindex.MIME.Encoding(charset); err == nil && enc != nil {
		return enc, true
	}
	return nil, false
}

// KnownCharset reports whether text in the charset can be decoded. SEARCH must
// check this (RFC 9051, 6.4.4).
func KnownCharset(charset string) bool {
	_, ok := lookup(charset)
	return ok
}

// DecodeString converts text in the charset to valid UTF-8. Octets that cannot
// be decoded become U+FFFD. If the charset is unknown, these are the octets
// that are neither ASCII nor valid UTF-8.
func DecodeString(charset, s string) string {
	enc, _ := lookup(charset)
	if enc == nil {
		return valid(s)
	}
	var b strings.Builder
	io.Copy(&b, CharsetReader(charset, strings.NewReader(s))) // neither side returns errors
	return b.String()
}

func valid(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// CharsetReader returns a reader that converts text in the charset to UTF-8. If
// the charset is unknown or already UTF-8, it returns r.
func CharsetReader(charset string, r io.Reader) io.Reader {
	enc, _ := lookup(charset)
	if enc == nil {
		return r
	}
	return transform.NewReader(r, &guard{Transformer: enc.NewDecoder()})
}

// guard stops a decoder that writes far more than it reads or makes no
// progress, so that a decoder bug cannot exhaust memory.
type guard struct {
	transform.Transformer
	in, out int64
	stalled int
}

func (g *guard) Transform(dst, src []byte, atEOF bool) (int, int, error) {
	nDst, nSrc, err := g.Transformer.Transform(dst, src, atEOF)
	g.in += int64(nSrc)
	g.out += int64(nDst)
	if nSrc > 0 {
		g.stalled = 0
	} else if g.stalled++; g.stalled > 16 && err == transform.ErrShortDst {
		return nDst, nSrc, io.ErrUnexpectedEOF
	}
	if g.out > 6*g.in+64 {
		return nDst, nSrc, io.ErrUnexpectedEOF
	}
	return nDst, nSrc, err
}
