package wire

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// Each token ends where its octet class ends; the rest is left for the next
// token.
func TestTokens(t *testing.T) {
	tests := []struct {
		name, in   string
		read       func(*Parser) string
		want, rest string
		bad        string
	}{
		{"tag", "a1.]-x y", (*Parser).Tag, "a1.]-x", " y", ""},
		{"tag", "a+", (*Parser).Tag, "a", "+", ""},
		{"tag", "*", (*Parser).Tag, "", "", "Missing tag"},
		{"atom", "NIL)", (*Parser).Atom, "NIL", ")", ""},
		{"atom", "a]b", (*Parser).Atom, "a", "]b", ""},
		{"atom", `a"b`, (*Parser).Atom, "a", `"b`, ""},
		{"atom", "", (*Parser).Atom, "", "", `Expected an atom before ""`},
		{"atom", "\x80", (*Parser).Atom, "", "", `Expected an atom before "?"`},
		{"command", "fetch 1", (*Parser).Command, "FETCH", " 1", ""},
		{"command", " x", (*Parser).Command, "", "", "Missing command"},
		{"astring", "a]b c", (*Parser).AString, "a]b", " c", ""},
		{"astring", `"a b" c`, (*Parser).AString, "a b", " c", ""},
		{"astring", "{3}\r\na b c", (*Parser).AString, "a b", " c", ""},
		{"astring", "{3+}\r\na b c", (*Parser).AString, "a b", " c", ""},
		{"astring", "~{1}\r\nx", (*Parser).AString, "x", "", ""},
		{"astring", "~x", (*Parser).AString, "~x", "", ""},
		{"astring", "(x", (*Parser).AString, "", "", `Expected a string before "(x"`},
		{"string", `"\"\\"`, (*Parser).String, `"\`, "", ""},
		{"string", `""x`, (*Parser).String, "", "x", ""},
		{"string", "\"\u00fc\"", (*Parser).String, "ü", "", ""},
		{"string", "\"\xff\"", (*Parser).String, "", "", "Quoted string is not valid UTF-8"},
		{"string", `"\x"`, (*Parser).String, "", "", "Invalid escape in quoted string"},
		{"string", `"\`, (*Parser).String, "", "", "Invalid escape in quoted string"},
		{"string", `"x`, (*Parser).String, "", "", "Unterminated quoted string"},
		{"string", "\"a\rb\"", (*Parser).String, "", "", "Invalid character in quoted string"},
		{"string", "\"a\x00b\"", (*Parser).String, "", "", "Invalid character in quoted string"},
		{"string", "atom", (*Parser).String, "", "", `Expected a string before "atom"`},
		{"literal", "{4}\r\nabc", (*Parser).String, "", "", "Invalid literal"},
		{"literal", "{x}\r\nabc", (*Parser).String, "", "", "Invalid literal"},
		{"literal", "{1}x\r\nabc", (*Parser).String, "", "", "Invalid literal"},
		{"literal", "{0}\r\n", (*Parser).String, "", "", ""},
		{"literal", "{2}\r\na\x00", (*Parser).String, "", "", "NUL in a literal"},
		{"literal", "{1}", (*Parser).String, "", "", "Invalid literal"},
		{"pattern", "a*%b]/\xc3\xbc c", (*Parser).ListMailbox, "a*%b]/ü", " c", ""},
		{"pattern", `"a *"`, (*Parser).ListMailbox, "a *", "", ""},
		{"pattern", "(", (*Parser).ListMailbox, "", "", `Expected a pattern before "("`},
	}
	for _, tc := range tests {
		p := NewParser([]byte(tc.in), AllForms)
		got := tc.read(p)
		if tc.bad != "" {
			if p.Err() == nil || p.Err().Error() != tc.bad || got != "" {
				t.Errorf("%s %q: %q, error %v, want %q", tc.name, tc.in, got, p.Err(), tc.bad)
			}
			continue
		}
		if rest := string(p.b[p.i:]); p.Err() != nil || got != tc.want || rest != tc.rest {
			t.Errorf("%s %q: %q and %q left, error %v", tc.name, tc.in, got, rest, p.Err())
		}
	}
}

func TestNString(t *testing.T) {
	tests := []struct {
		in, want string
		ok       bool
		bad      string
	}{
		{"NIL", "", false, ""}, {"nil", "", false, ""}, {`"NIL"`, "NIL", true, ""}, {`""`, "", true, ""}, {"{3}\r\nNIL", "NIL", true, ""},
		{"x", "", false, "Expected a string or NIL"}, {"", "", false, `Expected an atom before ""`},
	}
	for _, tc := range tests {
		p := NewParser([]byte(tc.in), AllForms)
		got, ok := p.NString()
		switch err := p.End(); {
		case tc.bad != "" && (err == nil || err.Error() != tc.bad):
			t.Errorf("%q: error %v, want %q", tc.in, err, tc.bad)
		case tc.bad == "" && (err != nil || got != tc.want || ok != tc.ok):
			t.Errorf("%q: %q, %v, %v", tc.in, got, ok, err)
		}
	}
}

// An error text is short and valid UTF-8, regardless of what the client sent.
func TestErrorTexts(t *testing.T) {
	for _, in := range []string{strings.Repeat("\xff", 1000), strings.Repeat("(", 100_000), "\x00\x01\x02"} {
		p := NewParser([]byte(in), AllForms)
		p.Number()
		if text := p.Err().Error(); len(text) > 200 || !utf8.ValidString(text) || strings.ContainsAny(text, "\x00\r\n") {
			t.Errorf("%.20q: %q", in, text)
		}
	}
	p := NewParser([]byte("1 x"), AllForms)
	p.Number()
	p.Fail("first")
	p.Fail("second")
	if err := p.End(); err == nil || err.Error() != "first" {
		t.Errorf("error %v", err)
	}
}

func TestLiterals(t *testing.T) {
	tests := []struct {
		line  string
		want  Literal
		start int
		ok    bool
	}{
		{"a LOGIN {5}\r\n", Literal{Size: 5, Sync: true}, 8, true},
		{"a LOGIN {5}\n", Literal{Size: 5, Sync: true}, 8, true},
		{"a LOGIN {5+}\r\n", Literal{Size: 5}, 8, true},
		{"x ~{0}\r\n", Literal{Sync: true, Binary: true}, 2, true},
		{"x ~{12+}\r\n", Literal{Size: 12, Binary: true}, 2, true},
		{"{7}\r\n", Literal{Size: 7, Sync: true}, 0, true},
		{"x {99999999999999999999}\r\n", Literal{Size: 1<<63 - 1, Sync: true}, 2, true},
		{"x {5} \r\n", Literal{}, 0, false},
		{"x {}\r\n", Literal{}, 0, false},
		{"x {+}\r\n", Literal{}, 0, false},
		{"x {-5}\r\n", Literal{}, 0, false},
		{"x 5}\r\n", Literal{}, 0, false},
		{"}\r\n", Literal{}, 0, false},
		{"x {5", Literal{}, 0, false},
		{"\r\n", Literal{}, 0, false},
	}
	for _, tc := range tests {
		got, start, ok := literal([]byte(tc.line))
		if ok != tc.ok || ok && (got != tc.want || start != tc.start) {
			t.Errorf("%q: %+v at %d, %v", tc.line, got, start, ok)
		}
	}
}

// Only a literal in the message position is a message. Any other literal is
// part of the command's arguments and counts towards their limit.
func TestIsMessage(t *testing.T) {
	for in, want := range map[string]bool{
		"a APPEND INBOX ":      true,
		"a append \"x y\" ":    true,
		"a APPEND {3}\r\nabc ": true,
		`a APPEND x (\Seen) `:  true,
		`a APPEND x (\Seen) "17-Jul-1996 02:44:25 -0700" `: true,
		"a APPEND x UTF8 (":  true,
		"a REPLACE 4 x ":     true,
		"a UID REPLACE 4 x ": true,
		"a APPEND ":          false,
		"a APPEND":           false,
		"a REPLACE x ":       false,
		"a LOGIN x ":         false,
		"a SEARCH TEXT ":     false,
		"APPEND x ":          false,
		"":                   false,
	} {
		if got := isMessage([]byte(in)); got != want {
			t.Errorf("%q: %v", in, got)
		}
	}
}

// Neither side holds a buffer between commands, and collected output is sent in
// order, whether or not it fits into the buffer.
func TestWriterBuffers(t *testing.T) {
	var out strings.Builder
	w := NewWriter(&out)
	var want strings.Builder
	for _, size := range []int{1, 100, bufSize - 50, 10, bufSize, bufSize + 1, 3 * bufSize, 0, 5} {
		text := strings.Repeat("x", size)
		want.WriteString(text + "|" + text)
		if n, err := w.Write([]byte(text + "|")); n != size+1 || err != nil {
			t.Fatalf("%d octets: %d, %v", size, n, err)
		}
		if n, err := w.WriteString(text); n != size || err != nil {
			t.Fatalf("string of %d octets: %d, %v", size, n, err)
		}
		room := w.Room(64)
		if cap(room) < 64 || len(room) != 0 {
			t.Fatalf("room for %d", cap(room))
		}
		grown := append(room, strings.Repeat("y", size)...)
		w.Took(grown)
		want.WriteString(strings.Repeat("y", size))
	}
	if err := w.Flush(); err != nil || w.buf != nil {
		t.Errorf("%v, buffer %v", err, w.buf != nil)
	}
	if out.String() != want.String() {
		t.Errorf("%d octets sent, want %d", out.Len(), want.Len())
	}
}

func TestAppendAString(t *testing.T) {
	long := strings.Repeat("x", 201)
	for in, want := range map[string]string{
		"INBOX": "INBOX", "": `""`, "a b": `"a b"`, "NIL": `"NIL"`, "nil": `"nil"`, "NILS": "NILS", `a"b`: `"a\"b"`, "a]b": `"a]b"`, "a*": `"a*"`,
		"&APw-": "&APw-", "a\nb": "{3}\r\na\nb", "ü": "{2}\r\nü", "a\x00b": "{2}\r\nab", long: `"` + long + `"`,
	} {
		if got := string(AppendAString(nil, in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
