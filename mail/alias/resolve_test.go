package alias

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/iotest"

	"hoplite/mail"
)

const testAliases = `
# comment
info@example.org ann@example.org, bob@example.org
	outside@elsewhere.example
team@example.org info@example.org ann@example.org
ann@example.org ann@example.org archive@example.org
root ann@example.org
abuse root
loop@example.org back@example.org
back@example.org loop@example.org
half@example.org half2@example.org, bob@example.org
half2@example.org half@example.org
"odd, name"@example.org bob@example.org
bare@example.org carl
@example.com @example.org
@example.net ann@example.org
list+sub@example.org bob@example.org
self@example.org self@example.org
virtual.example anything
written@example.org Jo.Doe@Other.example
Info@Bücher.example ida@xn--bcher-kva.example
@müller.example @bücher.example
größe.example anything
`

// book maps accounts to their forwards.
type book map[string][]string

func (b book) Find(name string) (string, []string, bool) {
	name = mail.Key(name)
	for full, forward := range b {
		if k := mail.Key(full); k == name || k == name+"@localhost" {
			return full, forward, true
		}
	}
	return "", nil, false
}

func (b book) HasDomain(domain string) bool {
	for full := range b {
		if strings.HasSuffix(mail.Key(full), "@"+domain) {
			return true
		}
	}
	return false
}

func (b book) Keeper() string {
	if _, ok := b["boss@example.org"]; ok {
		return "boss@example.org"
	}
	return ""
}

var accounts = book{
	"ann@example.org": nil, "bob@example.org": nil, "archive@example.org": nil, "carl@localhost": nil,
	"gone@example.org":         {"gone@elsewhere.example"},
	"copy@example.org":         {"copy@example.org", "copy@elsewhere.example"},
	"ping@example.org":         {"pong@example.org"},
	"pong@example.org":         {"ping@example.org"},
	"x+y@example.org":          nil,
	"ida@bücher.example":       nil,
	"jo@xn--bcher-kva.example": {"Jo@BÜCHER.example", "jo@elsewhere.example"},
}

func table(t testing.TB, text string) func() *Table {
	t.Helper()
	parsed, err := Parse(strings.NewReader(text), "aliases")
	if err != nil {
		t.Fatal(err)
	}
	return func() *Table { return parsed }
}

func resolver(t testing.TB, text string) *Resolver {
	t.Helper()
	return New(accounts, table(t, text), []string{"Mail.Example.Org.", "localhost"}, "Ann@example.org")
}

// ends formats finals as "account/folder" or ">outside".
func ends(r Resolved) string {
	var out []string
	for _, f := range r.Finals {
		switch {
		case f.Account == "":
			out = append(out, ">"+f.Address)
		case f.Folder != "":
			out = append(out, f.Account+"/"+f.Folder)
		default:
			out = append(out, f.Account)
		}
	}
	return strings.Join(out, " ")
}

func TestResolve(t *testing.T) {
	r := resolver(t, testAliases)
	for _, c := range []struct{ name, addr, want string }{
		{"account", "bob@example.org", "bob@example.org"},
		{"case", "BOB@Example.Org", "bob@example.org"},
		{"outside", "x@other.example", ">x@other.example"},
		{"outside, as written", "Jo.Doe@Other.example", ">Jo.Doe@Other.example"},
		{"alias to the outside, as written", "written@example.org", ">Jo.Doe@Other.example"},
		{"unknown here is outside: a route refuses it", "eve@example.org", ">eve@example.org"},
		{"alias with her own copy", "ann@example.org", "ann@example.org archive@example.org"},
		{"alias to several, and a line that goes on", "info@example.org", "ann@example.org archive@example.org bob@example.org >outside@elsewhere.example"},
		{"alias to alias, no duplicates", "team@example.org", "ann@example.org archive@example.org bob@example.org >outside@elsewhere.example"},
		{"bare alias at the host name", "root@mail.example.org", "ann@example.org archive@example.org"},
		{"bare alias at localhost", "root@localhost", "ann@example.org archive@example.org"},
		{"bare alias nowhere else", "root@example.org", ">root@example.org"},
		{"bare alias to bare alias", "abuse@localhost", "ann@example.org archive@example.org"},
		{"bare address", "root", "ann@example.org archive@example.org"},
		{"account under the other host name", "carl@mail.example.org", "carl@localhost"},
		{"alias to a bare account", "bare@example.org", "carl@localhost"},
		{"loop with a way out", "half@example.org", "bob@example.org"},
		{"quoted local part", `"odd, name"@example.org`, "bob@example.org"},
		{"whole domain to a domain", "bob@example.com", "bob@example.org"},
		{"catch-all", "whoever@example.net", "ann@example.org archive@example.org"},
		{"sub-address", "bob+Lists@example.org", "bob@example.org/lists"},
		{"sub-address of an alias", "root+cron@localhost", "ann@example.org/cron archive@example.org/cron"},
		{"sub-address over a domain", "bob+lists@example.com", "bob@example.org/lists"},
		{"exact alias before the sub-address", "list+sub@example.org", "bob@example.org"},
		{"account with a plus", "x+y@example.org", "x+y@example.org"},
		{"sub-address of nobody", "eve+x@example.org", ">eve+x@example.org"},
		{"plus in needless quotes", `"bob+x"@example.org`, "bob@example.org/x"},
		{"no plus in quotes", `"bo b+x"@example.org`, `>"bo b+x"@example.org`},
		{"forward", "gone@example.org", ">gone@elsewhere.example"},
		{"forward with a copy", "copy@example.org", "copy@example.org >copy@elsewhere.example"},
		{"forwards in a circle lose nothing", "ping@example.org", "pong@example.org"},
		{"postmaster of a domain with accounts", "postmaster@example.org", "ann@example.org archive@example.org"},
		{"postmaster alone", "Postmaster", "ann@example.org archive@example.org"},
		{"postmaster of a domain with aliases", "postmaster@example.com", "ann@example.org archive@example.org"},
		{"postmaster elsewhere", "postmaster@other.example", ">postmaster@other.example"},
		{"account in U-labels, asked for in A-labels", "ida@xn--bcher-kva.example", "ida@bücher.example"},
		{"account in U-labels with a final dot", "Ida@BÜCHER.example.", "ida@bücher.example"},
		{"account in A-labels, own name in U-labels", "jo@bücher.example", "jo@xn--bcher-kva.example >jo@elsewhere.example"},
		{"alias in U-labels", "info@xn--bcher-kva.example", "ida@bücher.example"},
		{"domain in U-labels", "ida@xn--mller-kva.example", "ida@bücher.example"},
		{"an alias that is its own end", "self@example.org", ">self@example.org"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := r.Resolve(c.addr)
			if err != nil || ends(got) != c.want {
				t.Errorf("%s leads to %q, %v, want %q", c.addr, ends(got), err, c.want)
			}
		})
	}
	if _, err := r.Resolve("loop@example.org"); !errors.Is(err, ErrLoop) {
		t.Errorf("a loop: %v", err)
	}
	got, _ := r.Resolve("abuse@localhost")
	if want := "[{abuse@localhost [root] aliases:8} {root@mail.example.org [ann@example.org] aliases:7} {ann@example.org [ann@example.org archive@example.org] aliases:6}]"; fmt.Sprint(got.Path) != want {
		t.Errorf("path %v\nwant %s", got.Path, want)
	}
	if !r.Ours("virtual.example") || !r.Ours("Example.COM") || r.Ours("elsewhere.example") ||
		!r.Ours("xn--gre-6ka8i.example") || !r.Ours("MÜLLER.example.") || !r.Ours("xn--bcher-kva.example") || !r.Ours("mail.example.org.") {
		t.Error("our domains are wrong")
	}
}

func TestResolveIsBounded(t *testing.T) {
	var deep, wide strings.Builder
	for i := range 100 {
		fmt.Fprintf(&deep, "d%d@x.example d%d@x.example\n", i, i+1)
	}
	for i := range 100 {
		fmt.Fprintf(&wide, "w%d@x.example", i)
		for j := range 100 {
			fmt.Fprintf(&wide, " w%d@x.example v%d.%d@x.example", (i*7+j)%100, i, j)
		}
		fmt.Fprintln(&wide)
	}
	for addr, text := range map[string]string{"d0@x.example": deep.String(), "w0@x.example": wide.String()} {
		r := resolver(t, text)
		if got, err := r.Resolve(addr); !errors.Is(err, ErrTooMany) {
			t.Errorf("%s: %d ends, %v", addr, len(got.Finals), err)
		}
	}
}

func TestAliasMistakes(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"no target", "a@b.example\n", "aliases:1: a@b.example: no address to send to"},
		{"aliases(5)", "root: ann\n", "aliases:1: \"root:\": the syntax is that of virtual(5)"},
		{"pipe", "a@b.example \"|/bin/sh\"\n\nb@b.example |sh\n", "aliases:3: b@b.example: \"|sh\": only addresses"},
		{"file", "a@b.example /dev/null\n", "only addresses"},
		{"include", "a@b.example :include:/etc/passwd\n", "only addresses"},
		{"comment behind", "a@b.example x@y # who?\n", "aliases:1: a@b.example: a comment needs a line of its own"},
		{"twice", "a@b.example x\nA@B.example y\n", "aliases:2: a@b.example: already defined on line 1"},
		{"quote", "a@b.example \"x@y\n", "aliases:1: a quote is not closed"},
		{"control", "a@b.example x\x01@y\n", "control character 0x01"},
		{"continues nothing", "  a@b.example\n", "aliases:1: line begins with a space"},
		{"half an address", "a@b.example x@\n", "no domain after the @"},
		{"a dot", ". @b\n", "only a whole domain"},
		{"long", "a@b.example x@y\n" + strings.Repeat("  "+strings.Repeat("x", 1000)+"\n", 300), "aliases:1: longer than"},
		{"too long a line", strings.Repeat("x", 300<<10), "aliases:1: longer than"},
		{"to a domain", "a@b.example @c.example\n", "only a whole domain"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := Parse(strings.NewReader(c.text), "aliases"); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// An address whose alias has a mistake has to wait; all others are resolved.
func TestResolveWithMistakes(t *testing.T) {
	const long = 300 << 10
	for _, c := range []struct{ name, text, addr string }{
		{"no target", "a@b.example\n", "a@b.example"},
		{"of an account", "ann@example.org x@\n", "ann@example.org"},
		{"aliases(5)", "root: ann\n", "root@localhost"},
		{"twice", "a@b.example x\na@b.example y\n", "a@b.example"},
		{"quote", "a@b.example \"x@y\n", "a@b.example"},
		{"sub-address", "a@b.example x@\n", "a+s@b.example"},
		{"catch-all", "@b.example x@\n", "a@b.example"},
		{"through another", "c@b.example bob@example.org a@b.example\na@b.example x@\n", "c@b.example"},
		{"address not known", "\"a b@b.example bob@example.org\n", "a@b.example"},
		{"indented", "  a@b.example bob@example.org\n", "a@b.example"},
		{"long", "a@b.example " + strings.Repeat("x", long) + "\n", "a@b.example"},
		{"long in all", "a@b.example x\n" + strings.Repeat(" "+strings.Repeat("x", long/4)+"\n", 5), "a@b.example"},
		{"half an address", "a@ bob@example.org\n", "nobody@example.org"},
	} {
		parsed, err := Parse(strings.NewReader(c.text+"#"+strings.Repeat("x", long)+"\nok@b.example bob@example.org\n"), "aliases")
		list, rest := Mistakes(err)
		if len(list) != 1 || rest != nil {
			t.Errorf("%s: mistakes %v, %v", c.name, list, rest)
		}
		r := New(accounts, func() *Table { return parsed }, []string{"mail.example.org", "localhost"}, "")
		if got, err := r.Resolve(c.addr); !errors.Is(err, ErrMistake) {
			t.Errorf("%s: %s leads to %q, %v", c.name, c.addr, ends(got), err)
		}
		for addr, want := range map[string]string{"ok@b.example": "bob@example.org", "bob@example.org": "bob@example.org", "x@elsewhere.example": ">x@elsewhere.example"} {
			if got, err := r.Resolve(addr); err != nil || ends(got) != want {
				t.Errorf("%s: %s leads to %q, %v", c.name, addr, ends(got), err)
			}
		}
	}
}

// If the file cannot be read, addresses that it may contain wait. Accounts and
// other domains are not affected.
func TestResolveUnread(t *testing.T) {
	parsed, err := Parse(io.MultiReader(strings.NewReader("a@b.example bob@example.org\n"), iotest.ErrReader(fs.ErrPermission)), "aliases")
	if list, rest := Mistakes(err); list != nil || !errors.Is(rest, fs.ErrPermission) {
		t.Fatalf("mistakes %v, %v", list, rest)
	}
	r := New(accounts, func() *Table { return parsed }, []string{"mail.example.org", "localhost"}, "")
	r.MayHold([]string{"routed.example"})
	for addr, waits := range map[string]bool{
		"a@b.example": false, "c@b.example": true, "bob@example.org": false, "nobody@example.org": true, "x@localhost": true,
		"x@routed.example": true, "x@elsewhere.example": false,
	} {
		if got, err := r.Resolve(addr); errors.Is(err, ErrMistake) != waits {
			t.Errorf("%s leads to %q, %v", addr, ends(got), err)
		}
	}
	readable := New(accounts, func() *Table { return nil }, nil, "")
	readable.MayHold([]string{"routed.example"})
	if got, err := readable.Resolve("x@routed.example"); err != nil {
		t.Errorf("without a file: %q, %v", ends(got), err)
	}
}

// A file with many mistakes reports how many are not listed.
func TestManyMistakes(t *testing.T) {
	_, err := Parse(strings.NewReader(strings.Repeat("a@b.example\n", 25)), "aliases")
	list, rest := Mistakes(err)
	if len(list) != 21 || rest != nil || list[20].Error() != "aliases:25: 5 more aliases have errors, which are not listed" {
		t.Errorf("%d mistakes, the last one %v; %v", len(list), list[len(list)-1], rest)
	}
}

func FuzzAliases(f *testing.F) {
	f.Add(testAliases, "info@example.org")
	f.Add("@a @b\n@b @a\n", "x@a")
	f.Add("a b,c\nb a+x\nc \"|x\"@y", "a+b")
	f.Add(". @b", "x@b") // caused a panic
	f.Add("@ @b\n.@c d", ".@c")
	f.Fuzz(func(t *testing.T, text, addr string) {
		parsed, _ := Parse(strings.NewReader(text), "aliases")
		r := New(accounts, func() *Table { return parsed }, []string{"mail.example.org", "localhost"}, "ann@example.org")
		got, err := r.Resolve(addr)
		if err == nil && len(got.Finals) == 0 || len(got.Finals) > 2*maxFinals {
			t.Fatalf("%q ends in %d places, %v", addr, len(got.Finals), err)
		}
	})
}

// Mail to the postmaster always has a recipient (RFC 5321, 4.5.1).
func TestPostmasterOfNobody(t *testing.T) {
	for want, b := range map[string]book{
		">postmaster@localhost": {},
		"boss@example.org":      {"ann@example.org": nil, "boss@example.org": nil},
	} {
		r := New(b, func() *Table { return nil }, []string{"mail.example.org", "localhost"}, "")
		got, err := r.Resolve("postmaster@localhost")
		if err != nil || ends(got) != want {
			t.Errorf("postmaster leads to %q, %v; want %q", ends(got), err, want)
		}
	}
}
