package smime

import (
	"bytes"
	"fmt"
	"io"
	"regexp"

	"hoplite/mail/cms"
	"hoplite/mail/mime"
)

// Limits on the search for a change to signed content, so that a message
// designed to fail costs little more than a valid one.
const (
	explainSize   = 1 << 20  // no explanation is sought for larger content
	explainBudget = 16 << 20 // octets hashed in one search
	explainTries  = 400
)

// search tries likely original versions of content that no longer matches its
// signature.
type search struct {
	s    *cms.Signed
	more []*cms.Certificate
	left int // octets
	try  int
}

func (q *search) spent() bool { return q.left < 0 || q.try >= explainTries }

func (q *search) fits(content []byte) bool {
	q.try++
	if q.left -= len(content); q.spent() {
		return false
	}
	return q.s.Fits(bytes.NewReader(content), q.more...)
}

// explain looks for a single change that explains an invalid signature. It
// returns a description of the change, or "" if there is none. The verdict does
// not depend on it.
func explain(src io.ReaderAt, span mime.Span, inner *mime.Part, s *cms.Signed, more []*cms.Certificate) string {
	if span.Size() > explainSize || !s.Detached {
		return ""
	}
	stored := make([]byte, span.Size())
	if n, err := src.ReadAt(stored, span.From.Off); n < len(stored) && err != nil {
		return ""
	}
	content := toCRLF(stored)
	q := &search{s: s, more: more, left: explainBudget}
	for _, v := range []struct {
		text string
		was  func() []byte
	}{
		{"signed with lone LF as line ends, which S/MIME does not allow", func() []byte { return toLF(content) }},
		{"white space at line ends was added after signing, or not signed", func() []byte { return trimLines(content) }},
		{"changed in transit: the last line end was added", func() []byte { return bytes.TrimSuffix(content, crlfBytes) }},
		{"changed in transit: the last line end was removed", func() []byte { return append(bytes.Clone(content), crlfBytes...) }},
		{"changed in transit: empty lines at the end were added", func() []byte { return append(bytes.Clone(bytes.TrimRight(content, "\r\n")), crlfBytes...) }},
		{"changed in transit: empty lines at the end were removed", func() []byte { return append(bytes.Clone(content), "\r\n\r\n"...) }},
		{"changed in transit: the space after the signature dashes was removed", func() []byte { return lines(content, dashes) }},
		{"changed in transit: trailing white space was removed", func() []byte { return flowed(content) }},
		{"changed in transit: dots at line starts were doubled", func() []byte { return lines(content, undot) }},
		{"changed in transit: dots at line starts were lost", func() []byte { return lines(content, dot) }},
		{"changed in transit: lines that begin with From were prefixed with >", func() []byte { return lines(content, unfrom) }},
		{"changed in transit: tabs of folded header fields became spaces", func() []byte { return refold(content, "\r\n ", "\r\n\t") }},
		{"changed in transit: the folding of header fields became tabs", func() []byte { return refold(content, "\r\n\t", "\r\n ") }},
	} {
		if was := v.was(); was != nil && !bytes.Equal(was, content) && q.fits(was) {
			return v.text
		}
	}
	if q.recoded(src, inner, span) {
		return "changed in transit: a part was re-encoded (8-bit text became quoted-printable or base64)"
	}
	if line := q.strippedLine(content); line > 0 {
		return fmt.Sprintf("changed in transit: trailing white space was removed (line %d)", line)
	}
	if n := q.footer(content); n > 0 {
		return fmt.Sprintf("changed in transit: %d octets were added at the end (a footer?)", n)
	}
	return ""
}

var crlfBytes = []byte("\r\n")

func toCRLF(b []byte) []byte {
	out, err := io.ReadAll(&crlf{r: bytes.NewReader(b)})
	if err != nil {
		return b
	}
	return out
}

func toLF(b []byte) []byte { return bytes.ReplaceAll(b, crlfBytes, []byte("\n")) }

// lines rewrites content line by line.
func lines(content []byte, f func([]byte) []byte) []byte {
	out := make([]byte, 0, len(content)+64)
	for len(content) > 0 {
		line, rest, found := bytes.Cut(content, crlfBytes)
		out = append(out, f(line)...)
		if found {
			out = append(out, crlfBytes...)
		}
		content = rest
	}
	return out
}

func trimLines(content []byte) []byte {
	return lines(content, func(l []byte) []byte { return bytes.TrimRight(l, " \t") })
}

func dashes(l []byte) []byte {
	if string(l) == "--" {
		return []byte("-- ")
	}
	return l
}

func undot(l []byte) []byte {
	if bytes.HasPrefix(l, []byte("..")) {
		return l[1:]
	}
	return l
}

func dot(l []byte) []byte {
	if bytes.HasPrefix(l, []byte(".")) {
		return append([]byte("."), l...)
	}
	return l
}

func unfrom(l []byte) []byte {
	if bytes.HasPrefix(l, []byte(">From ")) {
		return l[1:]
	}
	return l
}

// refold changes the folding of header fields.
func refold(content []byte, is, was string) []byte {
	end := bytes.Index(content, []byte("\r\n\r\n"))
	if end < 0 {
		return nil
	}
	return append(bytes.ReplaceAll(content[:end], []byte(is), []byte(was)), content[end:]...)
}

// flowed restores the trailing spaces of format=flowed paragraphs (RFC 3676,
// 4.2), which gateways often strip.
func flowed(content []byte) []byte {
	end := bytes.Index(content, []byte("\r\n\r\n"))
	if end < 0 {
		return nil
	}
	parts := bytes.Split(content[end+4:], crlfBytes)
	for i, l := range parts[:len(parts)-1] {
		if len(l) > 0 && len(parts[i+1]) > 0 {
			parts[i] = append(bytes.Clone(l), ' ')
		}
	}
	return append(bytes.Clone(content[:end+4]), bytes.Join(parts, crlfBytes)...)
}

// strippedLine tries adding a space to the end of each line in turn. It returns
// the number of the line for which the signature matches, or 0.
func (q *search) strippedLine(content []byte) int {
	try := make([]byte, 0, len(content)+1)
	at, n := 0, 0
	for !q.spent() && q.try < explainTries-50 {
		i := bytes.Index(content[at:], crlfBytes)
		if i < 0 {
			return 0
		}
		n++
		try = append(append(append(try[:0], content[:at+i]...), ' '), content[at+i:]...)
		if q.fits(try) {
			return n
		}
		at += i + 2
	}
	return 0
}

// footer removes lines from the end until the rest matches the signature. It
// returns the number of octets removed.
func (q *search) footer(content []byte) int {
	for end := len(content); !q.spent(); {
		end = bytes.LastIndex(content[:end], crlfBytes)
		if end <= 0 {
			return 0
		}
		if q.fits(content[:end+2]) {
			return len(content) - end - 2
		}
		if q.fits(content[:end]) {
			return len(content) - end
		}
	}
	return 0
}

var cteField = regexp.MustCompile(`(?im)^content-transfer-encoding:[^\r\n]*(\r\n[ \t][^\r\n]*)*\r\n`)

// recoded reverses the conversion of 8-bit text for a server that accepts only
// 7 bits (RFC 6152, 3). It decodes all leaves with one encoding and sets their
// encoding to 8bit.
func (q *search) recoded(src io.ReaderAt, inner *mime.Part, span mime.Span) bool {
	for _, enc := range []string{"quoted-printable", "base64"} {
		for _, was := range []string{"Content-Transfer-Encoding: 8bit\r\n", "Content-Transfer-Encoding: 8BIT\r\n", "Content-Transfer-Encoding: 7bit\r\n", ""} {
			var out bytes.Buffer
			if !decodeLeaves(&out, src, inner, enc, was) {
				break
			}
			if q.fits(out.Bytes()) {
				return true
			}
		}
	}
	return false
}

// decodeLeaves writes a part in which all leaves with one encoding are decoded.
// ok is false if there is no such leaf or one could not be read.
func decodeLeaves(out *bytes.Buffer, src io.ReaderAt, root *mime.Part, enc, was string) (ok bool) {
	at := root.Header.From.Off
	plain := func(to int64) {
		b := make([]byte, to-at)
		n, _ := src.ReadAt(b, at)
		out.Write(toCRLF(b[:n]))
		at = to
	}
	var walk func(*mime.Part)
	walk = func(p *mime.Part) {
		for _, c := range p.Children {
			walk(c)
		}
		if len(p.Children) > 0 || p.Encoding != enc || p.Type != "text" {
			return
		}
		plain(p.Header.From.Off)
		head := make([]byte, p.Header.Size())
		n, _ := src.ReadAt(head, at)
		out.Write(cteField.ReplaceAll(toCRLF(head[:n]), []byte(was)))
		r, _ := mime.Decoder(enc, section(src, p.Body))
		b, err := io.ReadAll(io.LimitReader(r, explainSize))
		if err != nil {
			return
		}
		out.Write(toCRLF(b))
		at, ok = p.Body.To.Off, true
	}
	walk(root)
	plain(root.Body.To.Off)
	return ok
}
