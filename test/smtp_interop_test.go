//go:build interop

package test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Clients that are commonly used to test mail servers send mail to this server
// in clear text, with TLS, and with a login. Each message must arrive.

const interopConfig = `
hostname = "mail.example.org"
data     = "var"
smtp "inbound" {
  listen = ["127.0.0.1:0"]
  chain  = "inbound"
}
smtp "submission" {
  listen = ["127.0.0.1:0"]
  auth   = "required"
  chain  = "inbound"
}
smtp "submissions" {
  listen = ["127.0.0.1:0"]
  tls    = "implicit"
  auth   = "required"
  chain  = "inbound"
}
lmtp "local" {
  listen = ["unix:lmtp.sock"]
  chain  = "inbound"
}
chain "inbound" {
  filter "size" {
    max = "25MiB"
  }
  filter "hops" {
    max = 50
  }
  route "here" {
    to  = ["local", "example.org"]
    hop = "boxes"
  }
}
maildrop "boxes" {
  path = "mail/{domain}/{user}"
}
`

func interopServer(t *testing.T) *server {
	s := prepare(t, interopConfig)
	s.must("secret word\n", "user", "add", "ann@example.org")
	s.start()
	return s
}

// tool runs a client program, and fails the test with its output on an error.
func (s *server) tool(stdin, name string, args ...string) string {
	s.t.Helper()
	out, err := s.try(stdin, name, args...)
	if err != nil {
		s.t.Fatalf("%s: %v\n%s\n%s", name, err, out, s.log)
	}
	return out
}

func (s *server) try(stdin, name string, args ...string) (string, error) {
	s.t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		s.t.Skipf("%s is not installed: make interop installs it", name)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = s.dir
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (s *server) port(listener string) string {
	_, port, err := net.SplitHostPort(s.addr[listener])
	if err != nil {
		s.t.Fatalf("listener %s: %v", listener, err)
	}
	return port
}

// arrived waits for a message with the subject in ann's mailbox.
func (s *server) arrived(subject string) {
	s.t.Helper()
	s.waitFor("mail "+subject, func() bool {
		for _, m := range s.mails("ann@example.org", "") {
			text, err := os.ReadFile(m)
			if err == nil && strings.Contains(string(text), "Subject: "+subject+"\n") {
				return true
			}
		}
		return false
	})
}

func TestInteropSwaks(t *testing.T) {
	s := interopServer(t)
	common := []string{"--to", "ann@example.org", "--from", "ann@example.org", "--hide-all", "-n"}
	for _, c := range []struct {
		name, listener string
		args           []string
		ok             bool
	}{
		{"plain", "inbound", nil, true},
		{"starttls", "inbound", []string{"--tls"}, true},
		{"pipelined", "inbound", []string{"--pipeline"}, true},
		{"login-plain", "submission", []string{"--tls", "--auth", "PLAIN", "--auth-user", "ann@example.org", "--auth-password", "secret word"}, true},
		{"login-login", "submissions", []string{"--tls-on-connect", "--auth", "LOGIN", "--auth-user", "ann@example.org", "--auth-password", "secret word"}, true},
		{"wrong-password", "submission", []string{"--tls", "--auth", "PLAIN", "--auth-user", "ann@example.org", "--auth-password", "guess"}, false},
		{"no-login", "submission", []string{"--tls"}, false},
		{"stranger", "inbound", []string{"--to", "eve@elsewhere.example"}, false},
		{"xclient-not-allowed", "inbound", []string{"--xclient", "ADDR=192.0.2.1"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.t = t
			args := append(append([]string{"--server", "127.0.0.1:" + s.port(c.listener), "--h-Subject", c.name}, common...), c.args...)
			out, err := s.try("", "swaks", args...)
			if (err == nil) != c.ok {
				t.Fatalf("swaks: %v\n%s\n%s", err, out, s.log)
			}
			if c.ok {
				s.arrived(c.name)
			}
		})
	}
}

func TestInteropLMTP(t *testing.T) {
	s := interopServer(t)
	s.tool("", "swaks", "--protocol", "LMTP", "--socket", filepath.Join(s.dir, "var", "lmtp.sock"),
		"--to", "ann@example.org", "--from", "bob@example.com", "--h-Subject", "by-lmtp", "-n")
	s.arrived("by-lmtp")
}

func TestInteropCurl(t *testing.T) {
	s := interopServer(t)
	mail := "From: bob@example.com\r\nTo: ann@example.org\r\nSubject: by-curl\r\n\r\nHello.\r\n"
	s.tool(mail, "curl", "-sS", "-k", "--ssl-reqd", "--url", "smtp://127.0.0.1:"+s.port("submission"),
		"--user", "ann@example.org:secret word", "--mail-from", "ann@example.org",
		"--mail-rcpt", "ann@example.org", "--upload-file", "-")
	s.arrived("by-curl")
}

func TestInteropMsmtp(t *testing.T) {
	s := interopServer(t)
	for _, auth := range []string{"plain", "login", "scram-sha-256"} {
		mail := "From: ann@example.org\nTo: ann@example.org\nSubject: msmtp-" + auth + "\n\n.dot\nHello.\n"
		s.tool(mail, "msmtp", "--host=127.0.0.1", "--port="+s.port("submission"), "--tls=on", "--tls-starttls=on",
			"--tls-certcheck=off", "--auth="+auth, "--user=ann@example.org", "--passwordeval=echo 'secret word'",
			"--from=ann@example.org", "ann@example.org")
		s.arrived("msmtp-" + auth)
	}
}

func TestInteropSmtplib(t *testing.T) {
	s := interopServer(t)
	script := `
import smtplib, ssl, sys
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
with smtplib.SMTP("127.0.0.1", int(sys.argv[1])) as s:
    s.starttls(context=context)
    s.login("ann@example.org", "secret word")
    s.sendmail("ann@example.org", ["ann@example.org"], "Subject: by-smtplib\r\n\r\n.\r\n..two\r\nHello.\r\n",
        mail_options=["BODY=8BITMIME"])
    assert s.noop()[0] == 250
    assert s.verify("ann@example.org")[0] in (250, 252)
    code, text = s.docmd("HELP")
    assert code == 214, text
`
	s.tool(script, "python3", "-", s.port("submission"))
	s.arrived("by-smtplib")
}

func TestInteropOpenssl(t *testing.T) {
	s := interopServer(t)
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		out, _ := s.try("QUIT\n", "openssl", "s_client", "-starttls", "smtp", version,
			"-connect", "127.0.0.1:"+s.port("inbound"), "-crlf", "-ign_eof")
		if !strings.Contains(out, "221 2.0.0") {
			t.Errorf("%s: no farewell in\n%s", version, out)
		}
	}
	if out, err := s.try("", "openssl", "s_client", "-starttls", "smtp", "-tls1", "-cipher", "ALL:@SECLEVEL=0",
		"-connect", "127.0.0.1:"+s.port("inbound")); err == nil && strings.Contains(out, "Cipher is ECDHE") {
		t.Errorf("TLS 1.0 works without a legacy profile:\n%s", out)
	}
}

func TestInteropSmtpSource(t *testing.T) {
	s := interopServer(t)
	const count = 200
	s.tool("", "smtp-source", "-s", "8", "-m", fmt.Sprint(count), "-l", "4000", "-f", "bob@example.com",
		"-t", "ann@example.org", "127.0.0.1:"+s.port("inbound"))
	s.waitFor("all mails", func() bool { return len(s.mails("ann@example.org", "")) == count })
}
