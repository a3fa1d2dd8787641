package sieve

import (
	"bytes"
	stdmime "mime"
	"slices"
	"strings"
	"unicode"

	"hoplite/mail"
)

// The editheader extension (RFC 5293) changes the header of the message that
// later tests see and later actions store.

func compileAddHeader(c *compiler, n *node) statement {
	a := c.arguments(n, map[string]tag{"last": {}}, argString, argString)
	if a == nil {
		return nil
	}
	name, value, last := a.texts(0)[0], a.texts(1)[0], a.has("last")
	if s, ok := name.constant(); ok && !fieldName(s) {
		c.fail(n, "%q is not the name of a header field", s)
	}
	return step{n.line, func(r *run) {
		key, v := name.expand(r), strings.TrimSpace(value.expand(r))
		if !fieldName(key) || protected(key) {
			r.fail("addheader: the field %q cannot be added", key)
		}
		f := &field{name: key, raw: encodeField(key, v)}
		if last {
			r.msg.fields = append(r.msg.fields, f)
		} else {
			r.msg.fields = slices.Insert(r.msg.fields, 0, f)
		}
		if len(r.msg.fields) > mail.MaxFields {
			r.fail("more than %d header fields", mail.MaxFields)
		}
		r.msg.edited = true
		r.charge(len(f.raw) + len(r.msg.fields))
	}}
}

// encodeField returns a header field with the value encoded as RFC 2047 says
// and folded at spaces.
func encodeField(name, value string) []byte {
	value = stdmime.QEncoding.Encode("utf-8", oneLine(value))
	var b bytes.Buffer
	b.WriteString(name + ":")
	column := b.Len()
	for word := range strings.SplitSeq(value, " ") {
		if column+1+len(word) > 76 && column > len(name)+1 && word != "" {
			b.WriteString("\r\n")
			column = 0
		}
		b.WriteString(" " + word)
		column += 1 + len(word)
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

// oneLine replaces each run of control characters by a space.
func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, unicode.IsControl), " ")
}

// fieldName reports whether s is the name of a header field (RFC 5322, 2.2).
func fieldName(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f || s[i] == ':' {
			return false
		}
	}
	return s != "" && len(s) <= 100
}

// protected reports whether scripts may not change the field: the trace, and
// what stops loops (RFC 5293, 4 and 5).
func protected(name string) bool {
	return strings.EqualFold(name, "Received") || strings.EqualFold(name, "Auto-Submitted")
}

func compileDeleteHeader(c *compiler, n *node) statement {
	tags := merge(matchTags, map[string]tag{"index": {value: argNumber}, "last": {}})
	kinds := []argKind{argString}
	if n.positional(tags) == 2 {
		kinds = append(kinds, argList)
	}
	a := c.arguments(n, tags, kinds...)
	if a == nil {
		return nil
	}
	name, at := a.texts(0)[0], a.index()
	var m *matcher
	if len(kinds) == 2 {
		m = c.matcher(a, a.texts(1))
	}
	return step{n.line, func(r *run) {
		key := name.expand(r)
		if protected(key) {
			return // RFC 5293, 5: the action is ignored
		}
		chosen := at.choose(r.msg.find(r, key))
		if m != nil && m.kind == matchCount && !m.any(r, values(chosen)) {
			return
		}
		r.msg.fields = slices.DeleteFunc(r.msg.fields, func(f *field) bool {
			if !slices.Contains(chosen, f) || m != nil && m.kind != matchCount && !m.any(r, []string{f.text()}) {
				return false
			}
			r.msg.edited = true
			return true
		})
	}}
}

func values(list []*field) []string {
	out := make([]string, len(list))
	for i, f := range list {
		out[i] = f.text()
	}
	return out
}
