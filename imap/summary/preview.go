package summary

import (
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"hoplite/mail/mime"
)

// maxPreview is the maximum length of a preview in characters (RFC 8970, 3.1
// allows 200).
const maxPreview = 200

// The number of octets of a text that are read to create a preview. HTML
// usually begins with styles and tags, so more is read.
const (
	plainSpan = 2 << 10
	htmlSpan  = 8 << 10
)

// preview returns the beginning of the message's text.
func preview(file io.ReaderAt, t *mime.Tree) string {
	part := firstText(t.Root)
	if part == nil {
		return ""
	}
	span := int64(plainSpan)
	if part.Subtype == "html" {
		span = htmlSpan
	}
	r, _ := mime.Decoder(part.Encoding, io.NewSectionReader(file, part.Body.From.Off, min(part.Body.Size(), 2*span)))
	room := rooms.Get().(*[8 << 10]byte)
	defer rooms.Put(room)
	n, _ := io.ReadFull(mime.CharsetReader(part.Charset(), r), room[:span])
	s := string(room[:n])
	if part.Subtype == "html" {
		s = stripTags(s)
	}
	return squeeze(s, maxPreview)
}

// squeeze replaces each run of white space with one space, removes control
// characters and invalid UTF-8, and truncates the text to limit characters.
func squeeze(s string, limit int) string {
	b := make([]byte, 0, limit+limit/4)
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
			if n+1 >= limit {
				break // no room for another character after the space
			}
			b, space = append(b, ' '), false
			n++
		}
		b = utf8.AppendRune(b, r)
		if n++; n >= limit {
			break
		}
	}
	return string(b)
}

// firstText returns the first text/plain part that is not an attachment, or
// else the first such text/html part.
func firstText(root *mime.Part) *mime.Part {
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
	if plain := find(root); plain != nil {
		return plain
	}
	return html
}

// stripTags removes tags, and removes style, script and head elements with
// their content.
func stripTags(s string) string {
	var b strings.Builder
	low := strings.ToLower(s)
	if len(low) != len(s) {
		low = s // lower-casing changed offsets; match names as written
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
