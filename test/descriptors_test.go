package test

import (
	"errors"
	"fmt"
	"net/smtp"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// limited returns a server for ann and bob that may have n descriptors, and a
// function that counts the ones in use.
func limited(t *testing.T, n int) (s *server, open func() int) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("counts descriptors in /proc")
	}
	s = prepare(t, `
hostname = "mail.example.org"
smtp "mx" {
  listen = ["127.0.0.1:0"]
  chain  = "inbound"
}
imap "imap" {
  listen              = ["127.0.0.1:0"]
  account_connections = 1000
}
chain "inbound" {
  route "here" {
    to  = ["local"]
    hop = "boxes"
  }
}
maildrop "boxes" {
  path = "mail/{user}"
}
`)
	s.must("secret\n", "user", "add", "ann@localhost")
	s.must("secret\n", "user", "add", "bob@localhost")
	program := s.bin
	s.bin = filepath.Join(s.dir, "limited")
	if err := os.WriteFile(s.bin, []byte(fmt.Sprintf("#!/bin/sh\nulimit -n %d\nexec '%s' \"$@\"\n", n, program)), 0o700); err != nil {
		t.Fatal(err)
	}
	s.start()
	return s, func() int {
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
}

// With 64 descriptors and 48 idle mail readers, each with a different folder,
// mail is still accepted and delivered, and the readers are notified. Readers
// in excess of the limit receive an error.
func TestIdleReadersLeaveMailFlowing(t *testing.T) {
	t.Parallel()
	s, open := limited(t, 64)
	base := open()
	var idle []*reader
	for i := range 48 {
		r, greeting := s.greeted(t, "imap")
		if strings.HasPrefix(greeting, "* BYE") {
			continue
		}
		r.want("LOGIN ann secret", "OK")
		r.want(fmt.Sprintf("CREATE folder%d", i), "OK")
		r.want(fmt.Sprintf("SELECT folder%d", i), "OK [READ-WRITE]")
		if i == 0 {
			r.want("SELECT INBOX", "0 EXISTS")
		}
		fmt.Fprint(r, "t IDLE\r\n")
		r.line()
		idle = append(idle, r)
	}
	if len(idle) < 20 {
		t.Fatalf("only %d readers of 48 were served", len(idle))
	}
	s.waitFor("descriptors of idle folders to be closed", func() bool { return open() <= base+len(idle)+3 })
	for i := range 5 {
		if err := sendPlain(s.addr["mx"], fmt.Sprintf("Subject: mail %d\r\n\r\ntext\r\n", i)); err != nil {
			t.Fatalf("mail %d beside %d idle readers: %v\n%s", i, len(idle), err, s.log)
		}
	}
	for l := ""; !strings.Contains(l, "5 EXISTS"); {
		l = idle[0].line()
	}
	if log := s.log.String(); strings.Contains(log, "too many open files") {
		t.Errorf("descriptors ran out:\n%s", log)
	}
}

// An account that has 200 folders open at the same time leaves enough descriptors
// for other accounts and for mail. Four for each folder, besides its connection,
// would exhaust the 1,024.
func TestManyFoldersLeaveDescriptors(t *testing.T) {
	t.Parallel()
	const folders, most = 200, 1024
	s, open := limited(t, most)
	for i := range folders {
		for _, sub := range []string{"cur", "new", "tmp"} {
			if err := os.MkdirAll(filepath.Join(s.dir, "var/mail/ann", fmt.Sprintf(".f%d", i), sub), 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	base, peak := open(), 0
	var readers []*reader
	for i := range folders {
		r := s.reader(t, "imap")
		r.want("LOGIN ann secret", "OK")
		r.want(fmt.Sprintf("SELECT f%d", i), "OK [READ-WRITE]")
		fmt.Fprint(r, "t IDLE\r\n")
		r.line()
		readers = append(readers, r)
		if i%20 == 0 {
			peak = max(peak, open()-base-len(readers))
		}
	}
	t.Logf("up to %d descriptors besides those of the connections", peak)
	if peak > most/32+20 { // a quarter of the eighth that is for all accounts
		t.Errorf("%d descriptors for the folders of one account", peak)
	}
	other := s.reader(t, "imap")
	other.want("LOGIN bob secret", "OK")
	other.want("CREATE mine", "OK")
	other.want("SELECT INBOX", "0 EXISTS")
	for i := range 3 {
		if err := sendPlain(s.addr["mx"], fmt.Sprintf("Subject: mail %d\r\n\r\ntext\r\n", i)); err != nil {
			t.Fatalf("mail %d beside %d open folders: %v\n%s", i, len(readers), err, s.log)
		}
	}
	other.want("SELECT mine", "OK")
	mail := s.reader(t, "imap")
	mail.want("LOGIN ann secret", "OK")
	mail.want("SELECT INBOX", "3 EXISTS")
	s.waitFor("descriptors of idle folders to be closed", func() bool { return open() <= base+len(readers)+5 })
	if log := s.log.String(); strings.Contains(log, "too many open files") {
		t.Errorf("descriptors ran out:\n%s", log)
	}
}

// sendPlain sends a message to ann@localhost without TLS.
func sendPlain(addr, msg string) error {
	c, err := smtp.Dial(addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := errors.Join(c.Mail("bob@example.net"), c.Rcpt("ann@localhost")); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	_, err = w.Write([]byte(msg))
	return errors.Join(err, w.Close(), c.Quit())
}
