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

// With 64 descriptors and 48 idle mail readers, each with a different folder,
// mail is still accepted and delivered, and the readers are notified. Readers
// in excess of the limit receive an error.
func TestIdleReadersLeaveMailFlowing(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("counts descriptors in /proc")
	}
	t.Parallel()
	s := prepare(t, `
hostname = "mail.example.org"
smtp "mx" {
  listen = ["127.0.0.1:0"]
  chain  = "inbound"
}
imap "imap" {
  listen = ["127.0.0.1:0"]
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
	program := s.bin
	s.bin = filepath.Join(s.dir, "limited")
	if err := os.WriteFile(s.bin, []byte("#!/bin/sh\nulimit -n 64\nexec '"+program+"' \"$@\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.start()
	open := func() int {
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
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
