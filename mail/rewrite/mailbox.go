package rewrite

import (
	"bytes"
	"slices"
	"strings"

	"hoplite/mail"
	"hoplite/mail/mime"
)

// mailbox is one address of a From, Sender or Reply-To field.
type mailbox struct {
	name string // the display name, without quotes; encoded words are not decoded
	addr string // the address as written
}

// mailboxes returns the addresses of a parsed list, ignoring group names.
func mailboxes(list []mime.Address) []mailbox {
	var out []mailbox
	for _, a := range list {
		if a.Addr() != "" {
			out = append(out, mailbox{a.Name, written(a)})
		}
	}
	return out
}

// written returns an address as it appears in the header. Programs such as cron
// omit the domain.
func written(a mime.Address) string {
	if a.Domain == "" {
		return mail.QuoteLocal(a.Local)
	}
	return mail.QuoteLocal(a.Local) + "@" + a.Domain
}

// repliable returns the mailboxes with a valid address.
func repliable(list []mailbox) []mailbox {
	return slices.DeleteFunc(slices.Clone(list), func(m mailbox) bool {
		_, err := mail.ParseAddress(m.addr)
		return err != nil || !strings.Contains(m.addr, "@")
	})
}

// addresses returns the addresses in a list without display names.
func addresses(list []mailbox) string {
	words := make([]string, len(list))
	for i, m := range list {
		words[i] = m.addr
	}
	return strings.Join(words, ", ")
}

// maxName is the maximum length in octets of a display name that is kept: a
// header line must not exceed 998.
const maxName = 300

// writeField writes a field with one address per line.
func writeField(out *bytes.Buffer, name string, list []mailbox) {
	out.WriteString(name + ":")
	for i, m := range list {
		if i > 0 {
			out.WriteString(",\r\n\t")
		} else {
			out.WriteByte(' ')
		}
		out.WriteString(m.String())
	}
	out.WriteString("\r\n")
}

// String returns the mailbox in the syntax of RFC 5322, 3.4.
func (m mailbox) String() string {
	name := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, m.name)
	switch name = strings.TrimSpace(name); {
	case name == "" || len(name) > maxName:
		return m.addr
	case isPhrase(name):
		return name + " <" + m.addr + ">"
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `" <` + m.addr + ">"
}

// isPhrase reports whether a name needs no quotes because it consists of atoms;
// encoded words are also atoms.
func isPhrase(name string) bool {
	return !strings.ContainsAny(name, `()<>[]:;@\,."`)
}
