package smime

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"hoplite/mail/mime"
)

// checkProtection compares the signed copies of header fields with the outer
// fields, which can be changed in transit. The copies may follow RFC 9788 (hp),
// its drafts (protected-headers), or be in a wrapped message (RFC 8551, 3.1).
func checkProtection(r *run, w where, l *Layer, inner *mime.Part) {
	if l.Verdict == "bad" || len(l.Signers) == 0 || r.header == nil {
		return
	}
	hp := strings.ToLower(mime.Get(inner.Params, "hp"))
	header, how := inner.Raw, "hp="+hp
	switch {
	case hp == "clear" || hp == "cipher":
	case mime.Get(inner.Params, "protected-headers") != "":
		how = "protected-headers"
	case inner.Message() != nil && strings.EqualFold(mime.Get(inner.Params, "forwarded"), "no"):
		header, how = inner.Message().Raw, "wrapped message"
	default:
		return
	}
	var names []string
	for f := range mime.Fields(header) {
		name := strings.ToLower(string(f.Name))
		if len(name) == 0 || strings.HasPrefix(name, "content-") || name == "mime-version" || name == "hp-outer" || slices.Contains(names, name) {
			continue
		}
		names = append(names, name)
	}
	r.find("header_protection", info, w.path, fmt.Sprintf("%d header fields are signed (%s)", len(names), how), "")
	if hp == "cipher" {
		// The outer fields were obscured deliberately, as recorded in
		// HP-Outer.
		compareOuter(r, w, header)
		return
	}
	for _, name := range names {
		compareField(r, w, name, values(header, name), values(r.header, name))
	}
}

// compareOuter compares the outer header with its signed copy.
func compareOuter(r *run, w where, header []byte) {
	outer := map[string][]string{}
	var order []string
	for f := range mime.Fields(header) {
		if !f.Is("HP-Outer") {
			continue
		}
		name, value, ok := strings.Cut(f.Unfolded(), ":")
		if !ok {
			continue
		}
		name = strings.ToLower(strings.TrimSpace(name))
		if _, seen := outer[name]; !seen {
			order = append(order, name)
		}
		outer[name] = append(outer[name], normal(name, value))
	}
	for _, name := range order {
		compareField(r, w, name, outer[name], values(r.header, name))
	}
}

func compareField(r *run, w where, name string, signed, seen []string) {
	if slices.Equal(signed, seen) {
		return
	}
	text := fmt.Sprintf("%s is %q, but %q was signed", fieldName(name), strings.Join(seen, ", "), strings.Join(signed, ", "))
	if len(seen) == 0 {
		text = fmt.Sprintf("%s was removed; %q was signed", fieldName(name), strings.Join(signed, ", "))
	}
	if name == "from" {
		r.find("header_from", bad, w.path, text, "the sender shown was changed in transit")
		return
	}
	r.find("header_changed", warning, w.path, text, "")
}

// values returns all values of a field, normalised for folding, encoding and
// display names.
func values(header []byte, name string) (out []string) {
	for f := range mime.Fields(header) {
		if f.Is(name) {
			out = append(out, normal(name, f.Unfolded()))
		}
	}
	return out
}

func normal(name, value string) string {
	switch name {
	case "from", "sender", "reply-to", "to", "cc", "bcc":
		if list := addressList(value); len(list) > 0 {
			return strings.Join(list, ", ")
		}
	}
	return strings.Join(strings.Fields(mime.DecodeWords(value)), " ")
}

// fieldName capitalises a lower-case field name in the usual way.
func fieldName(name string) string {
	b := []byte(name)
	up := true
	for i, c := range b {
		if up {
			b[i] = bytes.ToUpper([]byte{c})[0]
		}
		up = c == '-'
	}
	return string(b)
}

// addressList returns the addresses in a field, as mail programs would show
// them.
func addressList(v string) (out []string) {
	for _, a := range mime.ParseAddresses(v) {
		if s := a.Addr(); s != "" {
			out = append(out, s)
		}
	}
	return out
}
