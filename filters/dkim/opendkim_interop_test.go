//go:build interop

package dkim

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"hoplite/filters"
	"hoplite/filters/milter"
	"hoplite/internal/resolve/resolvetest"
	"hoplite/mail"
	"hoplite/mail/dkim"
)

// The same signed messages pass through opendkim, as a milter and with -t, and
// through this filter. The test prints the time that each takes, and fails if
// one of them rejects a valid signature.
func TestInteropBesideOpendkim(t *testing.T) {
	program, err := exec.LookPath("opendkim")
	if err != nil {
		if program = "/usr/sbin/opendkim"; !exists(program) {
			t.Skip("opendkim is not installed: make interop installs it")
		}
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	record := "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der)
	dir, err := os.MkdirTemp("", "hop") // a short name, because socket paths have at most 107 octets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	write(t, dir+"/dns", "s._domainkey.example.org "+record+"\n")
	write(t, dir+"/conf", fmt.Sprintf("Mode v\nAuthservID mail.example.org\nAlwaysAddARHeader yes\nTestDNSData %s/dns\nBackground no\nSyslog no\n", dir))
	sock := startOpendkim(t, program, dir)

	zone := resolvetest.MustZone(fmt.Sprintf("s._domainkey.example.org TXT %q\n", record))
	ours, err := New(Config{}, filters.Env{DNS: zone})
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := milter.New(milter.Config{Address: "unix:" + sock, Allow: []string{"headers"}, ConnectTimeout: time.Minute,
		CommandTimeout: time.Minute, DataTimeout: time.Minute, KeepIdle: time.Minute}, filters.Env{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		size, n int
	}{{"10 KiB", 10 << 10, 1000}, {"1 MiB", 1 << 20, 50}} {
		m := rsaSigned(t, key, c.size)
		mine := each(t, c.n, func() bool { return judged(t, ours.(filters.Dataer), m, false) })
		asMilter := each(t, c.n, func() bool { return judged(t, theirs.(filters.Dataer), m, true) })
		alone := withT(t, program, dir, m, c.n)
		t.Logf("%s, %d messages: this filter %v each, opendkim as a milter %v (%.1f times as long), opendkim -t %v (%.1f)",
			c.name, c.n, mine, asMilter, float64(asMilter)/float64(mine), alone, float64(alone)/float64(mine))
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func startOpendkim(t *testing.T, program, dir string) (sock string) {
	t.Helper()
	sock = filepath.Join(dir, "sock")
	cmd := exec.Command(program, "-f", "-x", dir+"/conf", "-p", "local:"+sock)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	})
	for range 600 {
		if c, err := net.Dial("unix", sock); err == nil {
			c.Close()
			return sock
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("opendkim does not listen")
	return ""
}

func rsaSigned(t *testing.T, key *rsa.PrivateKey, size int) *mail.Message {
	t.Helper()
	text := "From: Ann <ann@example.org>\r\nTo: bob@example.com\r\nSubject: hello\r\nDate: Mon, 23 Nov 2026 04:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n\r\n" +
		strings.Repeat("A line of text as people write it, of about seventy octets.......\r\n", size/68)
	m, err := mail.NewMessage(mail.Bytes(text))
	if err != nil {
		t.Fatal(err)
	}
	field, err := dkim.Sign(m, dkim.Signer{Domain: "example.org", Selector: "s", Key: key})
	if err != nil {
		t.Fatal(err)
	}
	if m, err = mail.NewMessage(mail.Bytes(string(field) + text)); err != nil {
		t.Fatal(err)
	}
	return m
}

// each calls once n times and returns the average duration of a call.
func each(t *testing.T, n int, once func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	for range n {
		if !once() {
			t.Fatal("the signature is not found good")
		}
	}
	return (time.Since(start) / time.Duration(n)).Round(time.Microsecond)
}

// judged passes a message through the stages of a filter and reports whether
// the signature passes, according to a result or, if field is set, to an added
// header field.
func judged(t *testing.T, f filters.Dataer, m *mail.Message, field bool) bool {
	t.Helper()
	ctx := context.Background()
	tx := mail.NewTransaction(mail.Client{Addr: netip.MustParseAddrPort("192.0.2.1:25"), Helo: "mx.example.org"}, "ann@example.org")
	tx.Hostname = "mail.example.org"
	r := mail.Rcpt{To: "bob@example.com", Orig: "bob@example.com"}
	if s, ok := f.(filters.Mailer); ok {
		if _, err := s.AtMail(ctx, tx); err != nil {
			t.Fatal(err)
		}
	}
	if s, ok := f.(filters.Rcpter); ok {
		if _, err := s.AtRcpt(ctx, tx, &r); err != nil {
			t.Fatal(err)
		}
	}
	tx.Envelope.Rcpts = append(tx.Envelope.Rcpts, r)
	v, err := f.AtData(ctx, tx, m)
	if err != nil {
		t.Fatal(err)
	}
	if field {
		return strings.Contains(string(v.Top), "dkim=pass")
	}
	return len(v.Auth) == 1 && v.Auth[0].Value == "pass"
}

// withT measures opendkim -t on a list that contains one file n times, minus
// its start-up time.
func withT(t *testing.T, program, dir string, m *mail.Message, n int) time.Duration {
	t.Helper()
	var text strings.Builder
	if _, err := m.WriteTo(&text); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "m")
	write(t, file, text.String())
	run := func(n int) time.Duration {
		list := strings.TrimSuffix(strings.Repeat(file+",", n), ",")
		start := time.Now()
		out, err := exec.Command(program, "-x", dir+"/conf", "-t", list).CombinedOutput()
		took := time.Since(start)
		if err != nil || strings.Count(string(out), "2048-bit key) succeeded") != n {
			t.Fatalf("opendkim -t: %v\n%.1000s", err, out)
		}
		return took
	}
	short := run(1)
	return ((run(n+1) - short) / time.Duration(n)).Round(time.Microsecond)
}
