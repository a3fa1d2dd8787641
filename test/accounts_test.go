package test

import (
	"encoding/base64"
	"strings"
	"testing"

	"hoplite/internal/directory/directorytest"
)

const accountsConfig = `
hostname   = "mail.example.org"
data       = "var"
postmaster = "root@localhost"
smtp "submission" {
  listen          = ["127.0.0.1:0"]
  auth            = "required"
  cleartext_login = true
  chain           = "out"
}
imap "imap" {
  listen          = ["127.0.0.1:0"]
  cleartext_login = true
}
pop3 "pop3" {
  listen          = ["127.0.0.1:0"]
  cleartext_login = true
}
chain "out" {
  route "here" {
    to  = ["local", "example.org"]
    hop = "boxes"
  }
}
maildrop "boxes" {
  path = "mail/{domain}/{user}"
}
accounts "example.org" {
  login     = "$LOGIN"
  known_for = "1ms"
  stale_for = "1ms"
}
directory "ad" {
  url      = "$DIRECTORY"
  bind_dn  = "cn=hoplite,dc=example,dc=org"
  password = "search-secret"
  base     = "dc=example,dc=org"
  schema   = "ad"
}
`

// plain returns the response of SASL PLAIN.
func plain(name, password string) string {
	return base64.StdEncoding.EncodeToString([]byte("\x00" + name + "\x00" + password))
}

// tryLogin logs in at all servers and compares their replies.
func (s *server) tryLogin(name, password, smtp, imap, pop string) {
	s.t.Helper()
	s.talk("submission", "S: 220 *\nC: HELO x\nS: 250 *\nC: AUTH PLAIN "+plain(name, password)+"\nS: "+smtp+"\nC: QUIT\nS: 221 *\n")
	s.talk("imap", "S: * OK *\nC: a LOGIN "+name+" "+password+"\nS: "+imap+"\n")
	s.talk("pop3", "S: +OK *\nC: USER "+name+"\nS: +OK *\nC: PASS "+password+"\nS: "+pop+"\n")
}

// Mail for mailboxes here follows the aliases and groups of a directory.
func TestAddressesFromDirectory(t *testing.T) {
	t.Parallel()
	ldap := directorytest.Start(t, company...)
	s := prepare(t, strings.NewReplacer("$LOGIN", "directory:ad\"\n  addresses = \"directory:ad", "$DIRECTORY", ldap.URL(),
		`schema   = "ad"`, "schema   = \"ad\"\n  known_for = \"1ms\"\n  unknown_for = \"1ms\"\n  stale_for = \"1ms\"", `auth            = "required"`, `auth            = "optional"`).Replace(accountsConfig))
	s.must("root-secret\n", "user", "add", "root")
	s.start()
	send := func(to, reply string) {
		t.Helper()
		s.talk("submission", "S: 220 *\nC: HELO x\nS: 250 *\nC: MAIL FROM:<eve@example.net>\nS: 250 *\nC: RCPT TO:<"+to+">\nS: "+reply+"\n")
	}
	deliver := func(to, text string) {
		t.Helper()
		s.talk("submission", "S: 220 *\nC: HELO x\nS: 250 *\nC: MAIL FROM:<eve@example.net>\nS: 250 *\nC: RCPT TO:<"+to+">\nS: 250 *\nC: DATA\nS: 354 *\nC: Subject: "+text+"\nC:\nC: .\nS: 250 *\n")
	}
	deliver("staff@example.org", "to all")
	deliver("A.Smith@example.org", "to ann")
	if ann, bob := s.mails("ann@example.org", ""), s.mails("bob@example.org", ""); len(ann) != 2 || len(bob) != 1 {
		t.Errorf("ann: %v\nbob: %v", ann, bob)
	}
	send("nobody@example.org", "550 5.1.1 *")
	if out, _ := s.run("", "explain", "-c", "relay.hcl", "--ip", "192.0.2.1", "--from", "eve@example.net", "--to", "staff@example.org"); !strings.Contains(out, "bob@example.org") {
		t.Errorf("explain: %s", out)
	}
	s.talk("submission", "S: 220 *\nC: HELO x\nS: 250 *\nC: AUTH PLAIN "+plain("ann@example.org", "ann-secret")+"\nS: 235 *\nC: MAIL FROM:<a.smith@example.org>\nS: 250 *\nC: RSET\nS: 250 *\nC: MAIL FROM:<bob@example.org>\nS: 553 5.7.1 *\n")
	ldap.Down()
	send("ann@example.org", "451 4.4.3 *")
	send("nobody@example.org", "451 4.4.3 *")
	send("root@localhost", "250 *")
}

// Passwords of a domain are checked by another server, with the same replies at
// all our servers. While it is down, logins fail temporarily.
func TestAccountsElsewhere(t *testing.T) {
	t.Parallel()
	ldap := directorytest.Start(t, company...)
	good := plain("ann@example.org", "ann-secret")
	smtp := newPeer(t, "EHLO -> 250 AUTH PLAIN\nAUTH PLAIN "+good+" -> 235 2.7.0 in\nAUTH PLAIN -> 535 5.7.8 no")
	for name, tc := range map[string]struct {
		login string
		down  func()
	}{
		"SMTP": {"smtp://" + smtp.l.Addr().String(), func() {
			smtp.mu.Lock()
			defer smtp.mu.Unlock()
			smtp.say = func(string) (string, bool) { return "421 4.3.2 closing", true }
		}},
		"directory": {"directory:ad", ldap.Down},
	} {
		t.Run(name, func(t *testing.T) {
			s := prepare(t, strings.NewReplacer("$LOGIN", tc.login, "$DIRECTORY", ldap.URL()).Replace(accountsConfig))
			s.must("root-secret\n", "user", "add", "root")
			s.must("app-secret\n", "user", "app-password", "add", "ann@example.org", "phone", "--stdin")
			if out := s.must("", "check", "--probe", "-c", "relay.hcl"); !strings.Contains(out, `accounts "example.org"`) {
				t.Errorf("check: %s", out)
			}
			s.start()
			s.talk("imap", "S: * OK *PLAIN*\nC: a LOGOUT\nS: * BYE *\n")
			s.tryLogin("ann@example.org", "ann-secret", "235 *", "a OK *", "+OK *")
			s.tryLogin("ann@example.org", "app-secret", "235 *", "a OK *", "+OK *")
			s.tryLogin("ann@example.org", "mistyped", "535 5.7.8 *", "a NO [AUTHENTICATIONFAILED] *", "-ERR [AUTH] *")
			s.tryLogin("root", "root-secret", "235 *", "a OK *", "+OK *")
			tc.down()
			s.tryLogin("ann@example.org", "ann-secret", "454 4.7.0 *", "a NO [UNAVAILABLE] *", "-ERR [SYS/TEMP] *")
			s.tryLogin("ann@example.org", "app-secret", "235 *", "a OK *", "+OK *")
			if out, _ := s.run("", "status", "-c", "relay.hcl"); !strings.Contains(out, "passwords of example.org cannot be checked") {
				t.Errorf("status: %s", out)
			}
			for _, secret := range []string{"ann-secret", "app-secret", "mistyped", good} {
				if strings.Contains(s.log.String(), secret) {
					t.Errorf("%s is in the log: %s", secret, s.log)
				}
			}
		})
	}
}
