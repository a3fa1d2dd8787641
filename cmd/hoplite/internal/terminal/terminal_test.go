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

func TestColumned(t *testing.T) {
	long := strings.Repeat("x", 40)
	for _, c := range []struct{ name, label, text, want string }{
		{"fits", "id  ", "held      3m old  ", "id  held      3m old\n"},
		{"broken between columns", "id  ", long + "  by " + long + "  next in 5m", "id  " + long + "\n    by " + long + "  next in 5m\n"},
		{"one long column", "id  ", long + long, "id  " + long + long + "\n"},
	} {
		var out strings.Builder
		Columned(&out, c.label, c.text)
		if out.String() != c.want {
			t.Errorf("%s: got %q, want %q", c.name, out.String(), c.want)
		}
	}
}
