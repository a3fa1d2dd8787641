package terminal

import (
	"strings"
	"testing"
)

func TestWrap(t *testing.T) {
	word := strings.Repeat("x", 30)
	for _, c := range []struct{ name, label, text, want string }{
		{"one line", "  why   ", "a  b\nc", "  why   a b c\n"},
		{"no text", "  why ", "", "  why \n"},
		{"broken under its start", "ab ", word + " " + word + " " + word, "ab " + word + " " + word + "\n   " + word + "\n"},
		{"a label of two-byte letters", "äö ", word + " " + word + " " + word, "äö " + word + " " + word + "\n   " + word + "\n"},
		{"a long word", "ab ", strings.Repeat("y", 100), "ab " + strings.Repeat("y", 100) + "\n"},
	} {
		var out strings.Builder
		Wrap(&out, c.label, c.text)
		if out.String() != c.want {
			t.Errorf("%s: got %q, want %q", c.name, out.String(), c.want)
		}
	}
}

func TestCount(t *testing.T) {
	for n, want := range map[int]string{0: "0 messages", 1: "1 message", 2: "2 messages"} {
		if got := Count(n, "message"); got != want {
			t.Errorf("Count(%d) = %q", n, got)
		}
	}
}
