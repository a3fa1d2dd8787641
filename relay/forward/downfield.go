package forward

import (
	stdmime "mime"
	netmail "net/mail"
	"strings"
	"unicode/utf8"

	"hoplite/mail"
	"hoplite/mail/mime"
)

// addressFields lists the fields that contain addresses.
var addressFields = map[string]bool{
	"from": true, "to": true, "cc": true, "bcc": true, "sender": true, "reply-to": true,
	"resent-from": true, "resent-to": true, "resent-cc": true, "resent-bcc": true, "resent-sender": true,
	"disposition-notification-to": true, "mail-followup-to": true, "mail-reply-to": true,
}

// textFields lists unstructured fields; all fields that begin with X- are also
// unstructured.
var textFields = map[string]bool{
	"subject": true, "comments": true, "content-description": true, "organization": true, "thread-topic": true,
	"keywords": true, "user-agent": true, "list-id": true, "auto-submitted": true,
}

// plainField returns an ASCII version of a field (RFC 6857, 3).
func plainField(f mail.Field) ([]byte, error) {
	if !eightBit(f.Raw) {
		return f.Raw, nil
	}
	text := toUTF8(f.Text())
	name := strings.ToLower(f.Name)
	switch {
	case name == "":
		// The line is not a valid field, so its text is preserved where no
		// program interprets it.
		return fold("X-Broken-Field", words(toUTF8(strings.TrimSpace(string(f.Raw))))), nil
	case addressFields[name]:
		list, err := plainAddresses(text)
		if err != nil {
			return nil, err
		}
		return fold(f.Name, list), nil
	case name == "content-type" || name == "content-disposition":
		if v, ok := plainParams(name, text); ok {
			return fold(f.Name, v), nil
		}
		return nil, errDowngrade{"the field " + f.Name + " can't be written in ASCII"}
	case textFields[name] || strings.HasPrefix(name, "x-"):
		return fold(f.Name, words(text)), nil
	}
	// A structured field cannot contain encoded words, so it is renamed and
	// kept for human readers (RFC 6857, 3.2).
	return fold("Downgraded-"+f.Name, words(text)), nil
}

// toUTF8 decodes text that is not valid UTF-8 as Latin-1, as most mail programs
// do.
func toUTF8(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return mime.DecodeString("iso-8859-1", s)
}

// words returns text as encoded words (RFC 2047).
func words(text string) []string {
	return strings.Split(stdmime.QEncoding.Encode("utf-8", text), " ")
}

// fold returns a field, folded before pieces that do not fit on the line.
func fold(name string, pieces []string) []byte {
	const wide = 76
	var b strings.Builder
	b.WriteString(name + ":")
	col := len(name) + 1
	for _, p := range pieces {
		if col+1+len(p) > wide && col > len(name)+1 {
			b.WriteString("\r\n")
			col = 0
		}
		b.WriteString(" " + p)
		col += 1 + len(p)
	}
	b.WriteString("\r\n")
	return []byte(b.String())
}

// plainAddresses rewrites an address list with encoded names and A-labels. A
// non-ASCII local part has no ASCII form.
func plainAddresses(text string) ([]string, error) {
	var pieces []string
	group := false
	for _, a := range mime.ParseAddresses(text) {
		switch a.Kind {
		case mime.GroupStart:
			group = true
			pieces = append(pieces, words(a.Local+":")...)
			continue
		case mime.GroupEnd:
			if n := len(pieces); group && n > 0 {
				pieces[n-1] = strings.TrimSuffix(pieces[n-1], ",") + ";,"
			}
			group = false
			continue
		}
		if eightBit([]byte(a.Local)) {
			return nil, errDowngrade{"an address in its header has non-ASCII characters before the @"}
		}
		domain := a.Domain
		if eightBit([]byte(domain)) {
			ascii, err := mail.ParseDomain(domain)
			if err != nil {
				return nil, errDowngrade{"an address in its header has a domain without an ASCII form"}
			}
			domain = ascii
		}
		name := mime.DecodeWords(a.Name)
		one := netmail.Address{Name: name, Address: mail.QuoteLocal(a.Local) + "@" + domain}
		if domain == "" {
			pieces = append(pieces, words(a.Local)...)
			pieces[len(pieces)-1] += ","
			continue
		}
		pieces = append(pieces, strings.Split(one.String(), " ")...)
		pieces[len(pieces)-1] += ","
	}
	if n := len(pieces); n > 0 {
		pieces[n-1] = strings.TrimSuffix(pieces[n-1], ",")
	}
	return pieces, nil
}

// plainParams rewrites a Content-Type or Content-Disposition field with its
// parameters encoded as in RFC 2231.
func plainParams(name, text string) ([]string, bool) {
	var value string
	var params []mime.Param
	if name == "content-type" {
		typ, sub, p, ok := mime.ParseType(text)
		if !ok {
			return nil, false
		}
		value, params = typ+"/"+sub, p
	} else {
		value, params = mime.ParseDisposition(text)
	}
	list := map[string]string{}
	for _, p := range params {
		if _, ok := list[p.Name]; !ok {
			list[p.Name] = p.Value
		}
	}
	out := stdmime.FormatMediaType(value, list)
	if out == "" || eightBit([]byte(out)) {
		return nil, false
	}
	pieces := strings.Split(out, "; ")
	for i := range pieces[:len(pieces)-1] {
		pieces[i] += ";"
	}
	return pieces, true
}
