package sieve

import (
	"bytes"
	"io"
	"strings"

	"golang.org/x/net/html"

	"hoplite/mail"
	"hoplite/mail/mime"
)

// maxText is the number of octets of a message's body that tests look at, after
// decoding.
const maxText = 8 << 20

// message is the message that a script runs on, with the changes that the
// script has made to its header.
type message struct {
	src    *mail.Message
	fields []*field
	edited bool
	parts  []bodyPart // of the decoded body; read on first use
	read   bool
}

// field is a header field.
type field struct {
	name    string
	raw     []byte // the whole field with its line ending
	value   string // unfolded, with encoded words decoded
	decoded bool
}

func newMessage(src *mail.Message) *message {
	m := &message{src: src}
	for f := range mail.Fields(src.Header()) {
		m.fields = append(m.fields, &field{name: f.Name, raw: f.Raw})
	}
	return m
}

// text returns the value of the field for comparison (RFC 5228, 2.7.2).
func (f *field) text() string {
	if !f.decoded {
		f.decoded = true
		f.value = mime.DecodeWords(f.unfolded())
	}
	return f.value
}

// folds differs from [mime.Unfold]: a line that continues with a tab is joined
// by a space, because scripts compare folded subjects with spaces.
var folds = strings.NewReplacer("\r\n\t", " ", "\n\t", " ", "\r\n", "", "\n", "")

// unfolded returns the value without decoding its encoded words.
func (f *field) unfolded() string {
	_, v, _ := strings.Cut(string(f.raw), ":")
	return strings.TrimSpace(folds.Replace(v))
}

// find returns the fields with the given name, from the top. Every field counts
// towards the run's work.
func (m *message) find(r *run, name string) (list []*field) {
	r.charge(len(m.fields))
	for _, f := range m.fields {
		if strings.EqualFold(f.name, name) {
			list = append(list, f)
		}
	}
	return list
}

// header returns the header block as edited.
func (m *message) header() []byte {
	var b bytes.Buffer
	for _, f := range m.fields {
		b.Write(f.raw)
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

// bodyPart is a part of the body that is not a multipart.
type bodyPart struct {
	typ, subtype string
	text         string // decoded; text parts are UTF-8
}

// raw returns the body as it was sent.
func (m *message) raw() string {
	b, _ := io.ReadAll(io.LimitReader(m.src.Body(), maxText))
	return string(b)
}

// body returns the decoded parts of the message.
func (m *message) body() []bodyPart {
	if m.read {
		return m.parts
	}
	m.read = true
	whole := io.MultiReader(bytes.NewReader(m.src.Head), m.src.Body())
	tree, err := mime.Walk(whole)
	if err != nil {
		return nil
	}
	left := int64(maxText)
	var visit func(p *mime.Part)
	visit = func(p *mime.Part) {
		for _, child := range p.Children {
			visit(child)
		}
		if len(p.Children) > 0 || left <= 0 {
			return
		}
		section := io.NewSectionReader(m.src.Base, p.Body.From.Off, p.Body.Size())
		r, _ := mime.Decoder(p.Encoding, section)
		if p.Type == "text" && mime.KnownCharset(p.Charset()) {
			r = mime.CharsetReader(p.Charset(), r)
		}
		b, _ := io.ReadAll(io.LimitReader(r, left))
		left -= int64(len(b))
		m.parts = append(m.parts, bodyPart{p.Type, p.Subtype, string(b)})
	}
	visit(tree.Root)
	return m.parts
}

// plain returns the text that a person reads: HTML without its tags.
func (p *bodyPart) plain() string {
	if p.subtype != "html" {
		return p.text
	}
	var b strings.Builder
	skip := 0 // inside style and script
	for z := html.NewTokenizer(strings.NewReader(p.text)); ; {
		kind := z.Next()
		switch kind {
		case html.ErrorToken:
			return b.String()
		case html.TextToken:
			if skip == 0 {
				b.Write(z.Text())
			}
		case html.StartTagToken, html.EndTagToken:
			name, _ := z.TagName()
			if s := string(name); s == "style" || s == "script" {
				skip = 0
				if kind == html.StartTagToken {
					skip = 1
				}
			}
			b.WriteByte(' ')
		default:
			b.WriteByte(' ')
		}
	}
}
