package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hoplite/internal/directory/directorytest"
)

// company is a small Active Directory.
var company = []directorytest.Entry{
	{DN: "dc=example,dc=org"},
	{DN: "cn=hoplite,dc=example,dc=org", Password: "search-secret"},
	{DN: "cn=ann,dc=example,dc=org", Password: "ann-secret", Attributes: map[string][]string{
		"mail": {"ann@example.org"}, "proxyAddresses": {"SMTP:Ann@example.org", "smtp:a.smith@example.org"}}},
	{DN: "cn=bob,dc=example,dc=org", Password: "bob-secret", Attributes: map[string][]string{"mail": {"bob@example.org"}}},
	{DN: "cn=staff,dc=example,dc=org", Attributes: map[string][]string{
		"objectClass": {"group"}, "mail": {"staff@example.org"}, "member": {"cn=ann,dc=example,dc=org", "cn=bob,dc=example,dc=org"}}},
}

const directoryConfig = `
hostname   = "mail.example.org"
data       = "var"
postmaster = "ann@example.org"
smtp "inbound" {
  listen = ["127.0.0.1:0"]
  chain  = "inbound"
}
chain "inbound" {
  route "exchange" {
    to  = ["example.org"]
    hop = "exchange"
  }
}
upstream "exchange" {
  servers    = ["smtp://$SERVER"]
  recipients = "directory:ad"
}
directory "ad" {
  url       = "$DIRECTORY"
  bind_dn   = "cn=hoplite,dc=example,dc=org"
  password  = "search-secret"
  base      = "dc=example,dc=org"
  schema    = "ad"
  known_for = "10ms"
}
`

// An upstream's recipients are those of a directory: aliases and groups are
// addresses like others. While the directory is down, known recipients are
// accepted and others refused temporarily.
func TestRecipientsFromDirectory(t *testing.T) {
	t.Parallel()
	ldap := directorytest.Start(t, company...)
	old := newPeer(t, "")
	s := prepare(t, strings.NewReplacer("$SERVER", old.l.Addr().String(), "$DIRECTORY", ldap.URL()).Replace(directoryConfig))
	if out := s.must("", "check", "--probe", "-c", "relay.hcl"); !strings.Contains(out, `directory "ad": answers`) ||
		!strings.Contains(out, `Recipients are those in directory "ad"`) {
		t.Errorf("check: %s", out)
	}
	if out, err := s.run("", "explain", "-c", "relay.hcl", "--ask", "--ip", "192.0.2.1", "--from", "eve@example.net", "--to", "a.smith@example.org", "--to", "nobody@example.org"); err != nil &&
		!strings.Contains(out, "5.1.1") {
		t.Errorf("explain: %v\n%s", err, out)
	}
	s.start()
	s.talk("inbound", `
S: 220 *
C: HELO client.example.net
S: 250 *
C: MAIL FROM:<eve@example.net>
S: 250 *
C: RCPT TO:<ann@example.org>
S: 250 *
C: RCPT TO:<A.Smith@example.org>
S: 250 *
C: RCPT TO:<staff@example.org>
S: 250 *
C: RCPT TO:<nobody@example.org>
S: 550 5.1.1 *
C: RCPT TO:<*@example.org>
S: 550 5.1.1 *
C: DATA
S: 354 *
C: From: eve@example.net
C:
C: hello
C: .
S: 250 *
C: QUIT
S: 221 *
`)
	old.mu.Lock()
	lines := strings.Join(old.lines, "\n")
	old.mu.Unlock()
	if strings.Contains(lines, "nobody") || strings.Contains(lines, "bob") || !strings.Contains(lines, "RCPT TO:<staff@example.org>") {
		t.Errorf("the upstream received\n%s", lines)
	}
	ldap.Down()
	s.talk("inbound", `
S: 220 *
C: HELO client.example.net
S: 250 *
C: MAIL FROM:<eve@example.net>
S: 250 *
C: RCPT TO:<ann@example.org>
S: 250 *
C: RCPT TO:<new@example.org>
S: 451 4.4.3 *
C: QUIT
S: 221 *
`)
	if out, _ := s.run("", "status", "-c", "relay.hcl"); !strings.Contains(out, "directory ad cannot be asked for") || !strings.Contains(out, "recipients checked with a directory") {
		t.Errorf("status: %s", out)
	}
	if strings.Contains(s.log.String(), "search-secret") || !strings.Contains(s.log.String(), "the directory cannot be asked") {
		t.Errorf("log: %s", s.log)
	}
	ldap.Up(t)
	s.must("", "reload", "-c", "relay.hcl")
}

func TestDirectoryMistakes(t *testing.T) {
	t.Parallel()
	s := prepare(t, strings.NewReplacer("directory:ad", "directory:da", "$SERVER", "127.0.0.1:25", "$DIRECTORY", "ldaps://127.0.0.1").Replace(directoryConfig))
	if out, err := s.run("", "check", "-c", "relay.hcl"); err == nil || !strings.Contains(out, `there is no directory "da"`) || !strings.Contains(out, `"ad"`) {
		t.Errorf("%v\n%s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(s.dir, "relay.hcl"))
	if err != nil {
		t.Fatal(err)
	}
	s.write("relay.hcl", strings.NewReplacer("directory:da", "directory:ad", "known_for =", "ca = \"missing.pem\"\n  known_for =").Replace(string(text)))
	if out, err := s.run("", "check", "-c", "relay.hcl"); err == nil || !strings.Contains(out, "missing.pem") {
		t.Errorf("%v\n%s", err, out)
	}
}
