package conf

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A value without quotes is reported as such and does not hide other mistakes.
func TestMissingQuotes(t *testing.T) {
	for _, c := range []struct{ line, summary, detail string }{
		{"bytes = 25MB", "25MB must be in quotes", `Write bytes = "25MB".`},
		{"  duration=5m", "5m must be in quotes", `Write duration= "5m".`},
		{"rate = 30/1m # slow", "30/1m must be in quotes", `Write rate = "30/1m".`},
		{"listen = 127.0.0.1:25 // local", "127.0.0.1:25 must be in quotes", `Write listen = "127.0.0.1:25".`},
		{"addr = 192.0.2.1", "192.0.2.1 must be in quotes", `Write addr = "192.0.2.1".`},
		{"prefix = 192.0.2.0/24\r", "192.0.2.0/24 must be in quotes", `Write prefix = "192.0.2.0/24".`},
	} {
		_, diags := decodeValues("string = \"a\"\n" + c.line + "\nint = \"x\"")
		all := diags.All()
		if len(all) != 2 || all[0].Summary != c.summary || all[0].Detail != c.detail || all[0].Where.Start.Line != 2 {
			t.Errorf("%q: %v", c.line, diags.Err())
			continue
		}
		if all[1].Summary != `int: "x" is not an integer` || all[1].Where.Start.Line != 3 {
			t.Errorf("%q: the next mistake is %+v", c.line, all[1])
		}
	}
}

// The marker below the line points at the value, even though quotes were added.
func TestMissingQuotesMark(t *testing.T) {
	_, diags := decodeValues("bytes = 25MB\nduration = 5m\nint = \"x\"")
	want := `values.hcl:1:9: 25MB must be in quotes
    1 | bytes = 25MB
      |         ^^^^
  Write bytes = "25MB".

values.hcl:2:12: 5m must be in quotes
    2 | duration = 5m
      |            ^^
  Write duration = "5m".

values.hcl:3:7: int: "x" is not an integer
    3 | int = "x"
      |       ^^^
  For example: int = 10.`
	if got := diags.Err().Error(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// An unclosed quote is one mistake, at its own line. Mistakes on earlier lines are
// reported as well.
func TestUnclosedQuote(t *testing.T) {
	const rest = "smtp \"b\" {\n  listen = [\"127.0.0.1:25\"]\n  chain = \"c\"\n}\nchain \"c\" {\n  filter \"size\" {\n    max = \"1MB\"\n  }\n}\n"
	for _, c := range []struct {
		text  string
		lines []int
	}{
		{"smtp \"a\" {\n  chain = \"inbound\n}\n", []int{2}},
		{"smtp \"a\" {\n  listen = [\"x, \"y\"]\n}\n", []int{2}},
		{"smtp \"a\" {\n  chain = inbound\"\n}\n", []int{2}},
		{"smtp \"a {\n  chain = \"inbound\"\n}\n", []int{1}},
		{"smtp a\" {\n  chain = \"inbound\"\n}\n", []int{1}},
		{"string = \"a\r\nstring = \"b\"\r\n", []int{1}},
		{"string = 'a'\nsmtp \"a {\n}\n", []int{1, 1, 2}},
		{"bytes = 25MB\nstring = \"a\n", []int{1, 2}},
	} {
		f := Parse("broken.hcl", []byte(c.text+rest))
		all := f.Diags.All()
		var lines []int
		for _, one := range all {
			lines = append(lines, one.Where.Start.Line)
		}
		if !slices.Equal(lines, c.lines) || all[len(all)-1].Summary != "a quote is not closed on this line" {
			t.Errorf("%q: mistakes on lines %v\n%v", c.text, lines, f.Diags.Err())
		}
	}
}

// A file that cannot be parsed is not decoded, because the errors that follow
// would only confuse.
func TestUnparsable(t *testing.T) {
	for _, text := range []string{
		"string = ",
		"string = \"open",
		"smtp \"a\" {",
		"}",
		"string \"a\"",
		"strings = [\"a\" \"b\"]",
		"string = \"a\" int = 1",
		"\x00",
		"string = \"a\"\nstring = \"b\"",
	} {
		f := Parse("broken.hcl", []byte(text+"\n"))
		v := values{Int: 3}
		if f.Parsed() || f.Decode(&v) || f.Diags.Mistakes() == 0 || v.Int != 3 {
			t.Errorf("%q: parsed %v, %d mistakes, %+v", text, f.Parsed(), f.Diags.Mistakes(), v)
		}
		for _, one := range f.Diags.All() {
			if one.Where.Filename != "broken.hcl" || one.Where.Start.Line < 1 {
				t.Errorf("%q: no position: %+v", text, one)
			}
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "relay.hcl")
	if err := os.WriteFile(path, []byte("int = 7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	var v values
	if f.Name != path || !f.Parsed() || !f.Decode(&v) || v.Int != 7 {
		t.Errorf("%s: %+v, %v", f.Name, v, f.Diags.Err())
	}
	if _, err := Load(filepath.Join(dir, "missing.hcl")); !os.IsNotExist(err) {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := Load(dir); err == nil {
		t.Error("a folder is read as a file")
	}
	if err := os.Truncate(path, maxFile+1); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "is too large for a configuration file") {
		t.Errorf("a large file: %v", err)
	}
}
