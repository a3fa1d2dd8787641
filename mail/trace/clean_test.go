package trace

import "testing"

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"plain ü":          "plain ü",
		"\x1b[31mred":      "·[31mred",
		"a\u202egpj.exe":   "a·gpj.exe",
		"fold\r\n\tline":   "fold   line",
		"zero\u200bwidth":  "zero·width",
		"\xff broken utf8": "· broken utf8",
	} {
		if got := Clean(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
