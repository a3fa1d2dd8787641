package sieve_test

import (
	"os"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"hoplite/mail/sieve"
)

// named is a file of a txtar archive.
type named struct {
	name string
	text []byte
}

func archive(t testing.TB, path string) (list []named) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range txtar.Parse(b).Files {
		list = append(list, named{f.Name, f.Data})
	}
	return list
}

func scripts(t testing.TB) []named  { return archive(t, "testdata/scripts.txtar") }
func messages(t testing.TB) []named { return archive(t, "testdata/mail.txtar") }

func environment() *sieve.Environment {
	return &sieve.Environment{
		From: "ann@example.com", To: "bob+x@example.org", Orig: "bob+x@example.org",
		Now:  time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC),
		Host: "mail.example.org", Domain: "example.org",
	}
}
