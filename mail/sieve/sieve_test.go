package sieve_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"hoplite/mail"
	"hoplite/mail/sieve"
)

var update = flag.Bool("update", false, "write testdata/actions.txt")

// TestActions runs each script on each message and compares the actions with
// testdata/actions.txt. TestInteropPigeonhole compares them with Dovecot's.
func TestActions(t *testing.T) {
	var b strings.Builder
	for _, s := range scripts(t) {
		for _, m := range messages(t) {
			fmt.Fprintf(&b, "%s %s: %s\n", s.name, m.name, strings.Join(describe(runScript(t, s.name, s.text, m.text)), "; "))
		}
	}
	const file = "testdata/actions.txt"
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(b.String(), "\n")
	for i, line := range strings.Split(string(want), "\n") {
		if i >= len(got) || got[i] != line {
			t.Fatalf("line %d:\n got %q\nwant %q", i+1, got[min(i, len(got)-1)], line)
		}
	}
}

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

// describe returns the actions of a result in the same form.
func describe(res sieve.Result, err error) (list []string) {
	if err != nil || res.Err != nil {
		return []string{"error"}
	}
	for _, a := range res.Actions {
		flags := slices.Clone(a.Flags)
		for i := range flags {
			flags[i] = strings.ToLower(flags[i])
		}
		slices.Sort(flags)
		tail := ""
		if len(flags) > 0 {
			tail = " " + strings.Join(flags, " ")
		}
		switch a.Kind {
		case sieve.Keep:
			list = append(list, "store INBOX"+tail)
		case sieve.FileInto:
			list = append(list, "store "+a.Mailbox+tail)
		case sieve.Redirect:
			list = append(list, "redirect "+string(a.Address))
		case sieve.Reject:
			list = append(list, "reject "+strings.NewReplacer("\r", "?", "\n", "?").Replace(a.Reason))
		case sieve.Vacation:
			s := fmt.Sprintf("vacation %d", int(a.Reply.Every/time.Second))
			if a.Reply.Subject != "" {
				s += " " + strings.TrimSpace(a.Reply.Subject)
			}
			list = append(list, s)
		case sieve.Notify:
			list = append(list, "notify "+string(a.Address))
		case sieve.Discard:
			list = append(list, "discard")
		}
	}
	slices.Sort(list)
	return list
}

func runScript(t *testing.T, name string, script, msg []byte) (sieve.Result, error) {
	t.Helper()
	s, err := sieve.Compile(name, script, nil)
	if err != nil {
		return sieve.Result{}, err
	}
	m, err := mail.NewMessage(mail.Bytes(strings.ReplaceAll(string(msg), "\n", "\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	return sieve.Run([]*sieve.Script{s}, m, environment()), nil
}
