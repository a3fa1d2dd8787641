package imap

import (
	"io"
	"strings"
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
	r, _ := mime.Decoder(part.Encoding, io.NewSectionReader(file, part.Body.From.Off, part.Body.Size()))
	text, _ := io.ReadAll(io.LimitReader(mime.CharsetReader(part.Charset(), r), 8<<10))
	s := strings.ToValidUTF8(string(text), "")
	if part.Subtype == "html" {
		s = stripTags(s)
	}
	s = strings.Join(strings.Fields(strings.Map(printable, s)), " ")
	if utf8.RuneCountInString(s) > maxPreview {
		s = string([]rune(s)[:maxPreview])
	}
	return s
}

// printable drops control characters.
func printable(r rune) rune {
	if r < ' ' && r != '\n' && r != '\t' && r != '\r' || r == 0x7f {
		return -1
	}
	return r
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
