package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSieve(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"mail.eml":      "Return-Path: <ann@example.com>\nDelivered-To: bob@example.org\nFrom: ann@example.com\nTo: bob@example.org\nSubject: hi\n\nText\n",
		"folder.sieve":  `require ["fileinto","imap4flags","include","envelope"]; include "more"; if envelope "from" "ann@example.com" { fileinto :flags "\\Seen" "Friends"; }`,
		"more.sieve":    `redirect "eve@example.net";`,
		"away.sieve":    `require "vacation"; vacation :days 3 "I am away\u202e";`,
		"broken.sieve":  "keep;\nkeep",
		"failing.sieve": `require "ihave"; error "no";`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.ReplaceAll(text, `\u202e`, "\u202e")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		script, flag string
		code         int
		want         []string
	}{
		{"folder.sieve", "", 0, []string{"redirect: send to <eve@example.net>", `fileinto: store in Friends, flags \Seen`}},
		{"folder.sieve", "--from=x@example.com", 0, []string{"redirect: send to <eve@example.net>"}},
		{"folder.sieve", "--json", 0, []string{`"action": "fileinto"`, `"mailbox": "Friends"`, `"errors": []`}},
		{"away.sieve", "", 0, []string{"vacation: answer with this text, once in 3 days to each sender", "    I am away", "keep: store in INBOX"}},
		{"away.sieve", "--to=info@example.org", 0, []string{"this message gets no answer: the recipient is not named in To, Cc or Bcc"}},
		{"broken.sieve", "", 1, []string{`broken.sieve: line 2: expected ";" after the command keep, found the end of the script`, "keep: store in INBOX"}},
		{"failing.sieve", "", 1, []string{"failing.sieve: line 1: no", "After an error the message is kept."}},
		{"missing.sieve", "", 2, nil},
	} {
		args := []string{"sieve", "test"}
		if c.flag != "" {
			args = append(args, c.flag)
		}
		out, code := runLine(t, "", append(args, filepath.Join(dir, c.script), filepath.Join(dir, "mail.eml"))...)
		if code != c.code {
			t.Errorf("%s %s: exit %d, want %d\n%s", c.script, c.flag, code, c.code, out)
		}
		for _, w := range c.want {
			if !strings.Contains(out, w) {
				t.Errorf("%s %s: missing %q in\n%s", c.script, c.flag, w, out)
			}
		}
		if strings.ContainsRune(out, '\u202e') {
			t.Errorf("%s: a character that reverses text reached the terminal", c.script)
		}
	}
}
