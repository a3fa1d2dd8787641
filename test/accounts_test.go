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
