package alias

import (
	"errors"
	"strings"
	"testing"
)

// TestFilesInPractice reads files as administrators write them. Each pattern
// must resolve to the given addresses, and no other line may be affected.
func TestFilesInPractice(t *testing.T) {
	for _, c := range []struct{ name, text, pattern, want string }{
		{"tabs between pattern and address", "info@b.example\t\tann@example.org\n", "info@b.example", "ann@example.org"},
		{"a comma without a space", "info@b.example a@b.example,c@d.example\n", "info@b.example", "a@b.example c@d.example"},
		{"a comma at the end", "info@b.example a@b.example,\n", "info@b.example", "a@b.example"},
		{"a comma at the end of a continued line", "info@b.example a@b.example,\n  c@d.example\n", "info@b.example", "a@b.example c@d.example"},
		{"Windows line endings", "info@b.example a@b.example\r\nx@b.example c@d.example\r\n", "info@b.example", "a@b.example"},
		{"no line ending at the end", "info@b.example a@b.example", "info@b.example", "a@b.example"},
		{"a comment between a line and its continuation", "info@b.example a@b.example\n# was away\n c@d.example\n", "info@b.example", "a@b.example c@d.example"},
		{"an empty line does not end an alias", "info@b.example a@b.example\n\n c@d.example\n", "info@b.example", "a@b.example c@d.example"},
		{"a line of spaces does not end an alias", "info@b.example a@b.example\n   \n c@d.example\n", "info@b.example", "a@b.example c@d.example"},
		{"an indented comment", "info@b.example a@b.example\n  # c@d.example\n", "info@b.example", "a@b.example"},
		{"capitals in the pattern", "Info@B.Example a@b.example\n", "info@b.example", "a@b.example"},
		{"an address keeps its capitals", "info@b.example Ann@B.Example\n", "info@b.example", "Ann@B.Example"},
		{"the same address twice", "info@b.example a@b.example a@b.example\n", "info@b.example", "a@b.example a@b.example"},
		{"a quoted local part with a comma", "\"a, b\"@b.example c@d.example\n", "\"a, b\"@b.example", "c@d.example"},
		{"a quoted local part with an escaped quote", "\"a\\\"b\"@b.example c@d.example\n", "\"a\\\"b\"@b.example", "c@d.example"},
		{"a quote among the addresses", "info@b.example \"a b\"@d.example c@d.example\n", "info@b.example", "\"a b\"@d.example c@d.example"},
		{"a whole domain to another", "@b.example @d.example\n", "@b.example", "@d.example"},
		{"a whole domain to several", "@b.example @d.example archive@d.example\n", "@b.example", "@d.example archive@d.example"},
		{"a local part alone", "root ann@example.org\n", "ROOT", "ann@example.org"},
	} {
		table, err := Parse(strings.NewReader(c.text), "aliases")
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if to, _, ok := table.Lookup(c.pattern); !ok || strings.Join(to, " ") != c.want {
			t.Errorf("%s: %q, want %s", c.name, to, c.want)
		}
	}
}

// TestEveryMistakeIsReported checks that a file with several mistakes reports
// each with its line, and that the lines between them work.
func TestEveryMistakeIsReported(t *testing.T) {
	table, err := Parse(strings.NewReader("a@b.example\nok@b.example bob@example.org\nroot: ann\n# fine\nc@b.example |sh\nOK@b.example eve@example.org\n"), "aliases")
	list, rest := Mistakes(err)
	var lines []int
	for _, m := range list {
		lines = append(lines, m.Line)
	}
	if rest != nil || len(lines) != 4 || lines[0] != 1 || lines[1] != 3 || lines[2] != 5 || lines[3] != 6 {
		t.Errorf("mistakes on lines %v, %v", lines, rest)
	}
	// Of two aliases for one address, neither can be trusted.
	if to, _, ok := table.Lookup("ok@b.example"); ok {
		t.Errorf("ok@b.example resolves to %q", to)
	}
	var many strings.Builder
	for range 3 * maxErrors {
		many.WriteString("a@b.example\n")
	}
	_, err = Parse(strings.NewReader(many.String()), "aliases")
	if list, _ := Mistakes(err); len(list) != maxErrors+1 { // the last one is the number of others
		t.Errorf("%d mistakes reported of %d", len(list), 3*maxErrors)
	}
	if list, rest := Mistakes(errors.New("permission denied")); list != nil || rest == nil {
		t.Errorf("an error of the disk became %v, %v", list, rest)
	}
}

// failing returns an error after its text.
type failing struct{ text *strings.Reader }

func (f failing) Read(p []byte) (int, error) {
	if f.text.Len() > 0 {
		return f.text.Read(p)
	}
	return 0, errors.New("input/output error")
}

// TestHalfAFile checks that after a read error, an address that was not found
// in the part that was read waits: its alias may be in the rest.
func TestHalfAFile(t *testing.T) {
	parsed, err := Parse(failing{strings.NewReader("ann@b.example bob@example.org\n")}, "aliases")
	if err == nil || !strings.Contains(err.Error(), "input/output error") {
		t.Fatalf("error %v", err)
	}
	r := New(accounts, func() *Table { return parsed }, []string{"mail.example.org", "localhost"}, "")
	if got, err := r.Resolve("ann@b.example"); err != nil || ends(got) != "bob@example.org" {
		t.Errorf("an alias that was read leads to %q, %v", ends(got), err)
	}
	if got, err := r.Resolve("eve@b.example"); !errors.Is(err, ErrMistake) {
		t.Errorf("an address of the same domain leads to %q, %v", ends(got), err)
	}
	if got, err := r.Resolve("x@elsewhere.example"); err != nil || ends(got) != ">x@elsewhere.example" {
		t.Errorf("an address elsewhere leads to %q, %v", ends(got), err)
	}
}

// TestRulesInOrder checks which of several matching rules is applied.
func TestRulesInOrder(t *testing.T) {
	const text = "ann@example.org archive@example.org\nbob+work@example.org carl@localhost\n@example.org outside@elsewhere.example\npostmaster@virtual.example bob@example.org\n@virtual.example ann+all@example.org\n"
	r := resolver(t, text)
	for _, c := range []struct{ name, addr, want string }{
		{"an alias before the account of that name", "ann@example.org", "archive@example.org"},
		{"an account before the catch-all", "bob@example.org", "bob@example.org"},
		{"an alias of the sub-address before the sub-address", "bob+work@example.org", "carl@localhost"},
		{"a sub-address before the catch-all", "bob+play@example.org", "bob@example.org/play"},
		{"the catch-all for the rest", "eve@example.org", ">outside@elsewhere.example"},
		{"the catch-all for a sub-address of nobody", "eve+x@example.org", ">outside@elsewhere.example"},
		{"the domain's own postmaster before ours", "postmaster@virtual.example", "bob@example.org"},
		{"our postmaster before the catch-all", "postmaster@example.org", "archive@example.org"},
		{"a catch-all into a sub-address", "who@virtual.example", "archive@example.org/all"},
		{"a plus at the end is part of the name", "bob+@example.org", ">outside@elsewhere.example"},
		{"a plus at the beginning is part of the name", "+bob@example.org", ">outside@elsewhere.example"},
		{"two pluses", "bob+a+b@example.org", "bob@example.org/a+b"},
	} {
		if got, err := r.Resolve(c.addr); err != nil || ends(got) != c.want {
			t.Errorf("%s: %s leads to %q, %v, want %q", c.name, c.addr, ends(got), err, c.want)
		}
	}
}

// TestSubAddressThroughForwards checks that the folder of a sub-address follows
// the mail to accounts, but not to other servers.
func TestSubAddressThroughForwards(t *testing.T) {
	r := resolver(t, "team@example.org bob@example.org x@elsewhere.example ida@bücher.example\n")
	got, err := r.Resolve("team+news@example.org")
	if want := "bob@example.org/news >x@elsewhere.example ida@bücher.example/news"; err != nil || ends(got) != want {
		t.Errorf("%q, %v, want %q", ends(got), err, want)
	}
}

// TestNoAliases checks that a server without an aliases file resolves accounts.
func TestNoAliases(t *testing.T) {
	r := New(accounts, func() *Table { return nil }, nil, "")
	for addr, want := range map[string]string{"bob@example.org": "bob@example.org", "carl": "carl@localhost", "x@elsewhere.example": ">x@elsewhere.example", "bob+x@example.org": "bob@example.org/x"} {
		if got, err := r.Resolve(addr); err != nil || ends(got) != want {
			t.Errorf("%s leads to %q, %v, want %q", addr, ends(got), err, want)
		}
	}
	if r.Ours("elsewhere.example") || !r.Ours("example.org") || r.Ours("not a domain") || r.Ours("") {
		t.Error("our domains are wrong")
	}
	var none *Table
	none.Each(func(string, []string, int) { t.Error("an alias of no file") })
	if _, _, ok := none.Lookup("a"); ok {
		t.Error("an alias of no file was found")
	}
}
