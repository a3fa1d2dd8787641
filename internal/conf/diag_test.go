package conf

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
)

// rangeOf returns the range of n octets at offset off in src.
func rangeOf(src string, off, n int) Range {
	pos := func(off int) hcl.Pos {
		line := strings.Count(src[:off], "\n")
		return hcl.Pos{Line: line + 1, Column: off - strings.LastIndex(src[:off], "\n"), Byte: off}
	}
	return Range{Filename: "relay.hcl", Start: pos(off), End: pos(off + n)}
}

// written returns the output of Write for one finding in src.
func written(src string, one Diagnostic) string {
	d := &Diagnostics{}
	d.addSource("relay.hcl", []byte(src))
	d.add(one)
	var b strings.Builder
	d.Write(&b)
	return b.String()
}

func TestWrite(t *testing.T) {
	long := strings.Repeat("word ", 30)
	for _, c := range []struct {
		name, src string
		off, n    int
		one       Diagnostic
		want      string
	}{
		{
			"a finding without a position", "", 0, 0, Diagnostic{Summary: "broken", Detail: "Fix it."},
			"broken\n  Fix it.\n",
		},
		{
			"a range", "size = 5\nwait = \"x\"\n", 16, 3, Diagnostic{Summary: "broken"},
			"relay.hcl:2:8: broken\n    2 | wait = \"x\"\n      |        ^^^\n",
		},
		{
			"a warning", "size = 5\n", 7, 1, Diagnostic{Summary: "small", Warning: true},
			"relay.hcl:1:8: warning: small\n    1 | size = 5\n      |        ^\n",
		},
		{
			"several lines of detail", "size = 5\n", 0, 4, Diagnostic{Summary: "broken", Detail: "First.\nSecond."},
			"relay.hcl:1:1: broken\n    1 | size = 5\n      | ^^^^\n  First.\n  Second.\n",
		},
		{
			"a range over several lines", "list = [\n  1,\n]\n", 7, 8, Diagnostic{Summary: "broken"},
			"relay.hcl:1:8: broken\n    1 | list = [\n      |        ^\n",
		},
		{
			"tabs", "smtp {\n\tsize = 5\n}\n", 15, 1, Diagnostic{Summary: "broken"},
			"relay.hcl:2:9: broken\n    2 |   size = 5\n      |          ^\n",
		},
		{
			"characters of several octets", "text = \"grüße\" + x\n", 19, 1, Diagnostic{Summary: "broken"},
			"relay.hcl:1:20: broken\n    1 | text = \"grüße\" + x\n      |                  ^\n",
		},
		{
			"an empty range", "size =\n", 6, 0, Diagnostic{Summary: "broken"},
			"relay.hcl:1:7: broken\n    1 | size =\n      |       ^\n",
		},
		{
			"a password", "password = \"open sesame\"\n", 11, 13, Diagnostic{Summary: "broken"},
			"relay.hcl:1:12: broken\n    1 | password = \"***\"\n      |            ^\n",
		},
		{
			"a token in a longer line", "auth { api_key = \"open sesame\", x = 1 }\n", 32, 1, Diagnostic{Summary: "broken"},
			"relay.hcl:1:33: broken\n    1 | auth { api_key = \"***\", x = 1 }\n      |                                ^\n",
		},
		{
			"control characters", "text = \"\x1b[31m\u202e\"\n", 0, 4, Diagnostic{Summary: "broken"},
			"relay.hcl:1:1: broken\n    1 | text = \"·[31m·\"\n      | ^^^^\n",
		},
		{
			"a long summary", "size = 5\n", 0, 4, Diagnostic{Summary: long},
			"relay.hcl:1:1: word word word word word word word word word word word word word\n" +
				"    word word word word word word word word word word word word word word word\n    word word\n" +
				"    1 | size = 5\n      | ^^^^\n",
		},
	} {
		if c.src != "" {
			c.one.Where = rangeOf(c.src, c.off, c.n)
		}
		if got := written(c.src, c.one); got != c.want {
			t.Errorf("%s:\ngot\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
}

// Only the part around the position is printed of a long line.
func TestLongLines(t *testing.T) {
	src := "list = [" + strings.Repeat("\"abc\", ", 50) + "\"x\"]\n"
	for off := 0; off < len(src)-1; off += 7 {
		lines := strings.Split(written(src, Diagnostic{Where: rangeOf(src, off, 1), Summary: "broken"}), "\n")
		text, mark := []rune(lines[1]), []rune(lines[2])
		if len(text) > width || len(mark) > width {
			t.Fatalf("over %d columns:\n%s\n%s", width, lines[1], lines[2])
		}
		at := slices.Index(mark, '^')
		if shown := text[at]; shown != rune(src[off]) && shown != '…' {
			t.Errorf("octet %d is %q, the mark is below %q:\n%s\n%s", off, src[off], shown, lines[1], lines[2])
		}
	}
}

func TestDiagnostics(t *testing.T) {
	src := "a = 1\nb = 2\nc = 3\n"
	d := &Diagnostics{}
	if d.Err() != nil || d.Mistakes() != 0 || len(d.All()) != 0 || len(d.Warnings()) != 0 {
		t.Error("the zero value has findings")
	}
	d.addSource("relay.hcl", []byte(src))
	d.Warn(rangeOf(src, 6, 1), "b is unusual", "")
	if d.Err() != nil || d.Mistakes() != 0 {
		t.Errorf("a warning is a mistake: %v", d.Err())
	}
	d.Add(rangeOf(src, 12, 1), "c is wrong", "Use 4.")
	d.Add(rangeOf(src, 0, 1), "a is wrong", "")
	d.Add(rangeOf(src, 0, 1), "a is wrong", "") // the same finding again
	d.Add(Range{Filename: "other.hcl"}, "the file is wrong", "")
	d.Add(Range{}, "something is missing", "")
	var order []string
	for _, one := range d.All() {
		order = append(order, one.Summary)
	}
	want := []string{"something is missing", "the file is wrong", "a is wrong", "b is unusual", "c is wrong"}
	if !slices.Equal(order, want) {
		t.Errorf("order %q, want %q", order, want)
	}
	if d.Mistakes() != 4 {
		t.Errorf("%d mistakes", d.Mistakes())
	}
	err := d.Err()
	if !errors.Is(err, ErrMistakes) || errors.Is(errors.New("x"), ErrMistakes) {
		t.Errorf("Err: %v", err)
	}
	var b strings.Builder
	d.Write(&b)
	if err.Error()+"\n" != b.String() || strings.Count(b.String(), "\n\n") != len(want)-1 {
		t.Errorf("Err: %q, Write: %q", err.Error(), b.String())
	}
	warnings := []string{"relay.hcl:2:1: warning: b is unusual\n    2 | b = 2\n      | ^"}
	if got := d.Warnings(); !slices.Equal(got, warnings) {
		t.Errorf("warnings %q, want %q", got, warnings)
	}
}

// For programs each finding is one line without the quoted source.
func TestPlain(t *testing.T) {
	src := "a = 1\nb = 2\n"
	d := &Diagnostics{}
	d.addSource("relay.hcl", []byte(src))
	d.Add(rangeOf(src, 0, 1), "a is wrong", "Use 4,\nor 5.")
	d.Add(rangeOf(src, 6, 1), "b is "+strings.Repeat("very ", 20)+"wrong", "")
	d.Warn(rangeOf(src, 6, 1), "b is unusual", "")
	want := "relay.hcl:1:1: a is wrong. Use 4, or 5.; relay.hcl:2:1: b is " + strings.Repeat("very ", 20) + "wrong"
	if got := Plain(fmt.Errorf("reload: %w", d.Err())); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := d.Lines(true); !slices.Equal(got, []string{"relay.hcl:2:1: warning: b is unusual"}) {
		t.Errorf("warnings %q", got)
	}
	if got := Plain(errors.New("one\n  two")); got != "one two" {
		t.Errorf("another error: %q", got)
	}
}

// A position outside the source is printed without a quoted line.
func TestForeignPositions(t *testing.T) {
	for _, r := range []Range{
		{Filename: "relay.hcl", Start: hcl.Pos{Line: 9, Column: 1}},
		{Filename: "other.hcl", Start: hcl.Pos{Line: 1, Column: 1}},
		{Filename: "relay.hcl"},
	} {
		if got := written("a = 1\n", Diagnostic{Where: r, Summary: "broken"}); strings.Contains(got, "|") || !strings.HasSuffix(got, ": broken\n") {
			t.Errorf("%v: %q", r, got)
		}
	}
}

func TestWrap(t *testing.T) {
	for _, c := range []struct {
		text, first, next string
		cols              int
		want              []string
	}{
		{"", "- ", "  ", 10, nil},
		{"one", "", "", 10, []string{"one"}},
		{"one two three", "", "", 7, []string{"one two", "three"}},
		{"one two three", "- ", "  ", 9, []string{"- one two", "  three"}},
		{"one  two\tthree", "", "", 80, []string{"one two three"}},
		{"unbreakable word", "", "", 5, []string{"unbreakable", "word"}},
		{"one\ntwo three", "- ", "  ", 7, []string{"- one", "  two", "  three"}},
		{"one\n\ntwo", "", "  ", 80, []string{"one", "", "  two"}},
		{"  indented text", "", "> ", 12, []string{"  indented", ">   text"}},
		{"grüße über alles", "", "", 10, []string{"grüße über", "alles"}},
		{"exactly ten", "", "", 11, []string{"exactly ten"}},
	} {
		if got := Wrap(c.text, c.first, c.next, c.cols); !slices.Equal(got, c.want) {
			t.Errorf("Wrap(%q, %q, %q, %d) = %q, want %q", c.text, c.first, c.next, c.cols, got, c.want)
		}
	}
}

// No line is wider than allowed, and no word is lost.
func TestWrapWidths(t *testing.T) {
	text := "All mistakes in a file are found in one run, each with a suggested correction."
	for cols := 16; cols < 90; cols++ {
		lines := Wrap(text, "  - ", "    ", cols)
		var words []string
		for _, l := range lines {
			if len(l) > cols {
				t.Errorf("%d columns: %q", cols, l)
			}
			words = append(words, strings.Fields(l)...)
		}
		if got := strings.Join(words, " "); got != "- "+text {
			t.Errorf("%d columns: %q", cols, got)
		}
	}
	if got := fmt.Sprint(Wrap("a b", "", "", 0)); got != "[a b]" {
		t.Errorf("no room: %s", got)
	}
}
