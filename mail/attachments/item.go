package attachments

import (
	"fmt"
	"strings"

	"hoplite/mail/safe"
)

// Label returns a name for the item that can be used in a sentence and is safe
// to print.
func (it *Item) Label() string {
	if it.Name == "" {
		return "part " + it.Path
	}
	return safe.Line(BaseName(it.Name))
}

// String describes the item on one line that is safe to print.
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
		parts = append(parts, "not scanned: "+it.Unread)
	}
	return safe.Line(strings.Join(parts, ", "))
}
