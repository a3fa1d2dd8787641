package trace

import "unicode/utf8"

// Clean makes text of a stranger fit for a terminal or a page: control
// characters, escape sequences and marks that turn the direction of text
// around become visible dots.
func Clean(s string) string {
	bad := false
	for _, r := range s {
		if hidden(r) {
			bad = true
			break
		}
	}
	if !bad {
		return s
	}
	out := make([]rune, 0, len(s))
	for _, r := range s {
		switch {
		case r == '\t' || r == '\n' || r == '\r':
			r = ' '
		case hidden(r):
			r = '·'
		}
		out = append(out, r)
	}
	return string(out)
}

// hidden runes are those that a reader does not see, or that move others.
func hidden(r rune) bool {
	switch {
	case r < ' ', r >= 0x7f && r < 0xa0, r == utf8.RuneError:
		return true
	case r == 0xad, r == 0x61c, r >= 0x200b && r <= 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x2060 && r <= 0x206f, r == 0xfeff, r >= 0xfff9 && r <= 0xfffb:
		return true
	case r >= 0xe0000 && r <= 0xe0fff, r == 0x115f, r == 0x1160, r == 0x3164, r == 0xffa0, r == 0x180e:
		return true
	}
	return false
}
