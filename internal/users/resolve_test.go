package users

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"
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
`

func resolver(t testing.TB, text string) *Resolver {
	t.Helper()
	s := open(t, "")
	forward := func(to ...string) func(*Account) { return func(a *Account) { a.Forward = to } }
	add(t, s, "ann@example.org", "x")
	add(t, s, "bob@example.org", "x")
	add(t, s, "archive@example.org", "x")
	add(t, s, "carl@localhost", "x")
	add(t, s, "gone@example.org", "x", forward("gone@elsewhere.example"))
	add(t, s, "copy@example.org", "x", forward("copy@example.org", "copy@elsewhere.example"))
	add(t, s, "ping@example.org", "x", forward("pong@example.org"))
	add(t, s, "pong@example.org", "x", forward("ping@example.org"))
	add(t, s, "x+y@example.org", "x")
	path := filepath.Join(t.TempDir(), "aliases")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := NewResolver(s, path, []string{"mail.example.org", "localhost"}, "ann@example.org", zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// ends writes finals as "account/folder" or ">outside".
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
		{"no plus in quotes", `"bob+x"@example.org`, `>"bob+x"@example.org`},
		{"forward", "gone@example.org", ">gone@elsewhere.example"},
		{"forward with a copy", "copy@example.org", "copy@example.org >copy@elsewhere.example"},
		{"forwards in a circle lose nothing", "ping@example.org", "pong@example.org"},
		{"postmaster of a domain with accounts", "postmaster@example.org", "ann@example.org archive@example.org"},
		{"postmaster alone", "Postmaster", "ann@example.org archive@example.org"},
		{"postmaster of a domain with aliases", "postmaster@example.com", "ann@example.org archive@example.org"},
		{"postmaster elsewhere", "postmaster@other.example", ">postmaster@other.example"},
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
	if !r.Ours("virtual.example") || !r.Ours("Example.COM") || r.Ours("elsewhere.example") {
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
		{"no target", "a@b.example\n", "aliases:1: a@b.example: leads nowhere"},
		{"aliases(5)", "root: ann\n", "aliases:1: \"root:\": this is the syntax of virtual(5)"},
		{"pipe", "a@b.example \"|/bin/sh\"\n\nb@b.example |sh\n", "aliases:3: b@b.example: \"|sh\": only addresses"},
		{"file", "a@b.example /dev/null\n", "only addresses"},
		{"include", "a@b.example :include:/etc/passwd\n", "only addresses"},
		{"comment behind", "a@b.example x@y # who?\n", "aliases:1: a@b.example: a comment needs a line of its own"},
		{"twice", "a@b.example x\nA@B.example y\n", "aliases:2: a@b.example: is in line 1 already"},
		{"quote", "a@b.example \"x@y\n", "aliases:1: a quote is not closed"},
		{"control", "a@b.example x\x01@y\n", "control character 0x01"},
		{"continues nothing", "  a@b.example\n", "aliases:1: line begins with a space"},
		{"half an address", "a@b.example x@\n", "no domain after the @"},
		{"to a domain", "a@b.example @c.example\n", "only a whole domain"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := parseAliases(strings.NewReader(c.text), "aliases"); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestAliasesReload(t *testing.T) {
	r := resolver(t, "a@x.example bob@example.org\n")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(r.path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(r.path+".new", r.path); err != nil {
			t.Fatal(err)
		}
	}
	write("a@x.example ann@example.org\n")
	if err := r.Reload(); err != nil {
		t.Fatal(err)
	}
	if got, _ := r.Resolve("a@x.example"); ends(got) != "ann@example.org" {
		t.Errorf("after the change: %s", ends(got))
	}
	write("a@x.example |sh\n")
	if err := r.Reload(); err == nil || !strings.Contains(err.Error(), "aliases:1:") {
		t.Errorf("a mistake: %v", err)
	}
	if got, _ := r.Resolve("a@x.example"); ends(got) != "ann@example.org" {
		t.Errorf("a mistake changed the aliases: %s", ends(got))
	}
}

func FuzzAliases(f *testing.F) {
	f.Add(testAliases, "info@example.org")
	f.Add("@a @b\n@b @a\n", "x@a")
	f.Add("a b,c\nb a+x\nc \"|x\"@y", "a+b")
	r := resolver(f, "")
	f.Fuzz(func(t *testing.T, text, addr string) {
		as, _ := parseAliases(strings.NewReader(text), "aliases")
		r.parsed.Store(as)
		got, err := r.Resolve(addr)
		if err == nil && len(got.Finals) == 0 || len(got.Finals) > 2*maxFinals {
			t.Fatalf("%q ends in %d places, %v", addr, len(got.Finals), err)
		}
	})
}

// Mail to postmaster always finds somebody (RFC 5321, 4.5.1).
func TestPostmasterOfNobody(t *testing.T) {
	s := open(t, "")
	r, err := NewResolver(s, filepath.Join(t.TempDir(), "aliases"), []string{"mail.example.org", "localhost"}, "", zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	ask := func(want string) {
		t.Helper()
		got, err := r.Resolve("postmaster@localhost")
		if err != nil || ends(got) != want {
			t.Errorf("postmaster leads to %q, %v; want %q", ends(got), err, want)
		}
	}
	ask(">postmaster@localhost")
	add(t, s, "ann@example.org", "x")
	ask("ann@example.org")
	add(t, s, "boss@example.org", "x", func(a *Account) { a.Roles = []string{Admin} })
	ask("boss@example.org")
}
