package imap

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strings"
	"sync"
	"unicode/utf8"

	"hoplite/mail/mime"
	"hoplite/maildrop"
	"hoplite/maildrop/maildir"
)

var crlfReaders = sync.Pool{New: func() any { return maildir.NewCRLFReader(nil) }}

// entry is what FETCH, SORT and THREAD want to know of a message beyond its
// flags and sizes.
type entry struct {
	Envelope, Body, Structure []byte
	Preview                   string
	Header                    []byte
}

// entry reads it out of the message.
func (s *session) entry(m *maildrop.Message) (*entry, error) {
	src, err := s.open(m)
	if err != nil {
		return nil, err
	}
	defer src.close()
	t, err := src.walk()
	if err != nil {
		return nil, err
	}
	return &entry{
		Envelope:  mime.AppendEnvelope(nil, t.Root.Raw),
		Body:      mime.AppendStructure(nil, t.Root, false),
		Structure: mime.AppendStructure(nil, t.Root, true),
		Preview:   preview(src.file, t),
		Header:    t.Root.Raw,
	}, nil
}

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
	s = strings.Join(strings.Fields(s), " ")
	if utf8.RuneCountInString(s) > maxPreview {
		s = string([]rune(s)[:maxPreview])
	}
	return s
}

// firstText is the first text/plain part, or else the first text/html one.
func firstText(p *mime.Part) *mime.Part {
	var html *mime.Part
	var find func(p *mime.Part) *mime.Part
	find = func(p *mime.Part) *mime.Part {
		switch {
		case p.Is("text", "plain") && p.Disposition != "attachment":
			return p
		case p.Is("text", "html") && html == nil && p.Disposition != "attachment":
			html = p
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

// stripTags drops what stands between angle brackets, and whole style and
// script elements.
func stripTags(s string) string {
	var b strings.Builder
	for s != "" {
		i := strings.IndexByte(s, '<')
		if i < 0 {
			b.WriteString(s)
			break
		}
		b.WriteString(s[:i])
		b.WriteByte(' ')
		s = s[i:]
		end := ">"
		for _, name := range []string{"style", "script", "head"} {
			if len(s) > len(name) && strings.EqualFold(s[1:1+len(name)], name) {
				end = "</" + name + ">"
			}
		}
		j := strings.Index(strings.ToLower(s[:min(len(s), 8<<10)]), end)
		if j < 0 {
			break
		}
		s = s[j+len(end):]
	}
	r := strings.NewReplacer("&nbsp;", " ", "&amp;", "&", "&lt;", "<", "&gt;", ">", "&quot;", `"`, "&#39;", "'")
	return r.Replace(b.String())
}

// objectID makes an identifier of the form that RFC 8474 asks for.
func objectID(kind byte, of string) string {
	sum := sha256.Sum256([]byte(of))
	return string(kind) + hex.EncodeToString(sum[:16])
}
