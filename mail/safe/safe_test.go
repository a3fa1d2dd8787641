package safe

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestFunctions(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(string) string
		in   string
		want string
	}{
		{"header plain", Header, "no such user", "no such user"},
		{"header keeps UTF-8", Header, "Größe überschritten", "Größe überschritten"},
		{"header folding", Header, "a\r\n b\tc", "a   b c"},
		{"header injection", Header, "a\r\nBcc: x@example.org", "a  Bcc: x@example.org"},
		{"header C1", Header, "a\u0085b\u009bc", "a?b?c"},
		{"header bidi", Header, "exe.\u202egpj", "exe.?gpj"},
		{"header invalid", Header, "a\xffb", "a?b"},
		{"reply UTF-8", Reply, "zu groß", "zu gro?"},
		{"reply line ends", Reply, "a\r\n250 ok", "a??250 ok"},
		{"reply invalid", Reply, "a\xffb", "a?b"},
		{"log", Log, "x\x1b[31my\u200b", "x?[31my?"},
		{"line escape", Line, "x\x1b]0;title\x07y", "x·]0;title·y"},
		{"line zero width", Line, "pay\u200bpal\u2060\ufeff\u00ad", "pay·pal···"},
		{"line isolates", Line, "\u2066a\u2069", "·a·"},
		{"line separators", Line, "a\u2028b\u2029c", "a·b·c"},
		{"line variation selector", Line, "a\ufe0f\U000e0101", "a··"},
		{"line tag", Line, "a\U000e0041", "a·"},
		{"line filler", Line, "a\u3164\u115f", "a··"},
		{"line letters stay", Line, "用户 Jörg ελλ 👍", "用户 Jörg ελλ 👍"},
		{"text keeps lines", Text, "a\r\nb\n\tc\x00\u202e", "a\nb\n\tc··"},
		{"text lone CR", Text, "a\rb", "a b"},
		{"host", Host, "mail.example.org", "mail.example.org"},
		{"host literal", Host, "[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]"},
		{"host forgery", Host, "x (y) by z;\r\nü", "x__y__by_z____"},
		{"ascii", ASCII, "Größe\u202e", "Gr??e?"},
	} {
		if got := c.do(c.in); got != c.want {
			t.Errorf("%s: %q became %q, want %q", c.name, c.in, got, c.want)
		}
	}
}

func TestClip(t *testing.T) {
	for _, c := range []struct {
		in   string
		n    int
		want string
	}{
		{"short", 5, "short"},
		{"longer", 5, "lo..."},
		{"über alles", 6, "üb..."},
		{"aüüü", 5, "a..."},
		{"abc", 2, ".."},
		{"abc", 0, ""},
		{"abc", -1, ""},
	} {
		if got := Clip(c.in, c.n); got != c.want {
			t.Errorf("Clip(%q, %d) = %q, want %q", c.in, c.n, got, c.want)
		}
	}
}

func TestLimits(t *testing.T) {
	long := strings.Repeat("ü", 1<<20)
	for name, c := range map[string]struct {
		do  func(string) string
		max int
	}{
		"header": {Header, MaxHeader}, "reply": {Reply, MaxReply}, "log": {Log, MaxLog},
		"line": {Line, MaxLine}, "text": {Text, MaxText},
	} {
		got := c.do(long)
		if len(got) > c.max || len(got) < c.max-4 || !strings.HasSuffix(got, "...") {
			t.Errorf("%s: %d octets of at most %d, ending in %q", name, len(got), c.max, got[len(got)-8:])
		}
	}
	if got := Host(strings.Repeat("x", 1000)); len(got) != MaxHost {
		t.Errorf("host: %d octets", len(got))
	}
}

// Clean text is returned unchanged without allocating, because hot paths call
// these functions for every message.
func TestNoAllocations(t *testing.T) {
	const s = "mail.example.org"
	buf := make([]byte, 0, 600)
	for name, do := range map[string]func(){
		"Header": func() { Header(s) }, "Reply": func() { Reply(s) }, "Log": func() { Log(s) }, "Line": func() { Line(s) },
		"Host": func() { Host(s) }, "AppendReply": func() { buf = AppendReply(buf[:0], "no such user: ü", MaxReply) },
	} {
		if n := testing.AllocsPerRun(100, do); n > 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

// The results never contain control characters, characters that change the
// direction of text, zero-width characters or invalid UTF-8, and are never too
// long.
func FuzzSafe(f *testing.F) {
	for _, s := range []string{
		"plain", "a\r\nb", "\x00\x1b[2J", "\u202egpj.exe", "\u200b\u2060\ufeff", "\u0085\u009b", "\xff\xfe\xc3",
		"\u2066\u2069\u061c", "\u2028", "\U000e0041", "\u3164", "ü用户", strings.Repeat("é", 5000), "xn--", "[IPv6:::1]",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for name, c := range map[string]struct {
			out   string
			max   int
			lines bool
		}{
			"Header": {Header(s), MaxHeader, false}, "Reply": {Reply(s), MaxReply, false}, "Log": {Log(s), MaxLog, false},
			"Line": {Line(s), MaxLine, false}, "Text": {Text(s), MaxText, true}, "Host": {Host(s), MaxHost, false},
			"AppendReply": {string(AppendReply(nil, s, 50)), 50, false},
		} {
			if len(c.out) > c.max || !utf8.ValidString(c.out) {
				t.Fatalf("%s(%q) = %d octets, valid: %v", name, s, len(c.out), utf8.ValidString(c.out))
			}
			for _, r := range c.out {
				if c.lines && (r == '\n' || r == '\t') {
					continue
				}
				if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Variation_Selector,
					unicode.Bidi_Control, unicode.Other_Default_Ignorable_Code_Point) || r == utf8.RuneError {
					t.Fatalf("%s(%q) lets %U through", name, s, r)
				}
			}
		}
		for _, r := range Reply(s) {
			if r > '~' {
				t.Fatalf("Reply(%q) holds %U", s, r)
			}
		}
	})
}
