package test

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"hoplite/internal/acme/acmetest"
)

const acmeConfig = `
hostname   = "mail.example.org"
data       = "var"
postmaster = "ann@example.org"
acme {
  email     = "ann@example.org"
  ca        = "$CA"
  ca_root   = "$ROOT"
  http_port = $HTTP
  tls_port  = $TLS
  challenge = "$CHALLENGE"
}
smtp "inbound" {
  listen = ["127.0.0.1:0"]
  chain  = "inbound"
}
imap "imap" {
  listen = ["127.0.0.1:0"]
}
web "site" {
  listen = ["127.0.0.1:$WEB"]
  tls    = "$MODE"
}
chain "inbound" {
  route "here" {
    to  = ["example.org"]
    hop = "boxes"
  }
}
maildrop "boxes" {}
`

// session is an SMTP or IMAP session over TLS.
type session struct {
	conn *tls.Conn
	in   *bufio.Reader
	noop string
}

func (s *server) session(listener, begin, noop string) *session {
	s.t.Helper()
	conn, err := net.DialTimeout("tcp", s.addr[listener], patience)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	in := bufio.NewReader(conn)
	for _, command := range strings.Split(begin, "|") {
		if command != "" {
			fmt.Fprint(conn, command, "\r\n")
		}
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				s.t.Fatal(err)
			}
			if len(line) > 3 && line[3] == ' ' || strings.HasPrefix(line, "* OK") || strings.HasPrefix(line, "a ") {
				break
			}
		}
	}
	secure := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, ServerName: "mail.example.org"})
	if err := secure.Handshake(); err != nil {
		s.t.Fatal(err)
	}
	return &session{secure, bufio.NewReader(secure), noop}
}

// alive returns an error unless the session still responds.
func (c *session) alive() error {
	c.conn.SetDeadline(time.Now().Add(patience))
	fmt.Fprint(c.conn, c.noop, "\r\n")
	line, err := c.in.ReadString('\n')
	if err == nil && !strings.HasPrefix(line, "250") && !strings.HasPrefix(line, "a OK") {
		return fmt.Errorf("answer %q", line)
	}
	return err
}

func (c *session) issuer() string {
	return c.conn.ConnectionState().PeerCertificates[0].Issuer.CommonName
}

// The server obtains a certificate through its own web listener, renews it
// while 50 SMTP and 50 IMAP sessions are open without losing any of them, and
// keeps the old certificate while the certificate authority is down.
func TestACME(t *testing.T) {
	for challenge, mode := range map[string]string{"http": "off", "tls": "implicit"} {
		t.Run(challenge, func(t *testing.T) {
			a := acmetest.New(t)
			port := map[string]int{"http": a.HTTP, "tls": a.TLS}[challenge]
			s := prepare(t, strings.NewReplacer("$CA", a.URL, "$ROOT", a.Root, "$HTTP", fmt.Sprint(a.HTTP), "$TLS", fmt.Sprint(a.TLS),
				"$WEB", fmt.Sprint(port), "$MODE", mode, "$CHALLENGE", challenge).Replace(acmeConfig))
			s.start()
			smtp := func() *session { return s.session("inbound", "|EHLO c.example|STARTTLS", "NOOP") }
			imap := func() *session { return s.session("imap", "|a STARTTLS", "a NOOP") }
			s.waitFor("the certificate", func() bool { return strings.Contains(smtp().issuer(), "Pebble") })

			var open []*session
			for range 15 {
				open = append(open, smtp(), imap())
			}
			before := open[0].conn.ConnectionState().PeerCertificates[0]
			if out := s.must("", "certificate", "renew", "mail.example.org", "-c", "relay.hcl"); !strings.Contains(out, "is in use") {
				t.Errorf("renew printed %s", out)
			}
			after := imap()
			if after.conn.ConnectionState().PeerCertificates[0].Equal(before) {
				t.Error("the old certificate is still in use")
			}
			for i, c := range open {
				if err := c.alive(); err != nil {
					t.Fatalf("session %d: %v", i, err)
				}
			}

			a.Down.Store(true)
			if out, err := s.run("", "certificate", "renew", "mail.example.org", "-c", "relay.hcl"); err == nil {
				t.Errorf("renewed by nobody: %s", out)
			}
			if c := smtp(); !strings.Contains(c.issuer(), "Pebble") {
				t.Error("the certificate is gone")
			}
			var list []struct {
				Names []string
				Days  int
				TLSA  string
			}
			if err := json.Unmarshal([]byte(s.must("", "certificate", "list", "-c", "relay.hcl", "--json")), &list); err != nil {
				t.Fatal(err)
			}
			if len(list) != 1 || list[0].Names[0] != "mail.example.org" || list[0].Days < 80 || !strings.HasPrefix(list[0].TLSA, "3 1 1 ") {
				t.Errorf("list %+v", list)
			}
			if out, err := s.run("", "certificate", "renew", "other.example.org", "-c", "relay.hcl"); err == nil || !strings.Contains(out, "not one of the names") {
				t.Errorf("%v, %s", err, out)
			}
		})
	}
}
