// Package test contains whole conversations that an administrator can read
// (conversations/*.txt, run by talk_test.go), tests of the built program, and
// tests of the architecture, which check imports between packages and the table
// of packages in CONTRIBUTING.md.
package test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// floors maps each top-level folder to the folders it may import besides
// itself. There are four layers: cmd; the servers relay, pop3, imap and web;
// filters and maildrop; mail and internal. A package may only import packages
// in lower layers or its own.
var floors = []struct {
	room string
	may  []string
}{
	{"mail", []string{"internal/hold", "internal/memory"}},
	{"internal/users", []string{"internal", "mail"}},
	{"internal", nil},
	{"filters", []string{"mail", "internal"}},
	{"maildrop", []string{"mail", "internal"}},
	{"relay", []string{"mail", "internal", "filters"}},
	{"pop3", []string{"mail", "internal", "maildrop"}},
	{"imap", []string{"mail", "internal", "maildrop"}},
	{"web", []string{"mail", "internal", "filters", "maildrop"}},
}

// leaf is the package that all others may import, because it imports no other
// package.
const leaf = "mail/safe"

// module is the prefix of our own import paths.
const module = "hoplite/"

type listed struct {
	ImportPath string
	Imports    []string
}

// ours returns the imports from this module, without the module's name.
func (p listed) ours() []string {
	var list []string
	for _, i := range p.Imports {
		if own, ok := strings.CutPrefix(i, module); ok {
			list = append(list, own)
		}
	}
	return list
}

// packages lists the packages of this module, without the module's name.
func packages(t *testing.T) []listed {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "hoplite/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		var own bool
		if p.ImportPath, own = strings.CutPrefix(p.ImportPath, module); own {
			all = append(all, p)
		}
	}
}

func within(p, room string) bool { return p == room || strings.HasPrefix(p, room+"/") }

// helper reports whether a package is used only by tests.
func helper(p string) bool { return strings.HasSuffix(p, "test") }

func TestImports(t *testing.T) {
	for _, p := range packages(t) {
		for _, imported := range p.ours() {
			if reason := forbidden(p.ImportPath, imported); reason != "" {
				t.Errorf("%s imports %s: %s", p.ImportPath, imported, reason)
			}
		}
		for _, imported := range p.Imports {
			if within(imported, "github.com/emersion/go-smtp") && !within(p.ImportPath, "relay") {
				t.Errorf("%s imports go-smtp: only relay may", p.ImportPath)
			}
			if imported == "testing" && !helper(p.ImportPath) {
				t.Errorf("%s imports testing: put helpers for tests into a package called ...test", p.ImportPath)
			}
		}
	}
}

// forbidden returns the reason why package from must not import package to, or
// "".
func forbidden(from, to string) string {
	switch {
	case helper(to) && !helper(from) && from != "test":
		return "packages called ...test are for tests"
	case within(from, "cmd") || from == "test":
		return ""
	case from == leaf || from == "mail" && to != leaf:
		return "it must not import other rooms"
	case to == leaf:
		return ""
	case within(from, "filters") && from != "filters/all" && within(to, "filters") && to != "filters" && (from == "filters" || !within(to, from)):
		return "filters don't import each other; a format that several need belongs in mail"
	}
	for _, f := range floors {
		if !within(from, f.room) {
			continue
		}
		if within(to, f.room) || slices.ContainsFunc(f.may, func(room string) bool { return within(to, room) }) {
			return ""
		}
		return "imports only point down: " + f.room + " may import " + strings.Join(append(f.may, leaf), ", ")
	}
	return "this room has no floor: see floors in architecture_test.go"
}

func TestForbidden(t *testing.T) {
	for _, c := range []struct {
		from, to string
		ok       bool
	}{
		{"cmd/hoplite", "imap", true},
		{"relay", "filters", true},
		{"relay", "filters/size", true},
		{"relay", "maildrop", false},
		{"relay", "relay/wire", true},
		{"imap", "pop3", false},
		{"filters/size", "filters", true},
		{"filters/size", "filters/spf", false},
		{"filters/smime", "filters/smime/shape", true},
		{"filters/all", "filters/spf", true},
		{"filters", "filters/spf", false},
		{"filters/spf", "relay", false},
		{"mail", "mail/mime", false},
		{"mail", "mail/safe", true},
		{"mail/mime", "mail", true},
		{"mail/mime", "internal/conf", false},
		{"mail/attachments", "internal/hold", true},
		{"mail/safe", "mail", false},
		{"internal/conf", "mail", false},
		{"internal/conf", "mail/safe", true},
		{"internal/users", "mail", true},
		{"internal/users/login", "mail/alias", true},
		{"internal/users", "maildrop", false},
		{"maildrop", "mail/hoptest", false},
		{"mail/hoptest", "mail", true},
		{"attic", "mail", false},
	} {
		if reason := forbidden(c.from, c.to); (reason == "") != c.ok {
			t.Errorf("%s imports %s: %q", c.from, c.to, reason)
		}
	}
}

// The table of packages in CONTRIBUTING.md has a row for every package and no
// others.
func TestRooms(t *testing.T) {
	text, err := os.ReadFile("../CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	named := rooms(string(text))
	exists := map[string]bool{}
	for _, p := range packages(t) {
		exists[p.ImportPath] = true
		if !helper(p.ImportPath) && !named[p.ImportPath] && !(path.Dir(p.ImportPath) == "filters" && named["filters/NAME"]) {
			t.Errorf("%s is missing from the table of rooms in CONTRIBUTING.md", p.ImportPath)
		}
	}
	for p := range named {
		if _, err := os.Stat("../" + p); err != nil && p != "filters/NAME" {
			t.Errorf("the table of rooms in CONTRIBUTING.md names %s, which does not exist", p)
		}
	}
}

var (
	row    = regexp.MustCompile("(?m)^\\| (`.+?) \\| (.*) \\|$")
	quoted = regexp.MustCompile("`([^` ]+)`")
)

// rooms returns the packages named in a table: those in the first column and,
// in a row "folder/...", the packages below that folder that the second column
// names.
func rooms(text string) map[string]bool {
	named := map[string]bool{}
	for _, m := range row.FindAllStringSubmatch(text, -1) {
		for _, q := range quoted.FindAllStringSubmatch(m[1], -1) {
			folder, open := strings.CutSuffix(q[1], "/...")
			if !open {
				named[folder] = true
				continue
			}
			for _, inner := range quoted.FindAllStringSubmatch(m[2], -1) {
				named[folder+"/"+inner[1]] = true
			}
		}
	}
	return named
}

func TestRoomsOfTable(t *testing.T) {
	got := rooms("| Folder | Purpose |\n| --- | --- |\n| `pop3`, `imap` | servers for `Maildir` |\n| `mail/...` | formats: `mime`, `ole` |\ntext `other`\n")
	for _, want := range []string{"pop3", "imap", "mail/mime", "mail/ole"} {
		if !got[want] {
			t.Errorf("%s is not named in %v", want, got)
		}
	}
	if len(got) != 4 {
		t.Errorf("named: %v", got)
	}
}
