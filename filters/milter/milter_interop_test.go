//go:build interop

package milter

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
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
	"hoplite/mail"
	"hoplite/mail/dkim"
)

// daemon runs a program until the test ends, and returns when it is listening.
func daemon(t *testing.T, network, address, name string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if path = "/usr/sbin/" + name; !exists(path) {
			t.Skipf("%s is not installed: make interop installs it", name)
		}
	}
	log, err := os.CreateTemp(t.TempDir(), "log")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		cmd.Wait()
		close(done)
	}()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM) // SIGTERM lets it stop its own children
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			cmd.Process.Kill()
			<-done
		}
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("%s said:\n%.4000s", name, text)
		}
	})
	for range 600 {
		if c, err := net.Dial(network, address); err == nil {
			c.Close()
			return cmd
		}
		select {
		case <-done:
			text, _ := os.ReadFile(log.Name())
			t.Fatalf("%s ended at once:\n%s", name, text)
		case <-time.After(100 * time.Millisecond):
		}
	}
	t.Fatalf("%s does not listen on %s", name, address)
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// scratch returns a folder with a short name, because the path of a socket has
// at most 107 octets.
func scratch(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "hop")
	if err != nil {
		t.Fatal(err)
	}
	os.Chmod(dir, 0o755)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// judge sends a message through a milter and returns the result.
func judge(t *testing.T, f *Filter, text string) (filters.Verdict, string) {
	t.Helper()
	return judgeFrom(t, f, text, netip.MustParseAddrPort("192.0.2.1:25"))
}

func judgeFrom(t *testing.T, f *Filter, text string, from netip.AddrPort) (filters.Verdict, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	f.cfg.CommandTimeout, f.cfg.DataTimeout = 30*time.Second, 60*time.Second
	tx := mail.NewTransaction(mail.Client{Addr: from, Helo: "mx.example.org"}, "ann@example.org")
	tx.Hostname = "mail.example.org"
	v, err := f.AtMail(ctx, tx)
	if err != nil || v.Action != "" {
		t.Fatalf("MAIL: %v %v", v, err)
	}
	r := mail.Rcpt{To: "bob@example.com", Orig: "bob@example.com"}
	if v, err = f.AtRcpt(ctx, tx, &r); err != nil || v.Action != "" {
		t.Fatalf("RCPT: %v %v", v, err)
	}
	tx.Envelope.Rcpts = append(tx.Envelope.Rcpts, r)
	m, err := mail.NewMessage(mail.Bytes(text))
	if err != nil {
		t.Fatal(err)
	}
	if v, err = f.AtData(ctx, tx, m); err != nil {
		t.Fatal(err)
	}
	if v.Message != nil {
		m = v.Message
	}
	var out strings.Builder
	m.Edited(v.Top, v.Drop...).WriteTo(&out)
	return v, out.String()
}

const interopMail = "From: Ann  <ann@example.org>\r\nTo: bob@example.com\r\nSubject:  two  spaces\r\n\tand a fold\r\nDate: Mon, 23 Nov 2026 04:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n\r\nHello  Bob \r\n\r\n"

// opendkim signs with c=simple, which is valid only if it received exactly the
// original octets, and this program verifies. Then this program signs and
// opendkim verifies.
func TestInteropOpendkim(t *testing.T) {
	dir := scratch(t)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	record := "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der)
	keyFile := write(t, dir+"/key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})))
	os.Chmod(keyFile, 0o600)
	dns := write(t, dir+"/dns", "s._domainkey.example.org "+record+"\n")
	internal := write(t, dir+"/internal", "192.0.2.1\n")
	lookup := func(_ context.Context, name string) ([]string, error) {
		if name == "s._domainkey.example.org" {
			return []string{record}, nil
		}
		return nil, nil
	}

	for _, canon := range []string{"simple/simple", "relaxed/relaxed"} {
		sock := filepath.Join(dir, strings.ReplaceAll(canon, "/", "")+".sock")
		conf := write(t, sock+".conf", fmt.Sprintf("Mode s\nSocket local:%s\nDomain example.org\nSelector s\nKeyFile %s\nCanonicalization %s\nInternalHosts %s\nRequireSafeKeys no\nBackground no\nSyslog no\n", sock, keyFile, canon, internal))
		daemon(t, "unix", sock, "opendkim", "-f", "-x", conf)
		_, out := judge(t, newFilter(t, "unix:"+sock, "headers"), interopMail)
		m, err := mail.NewMessage(mail.Bytes(out))
		if err != nil {
			t.Fatal(err)
		}
		r, _, err := dkim.Verify(context.Background(), m, lookup)
		if err != nil || len(r) != 1 || r[0].Value != "pass" {
			t.Errorf("%s: %+v, %v\n%s", canon, r, err, out)
		}
	}

	m, err := mail.NewMessage(mail.Bytes(interopMail))
	if err != nil {
		t.Fatal(err)
	}
	field, err := dkim.Sign(m, dkim.Signer{Domain: "example.org", Selector: "s", Key: key})
	if err != nil {
		t.Fatal(err)
	}
	sock := dir + "/verify.sock"
	conf := write(t, sock+".conf", fmt.Sprintf("Mode v\nSocket local:%s\nAuthservID mail.example.org\nAlwaysAddARHeader yes\nTestDNSData %s\nBackground no\nSyslog no\n", sock, dns))
	daemon(t, "unix", sock, "opendkim", "-f", "-x", conf)
	f := newFilter(t, "unix:"+sock, "headers")
	if _, out := judge(t, f, string(field)+interopMail); !strings.Contains(out, "dkim=pass") {
		t.Errorf("opendkim says of our signature:\n%s", out)
	}
	if _, out := judge(t, f, strings.Replace(string(field)+interopMail, "Hello", "Hullo", 1)); !strings.Contains(out, "dkim=fail") {
		t.Errorf("opendkim says of a broken one:\n%s", out)
	}
}

const marker = "hoplite-test-virus-7f3a91"

// clamav starts clamd, with one test signature, and its milter.
func clamav(t *testing.T, dir string) (clamd, sock string, milter *exec.Cmd) {
	t.Helper()
	if err := os.Mkdir(dir+"/db", 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, dir+"/db/test.ndb", "Hoplite.Test:0:*:"+hex.EncodeToString([]byte(marker))+"\n")
	clamd, sock = dir+"/clamd.sock", dir+"/milter.sock"
	daemon(t, "unix", clamd, "clamd", "-F", "-c", write(t, dir+"/clamd.conf",
		fmt.Sprintf("LocalSocket %s\nDatabaseDirectory %s/db\nForeground yes\nTemporaryDirectory %s\nUser root\n", clamd, dir, dir)))
	return clamd, sock, daemon(t, "unix", sock, "clamav-milter", "-c", write(t, dir+"/milter.conf",
		fmt.Sprintf("MilterSocket %s\nClamdSocket unix:%s\nForeground yes\nOnInfected Reject\nRejectMsg found %%v\nAddHeader Replace\nUser root\nTemporaryDirectory %s\n", sock, clamd, dir)))
}

// A virus is found, clamd's own port is not mistaken for a milter, and a dead
// milter is detected.
func TestInteropClamav(t *testing.T) {
	clamd, sock, milter := clamav(t, scratch(t))
	f := newFilter(t, "unix:"+sock, "headers")
	if v, out := judge(t, f, interopMail); v.Action != "" || !strings.Contains(out, "X-Virus-Status: Clean") {
		t.Errorf("a clean message: %+v\n%s", v, out)
	}
	if v, _ := judge(t, f, interopMail+marker+"\r\n"); v.Action != filters.Reject || !strings.Contains(v.Reply.Text, "found Hoplite.Test") {
		t.Errorf("the marker: %s %v", v.Action, v.Reply)
	}
	wrong := newFilter(t, "unix:"+clamd)
	wrong.cfg.ConnectTimeout = 2 * time.Second
	if _, _, _, err := send(t, wrong, "bob@example.com"); err == nil || !strings.Contains(err.Error(), "this is clamd") {
		t.Errorf("clamd's own socket: %v", err)
	}
	milter.Process.Kill()
	for range 100 {
		if _, _, _, err := send(t, f, "bob@example.com"); err != nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Error("a dead milter was not reported")
}

// rspamd starts rspamd's proxy worker with the built-in scanner.
func rspamd(t *testing.T, dir string) (sock string) {
	t.Helper()
	sock = dir + "/rspamd.sock"
	daemon(t, "unix", sock, "rspamd", "-f", "-i", "-c", write(t, dir+"/rspamd.conf", fmt.Sprintf(`
options { pidfile = "%[1]s/pid"; tempdir = "%[1]s"; hs_cache_dir = "%[1]s"; filters = ""; gtube_patterns = "all"; dns { nameserver = ["127.0.0.1:9"]; timeout = 1s; } }
logging { type = "console"; level = "error"; }
actions { reject = 15; add_header = 6; }
worker "rspamd_proxy" { bind_socket = "%[2]s mode=0666"; milter = yes; count = 1; upstream "local" { default = yes; self_scan = yes; } }
`, dir, sock)))
	return sock
}

const gtube = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\r\n"

func TestInteropRspamd(t *testing.T) {
	sock := rspamd(t, scratch(t))
	f := newFilter(t, "unix:"+sock, "headers")
	if v, _ := judge(t, f, interopMail); v.Action != "" {
		t.Errorf("a clean message: %+v", v)
	}
	if v, _ := judge(t, f, interopMail+gtube); v.Action != filters.Reject {
		t.Errorf("GTUBE: %s %v", v.Action, v.Reply)
	}
}

// Three milters run in one chain, as on many sites. Then one of them dies in
// the middle of a message, and the configured action is taken.
func TestInteropChain(t *testing.T) {
	dir := scratch(t)
	signer := dir + "/opendkim.sock"
	conf := write(t, dir+"/opendkim.conf", fmt.Sprintf("Mode v\nSocket local:%s\nAuthservID mail.example.org\nAlwaysAddARHeader yes\nTestDNSData %s\nBackground no\nSyslog no\n", signer, write(t, dir+"/dns", "")))
	daemon(t, "unix", signer, "opendkim", "-f", "-x", conf)
	_, clam, milter := clamav(t, dir)
	spam := rspamd(t, dir)
	wide := func(sock string) *Filter {
		f := newFilter(t, "unix:"+sock, "headers")
		f.cfg.CommandTimeout, f.cfg.DataTimeout = 60*time.Second, 60*time.Second
		return f
	}
	chain := &filters.Chain{Entries: []filters.Entry{
		{Name: "opendkim", Filter: wide(signer), Timeout: 2 * time.Minute},
		{Name: "clamav", Filter: wide(clam), Timeout: 2 * time.Minute, OnError: filters.Defer},
		{Name: "rspamd", Filter: wide(spam), Timeout: 2 * time.Minute, OnError: filters.Pass},
	}}
	through := func(text string, middle func()) (string, string) {
		t.Helper()
		ctx := context.Background()
		run := chain.Start()
		client := mail.Client{Addr: netip.MustParseAddrPort("192.0.2.1:25"), Helo: "mx.example.org"}
		run.Connect(ctx, mail.NewTransaction(client, ""))
		tx := mail.NewTransaction(client, "ann@example.org")
		if d := run.Mail(ctx, tx); d.Reply != nil {
			return "mail " + d.Reply.String(), ""
		}
		r := mail.Rcpt{To: "bob@example.com", Orig: "bob@example.com"}
		if d := run.Rcpt(ctx, &r); d.Reply != nil {
			return "rcpt " + d.Reply.String(), ""
		}
		tx.Envelope.Rcpts = append(tx.Envelope.Rcpts, r)
		m, err := mail.NewMessage(mail.Bytes(text))
		if err != nil {
			t.Fatal(err)
		}
		middle()
		d := run.Data(ctx, m)
		if d.Reply != nil {
			return "data " + d.Reply.String(), ""
		}
		return "passed", string(d.Message.Header())
	}
	nothing := func() {}
	if got, head := through(interopMail, nothing); got != "passed" || !strings.Contains(head, "X-Virus-Status: Clean") || !strings.Contains(head, "Authentication-Results: mail.example.org") {
		t.Errorf("a clean message: %s\n%s", got, head)
	}
	if got, _ := through(interopMail+marker, nothing); !strings.Contains(got, "found Hoplite.Test") {
		t.Errorf("the marker: %s", got)
	}
	if got, _ := through(interopMail+gtube, nothing); !strings.HasPrefix(got, "data 5") {
		t.Errorf("GTUBE: %s", got)
	}
	kill := func() {
		milter.Process.Kill()
		time.Sleep(100 * time.Millisecond)
	}
	if got, _ := through(interopMail, kill); !strings.HasPrefix(got, "data 451 4.7.0 clamav") {
		t.Errorf("clamav-milter killed between RCPT and DATA: %s", got)
	}
}
