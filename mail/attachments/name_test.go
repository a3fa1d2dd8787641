package attachments

import (
	"strings"
	"testing"
)

// TestBaseName checks that BaseName returns the name that a file system would
// use.
func TestBaseName(t *testing.T) {
	for in, want := range map[string]string{
		"a.txt":             "a.txt",
		"/etc/a.txt":        "a.txt",
		`C:\dir\a.txt`:      "a.txt",
		"../../a.txt":       "a.txt",
		"a.exe. .":          "a.exe",
		"a.txt:stream":      "a.txt",
		"a\u200b.exe":       "a.exe",
		"a\x00.exe":         "a.exe",
		"a\uff0eexe":        "a.exe",
		"a\u2024exe":        "a.exe",
		"\uff41.\uff45xe":   "a.exe",
		"a\u202etxt.exe":    "atxt.exe",
		"M\u0061\u0308rz.x": "M\u00e4rz.x",
	} {
		if got := BaseName(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// TestTricks checks the tricks by which a name hides the kind of a file.
func TestTricks(t *testing.T) {
	const pe, plain = "application/vnd.microsoft.portable-executable", "text/plain"
	for _, c := range []struct {
		names []string
		kind  string
		want  string
	}{
		{[]string{"a.txt"}, plain, ""},
		{[]string{"a.exe"}, pe, ""},
		{[]string{"archive.tar.gz"}, plain, ""},
		{[]string{"v1.2.exe"}, pe, ""},
		{[]string{"a.pdf.exe"}, pe, TrickDouble},
		{[]string{"A.PDF.EXE"}, pe, TrickDouble},
		{[]string{"a.pdf          .exe"}, pe, TrickDouble + " " + TrickHidden},
		{[]string{"a.exe."}, pe, TrickHidden},
		{[]string{"a\u200b.txt"}, plain, TrickHidden},
		{[]string{"a\u202egpj.exe"}, pe, TrickReversed},
		{[]string{"../a.txt"}, plain, TrickPath},
		{[]string{"/a.txt"}, plain, TrickPath},
		{[]string{`C:\a.txt`}, plain, TrickPath},
		{[]string{"dir/a.txt"}, plain, ""},
		{[]string{"a.png"}, pe, TrickType},
		{nil, pe, TrickType},
		{nil, plain, ""},
		{[]string{"a.txt", "a.exe"}, plain, TrickNames},
		{[]string{"a.txt", "b.txt"}, plain, ""},
		{[]string{"a.txt", "a.pdf"}, plain, ""},
	} {
		if got := strings.Join(tricksOf(c.names, c.kind), " "); got != c.want {
			t.Errorf("%q: %q, want %q", c.names, got, c.want)
		}
	}
}

// TestBeginLine parses begin lines of uuencoded files (uuencode(1p)), and text
// that resembles them.
func TestBeginLine(t *testing.T) {
	for _, c := range []struct {
		line, name string
		b64, ok    bool
	}{
		{"begin 644 a.txt\r\n", "a.txt", false, true},
		{"begin 0644 a b.txt\n", "a b.txt", false, true},
		{"begin\t644\ta.txt\n", "a.txt", false, true},
		{`begin 644 "a.txt"`, "a.txt", false, true},
		{"begin-base64 644 a.txt\n", "a.txt", true, true},
		{"begin 644\n", "", false, false},
		{"begin 64 a\n", "", false, false},
		{"begin 649 a\n", "", false, false},
		{"begin 12345670 a\n", "", false, false},
		{"begin the day\n", "", false, false},
		{"beginning 644 a\n", "", false, false},
		{"Begin 644 a\n", "", false, false},
		{" begin 644 a\n", "", false, false},
	} {
		if name, b64, ok := beginLine([]byte(c.line)); ok != c.ok || name != c.name || ok && b64 != c.b64 {
			t.Errorf("%q: %q, %v, %v", c.line, name, b64, ok)
		}
	}
}
