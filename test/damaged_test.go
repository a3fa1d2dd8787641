package test

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

const damagedConfig = `
hostname = "mail.example.org"
smtp "in" {
  listen = ["127.0.0.1:0"]
  chain  = "in"
}
imap "imap" {
  listen = ["127.0.0.1:0"]
}
chain "in" {
  route "here" {
    to  = ["example.org"]
    hop = "boxes"
  }
}
maildrop "boxes" {}
`

// remade lists parts of the paths of files that the server can regenerate.
// These do not include mail, accounts, the queue and user settings.
var remade = []string{"/tls/", "/state/", "/history/", "/index/", "dovecot-uidlist", "maildirsize", "dovecot-keywords"}

// A power cut can empty a file, truncate it, or fill it with zeros. If the
// server can regenerate the file, the damage does not prevent the start, and
// mail and accounts are kept.
func TestDamagedFilesAreMadeAgain(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"empty": func([]byte) []byte { return nil },
		"half":  func(b []byte) []byte { return b[:len(b)/2] },
		"zeros": func(b []byte) []byte { return make([]byte, len(b)) },
	} {
		t.Run(name, func(t *testing.T) {
			s := prepare(t, damagedConfig)
			s.must("secret word\n", "user", "add", "ann@example.org")
			s.start()
			r := s.reader(t, "imap")
			r.want(`LOGIN ann@example.org "secret word"`, "OK")
			r.want("CREATE Plans", "OK")
			r.want("APPEND Plans {33+}\r\nSubject: x\r\n\r\none line of text\r\n\r\n", "OK")
			r.want("SELECT Plans", "OK")
			r.want("FETCH 1 (ENVELOPE)", "OK")
			s.stop(syscall.SIGTERM)
			damaged := s.damage(damage)
			if len(damaged) < 5 {
				t.Errorf("only these files were damaged: %q", damaged)
			}
			s.start()
			r = s.reader(t, "imap")
			r.want(`LOGIN ann@example.org "secret word"`, "OK")
			r.want("SELECT Plans", "1 EXISTS")
			r.want("FETCH 1 (BODY.PEEK[TEXT])", "one line of text")
			s.stop(syscall.SIGTERM)
			for _, want := range []string{"damaged self-signed certificate replaced", "damaged key for rewritten senders replaced"} {
				if n := strings.Count(s.log.String(), want); n != 1 {
					t.Errorf("%d warnings %q, want 1\n%s", n, want, s.log)
				}
			}
		})
	}
}

// damage changes the files that the server can regenerate and returns their
// paths.
func (s *server) damage(change func([]byte) []byte) (damaged []string) {
	s.t.Helper()
	err := filepath.WalkDir(filepath.Join(s.dir, "var"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !slices.ContainsFunc(remade, func(part string) bool { return strings.Contains(path, part) }) {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil || len(text) == 0 {
			return err
		}
		damaged = append(damaged, strings.TrimPrefix(path, s.dir))
		return os.WriteFile(path, change(text), 0o600)
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return damaged
}
