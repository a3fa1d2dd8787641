// Package test holds whole conversations that an admin can read, and the
// tests that look at the house instead of at one room.
package test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// floors are the rooms from the ground up (STYLE.md): imports only point
// down, and never sideways among the doors.
var floors = []struct {
	prefix string
	may    []string // what its own rooms may import besides themselves
}{
	{"hoplite/mail", []string{"hoplite/internal/hold"}},
	{"hoplite/internal", []string{}},
	{"hoplite/filters", []string{"hoplite/mail", "hoplite/internal"}},
	{"hoplite/maildrop", []string{"hoplite/mail", "hoplite/internal"}},
	{"hoplite/relay", []string{"hoplite/mail", "hoplite/internal", "hoplite/filters"}},
	{"hoplite/pop3", []string{"hoplite/mail", "hoplite/internal", "hoplite/maildrop"}},
	{"hoplite/imap", []string{"hoplite/mail", "hoplite/internal", "hoplite/maildrop"}},
	{"hoplite/web", []string{"hoplite/mail", "hoplite/internal", "hoplite/filters", "hoplite/maildrop"}},
}

type listed struct {
	ImportPath string
	Imports    []string
}

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
		all = append(all, p)
	}
}

func within(path, prefix string) bool { return path == prefix || strings.HasPrefix(path, prefix+"/") }

func TestImportsPointDown(t *testing.T) {
	for _, p := range packages(t) {
		for _, imported := range p.Imports {
			if within(imported, "hoplite") && !mayImport(p.ImportPath, imported) {
				t.Errorf("%s imports %s", p.ImportPath, imported)
			}
			if within(imported, "github.com/emersion/go-smtp") && !within(p.ImportPath, "hoplite/relay") {
				t.Errorf("%s speaks go-smtp; only relay, relay/wire and relay/forward do", p.ImportPath)
			}
		}
	}
}

func mayImport(from, to string) bool {
	if to == "hoplite/mail/safe" { // a leaf for every room
		return true
	}
	if from == "hoplite/mail/safe" {
		return false
	}
	if within(from, "hoplite/internal/users") && within(to, "hoplite/mail") {
		return true // an account's name is an address
	}
	if within(from, "hoplite/cmd") || within(from, "hoplite/test") {
		return true
	}
	for _, f := range floors {
		if !within(from, f.prefix) {
			continue
		}
		if within(to, f.prefix) {
			// The package mail itself stands on nothing.
			return from != "hoplite/mail"
		}
		for _, m := range f.may {
			if within(to, m) {
				return true
			}
		}
	}
	return false
}
