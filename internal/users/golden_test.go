package users

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A file written by the first version can be read, and is written back
// unchanged.
func TestGoldenFile(t *testing.T) {
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join("testdata", "golden", name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	want := read("users.written")
	for _, name := range []string{"users", "users.written"} {
		b, err := parseBook(bytes.NewReader(read(name)), name)
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if _, err := b.WriteTo(&got); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%s is written as\n%s\nwant\n%s", name, &got, want)
		}
	}
}

// Every scheme supported by the first version still works, with and without its
// {SCHEME} prefix.
func TestGoldenSchemes(t *testing.T) {
	names, err := filepath.Glob("testdata/schemes/*.users")
	if err != nil || len(names) != 6 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".users"), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			s := open(t, string(text))
			wrong := []string{"Secret", "", "secret "}
			for _, a := range s.Accounts() {
				if _, ok := match(a, "secret"); !ok {
					t.Errorf("%s: the password does not fit", a.Name)
				}
				for _, wrong := range wrong {
					if _, ok := match(a, wrong); ok {
						t.Errorf("%s: %q fits", a.Name, wrong)
					}
				}
				wrong = wrong[:1] // the other accounts differ only in the prefix
				if _, err := s.Verify(context.Background(), a.Name, "secret"); err != nil {
					t.Errorf("%s: %v", a.Name, err)
				}
			}
			if !s.SCRAMReady() {
				t.Error("the hashes were not replaced by SCRAM keys")
			}
		})
	}
}

// An account is found by every spelling of its domain.
func TestAccountByAnySpelling(t *testing.T) {
	s := open(t, "ann@bücher.example\nbob@xn--mller-kva.example\n")
	for spelling, want := range map[string]string{
		"ann@bücher.example": "ann@bücher.example", "Ann@BÜCHER.example.": "ann@bücher.example",
		"ann@xn--bcher-kva.example": "ann@bücher.example", "ann@bu\u0308cher.example": "ann@bücher.example",
		"bob@müller.example": "bob@xn--mller-kva.example", "bob@bücher.example": "",
	} {
		got := ""
		if a, ok := s.Account(spelling); ok {
			got = a.Name
		}
		if got != want {
			t.Errorf("Account(%q) = %q, want %q", spelling, got, want)
		}
	}
	if !s.HasDomain("xn--bcher-kva.example") || s.HasDomain("example.org") {
		t.Error("HasDomain is wrong")
	}
	err := s.Update(func(b *Book) error { return b.Add(&Account{Name: "ann@xn--bcher-kva.example"}) })
	if err == nil {
		t.Error("one address is two accounts")
	}
}
