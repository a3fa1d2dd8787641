package imap

import (
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"hoplite/mail/mime"
)

// maxPreview is how long a PREVIEW is, in characters (RFC 8970, 3.1: 200 at most).
const maxPreview = 200

// preview is the beginning of the message's text.
func preview(file io.ReaderAt, t *mime.Tree) string {
	part := firstText(t.Root)
	if part == nil {
		return ""
	}
	most := int64(2 << 10) // no more than a block
	if part.Subtype == "html" {
		most = 8 << 10 // styles and tags come first
	}
	r, _ := mime.Decoder(part.Encoding, io.NewSectionReader(file, part.Body.From.Off, min(part.Body.Size(), 2*most)))
	block := headBlocks.Get().(*[8 << 10]byte)
	defer headBlocks.Put(block)
	n, _ := io.ReadFull(mime.CharsetReader(part.Charset(), r), block[:most])
	s := string(block[:n])
	if part.Subtype == "html" {
		s = stripTags(s)
	}
	return squeeze(s, maxPreview)
}

// squeeze makes one space of each run of white space, drops control characters
// and what is no UTF-8, and ends after most characters.
func squeeze(s string, most int) string {
	b := make([]byte, 0, most+most/4)
	space, n := false, 0
	for _, r := range s {
		switch {
		case unicode.IsSpace(r):
			space = n > 0
			continue
		case r < ' ' || r == 0x7f || r == utf8.RuneError:
			continue
		}
		if space {
			b, space = append(b, ' '), false
			if n++; n == most {
				break
			}
		}
		b = utf8.AppendRune(b, r)
		if n++; n >= most {
			break
		}
	}
	return string(b)
}

// firstText is the first text/plain part, or else the first text/html one.
func firstText(p *mime.Part) *mime.Part {
	var html *mime.Part
	var find func(p *mime.Part) *mime.Part
	find = func(p *mime.Part) *mime.Part {
		if p.Disposition != "attachment" {
			switch {
			case p.Is("text", "plain"):
				return p
			case p.Is("text", "html") && html == nil:
				html = p
			}
		}
		for _, c := range p.Children {
			if found := find(c); found != nil {
				return found
			}
		}
		return nil
	}
	if plain := find(p); plain != nil {
		return plain
	}
	return html
}

// stripTags drops what stands between angle brackets, and whole style, script
// and head elements.
func stripTags(s string) string {
	var b strings.Builder
	low := strings.ToLower(s)
	if len(low) != len(s) {
		low = s // some letters change their length: take the text as it is
	}
	for i := 0; i < len(s); {
		j := strings.IndexByte(s[i:], '<')
		if j < 0 {
			b.WriteString(s[i:])
			break
		}
		b.WriteString(s[i : i+j])
		b.WriteByte(' ')
		i += j
		end := ">"
		for _, name := range []string{"style", "script", "head>"} {
			if strings.HasPrefix(low[i+1:], name) {
				end = "</" + strings.TrimSuffix(name, ">") + ">"
			}
		}
		j = strings.Index(low[i:], end)
		if j < 0 {
			break
		}
		i += j + len(end)
	}
	return entities.Replace(b.String())
}

var entities = strings.NewReplacer("&nbsp;", " ", "&amp;", "&", "&lt;", "<", "&gt;", ">", "&quot;", `"`, "&#39;", "'")
