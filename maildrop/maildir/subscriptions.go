package maildir

import (
	"slices"
	"strings"
)

// The names of the files that hold a user's subscriptions.
const (
	SubscriptionsFile        = "subscriptions"
	CourierSubscriptionsFile = "courierimapsubscribed"
)

// subsHead is the beginning of Dovecot's newer format.
const subsHead = "V\t2\n\n"

// Subscriptions holds the names of subscribed folders, with "/" between levels,
// in file order.
type Subscriptions struct {
	Names []string
	// Old is set for the format without a header: one name per line, with
	// Separator between levels.
	Old       bool
	Separator string
}

// ParseSubscriptions parses either of Dovecot's formats. separator is the
// string between levels in the old format.
func ParseSubscriptions(text, separator string) Subscriptions {
	s := Subscriptions{Separator: separator}
	body, v2 := strings.CutPrefix(text, subsHead)
	s.Old = !v2 && text != ""
	for line := range strings.Lines(body) {
		line = strings.TrimRight(line, "\r\n")
		var name string
		if v2 {
			levels := strings.Split(line, "\t")
			for i := range levels {
				levels[i] = tabUnescape(levels[i])
			}
			name = strings.Join(levels, "/")
		} else {
			// In the old format, names are stored as on disk, in modified
			// UTF-7.
			plain, err := DecodeUTF7(line)
			if err != nil {
				plain = line
			}
			name = strings.ReplaceAll(plain, separator, "/")
		}
		if name = CanonicalFolder(name); name != "" && !slices.Contains(s.Names, name) {
			s.Names = append(s.Names, name)
		}
	}
	return s
}

// Bytes returns the contents of the file, in its original format.
func (s Subscriptions) Bytes() []byte {
	var b strings.Builder
	if !s.Old {
		b.WriteString(subsHead)
	}
	for _, name := range s.Names {
		levels := strings.Split(name, "/")
		if s.Old {
			b.WriteString(EncodeUTF7(strings.Join(levels, s.Separator)))
		} else {
			for i := range levels {
				levels[i] = tabEscape(EncodeUTF7(levels[i]))
			}
			b.WriteString(strings.Join(levels, "\t"))
		}
		b.WriteByte('\n')
	}
	return []byte(b.String())
}

var (
	escaper   = strings.NewReplacer("\x01", "\x011", "\x00", "\x010", "\t", "\x01t", "\r", "\x01r", "\n", "\x01n")
	unescaper = strings.NewReplacer("\x011", "\x01", "\x010", "\x00", "\x01t", "\t", "\x01r", "\r", "\x01n", "\n")
)

func tabEscape(s string) string { return escaper.Replace(s) }

func tabUnescape(s string) string {
	s = unescaper.Replace(s)
	if plain, err := DecodeUTF7(s); err == nil {
		return plain
	}
	return s
}
