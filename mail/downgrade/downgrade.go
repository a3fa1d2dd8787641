// Package downgrade rewrites header fields in ASCII, for servers and mail programs
// that do not support UTF-8 in headers. Bodies and transfer encodings are left to
// the callers. Start with Field and Shown.
package downgrade

import (
	stdmime "mime"
	netmail "net/mail"
	"slices"
	"strings"
	"unicode/utf8"

	"hoplite/mail"
	"hoplite/mail/mime"
)

// Error reports why a field cannot be written in ASCII without loss.
type Error string

func (e Error) Error() string { return string(e) }

// Field returns an ASCII version of a field without loss (RFC 6857, 3), which is
// the field itself if it is in ASCII.
func Field(f mail.Field) ([]byte, error) { return plainField(f, plainAddress) }

// Shown returns an ASCII version of a field for a mail program (RFC 6858, 2). An
// address without an ASCII form becomes one that nobody can reply to.
func Shown(f mail.Field) []byte {
	line, err := plainField(f, shownAddress)
	if err != nil {
		return fold("Downgraded-"+f.Name, words(toUTF8(f.Text())))
	}
	return line
}

// ASCII reports whether b is in ASCII.
func ASCII(b []byte) bool {
	return !slices.ContainsFunc(b, func(c byte) bool { return c >= utf8.RuneSelf })
}

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

// plainField returns an ASCII version of a field. address returns that of an
// address.
func plainField(f mail.Field, address addressWriter) ([]byte, error) {
	if ASCII(f.Raw) {
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
		list, err := plainAddresses(text, address)
		if err != nil {
			return nil, err
		}
		return fold(f.Name, list), nil
	case name == "content-type" || name == "content-disposition":
		if v, ok := plainParams(name, text); ok {
			return fold(f.Name, v), nil
		}
		return nil, Error("the field " + f.Name + " can't be written in ASCII")
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

// addressWriter returns the display name and the address to be written.
type addressWriter func(a mime.Address) (name, addr string, err error)

// plainAddress writes a domain as A-labels. A non-ASCII local part has no ASCII
// form.
func plainAddress(a mime.Address) (name, addr string, err error) {
	if !ASCII([]byte(a.Local)) {
		return "", "", Error("an address in its header has non-ASCII characters before the @")
	}
	domain := a.Domain
	if !ASCII([]byte(domain)) {
		if domain, err = mail.ParseDomain(domain); err != nil {
			return "", "", Error("an address in its header has a domain without an ASCII form")
		}
	}
	return mime.DecodeWords(a.Name), mail.QuoteLocal(a.Local) + "@" + domain, nil
}

// shownAddress is like plainAddress, but it replaces an address without an ASCII
// form. The display name then contains the address.
func shownAddress(a mime.Address) (name, addr string, err error) {
	if name, addr, err = plainAddress(a); err == nil {
		return name, addr, nil
	}
	name = strings.TrimSpace(mime.DecodeWords(a.Name) + " " + a.Addr())
	return name, "invalid@internationalized-address.invalid", nil
}

// plainAddresses rewrites an address list with encoded names and ASCII addresses.
func plainAddresses(text string, address addressWriter) ([]string, error) {
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
		name, addr, err := address(a)
		switch {
		case err != nil:
			return nil, err
		case a.Domain == "":
			pieces = append(pieces, words(a.Local)...)
		default:
			one := netmail.Address{Name: name, Address: addr}
			pieces = append(pieces, strings.Split(one.String(), " ")...)
		}
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
	if out == "" || !ASCII([]byte(out)) {
		return nil, false
	}
	pieces := strings.Split(out, "; ")
	for i := range pieces[:len(pieces)-1] {
		pieces[i] += ";"
	}
	return pieces, true
}
