package attachments

import (
	"fmt"
	"strings"
)

// Label is the item's name for a sentence, safe to print.
func (it *Item) Label() string {
	if it.Name == "" {
		return "part " + it.Path
	}
	return printable(BaseName(it.Name))
}

// String is the item in one line, safe to print.
func (it Item) String() string {
	parts := []string{it.Path, it.Kind, fmt.Sprintf("%d octets", it.Size)}
	if it.Name != "" && !strings.HasSuffix(it.Path, it.Name) {
		parts[0] += fmt.Sprintf(" %q", it.Name)
	}
	if it.Type != "" && it.Type != it.Kind {
		parts[1] = it.Type + " (is " + it.Kind + ")"
	}
	if it.Via != "mime" {
		parts = append(parts, it.Via)
	}
	if it.Encrypted {
		parts = append(parts, "encrypted")
	}
	parts = append(parts, it.Tricks...)
	if it.Unread != "" {
		parts = append(parts, "not looked into: "+it.Unread)
	}
	return printable(strings.Join(parts, ", "))
}

// printable keeps control characters and text direction out of replies,
// terminals and logs.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '?'
		}
		return r
	}, s)
}
