package test

import (
	"encoding/base64"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"hoplite/internal/users/openid/openidtest"
)

// openidConfig replaces the accounts block of accountsConfig.
const openidConfig = `
smtp "encrypted" {
  listen = ["127.0.0.1:0"]
  auth   = "required"
  chain  = "out"
}
accounts "example.org" {
  stale_for = "1ms"
  oauth {
    issuer   = "$ISSUER"
    audience = ["mail.example.org"]
    scope    = ["mail"]
  }
}
`

// bearer returns the OAUTHBEARER message for a token. The name may be empty.
func bearer(name, token string) string {
	if name != "" {
		name = "a=" + name
	}
	return base64.StdEncoding.EncodeToString([]byte("n," + name + ",\x01auth=Bearer " + token + "\x01\x01"))
}

// xoauth2 returns the XOAUTH2 message for a token.
func xoauth2(name, token string) string {
	return base64.StdEncoding.EncodeToString([]byte("user=" + name + "\x01auth=Bearer " + token + "\x01\x01"))
}

// prepareOpenID returns a server whose users log in with tokens of a provider.
func prepareOpenID(t *testing.T, issuer string) *server {
	t.Helper()
	before, _, _ := strings.Cut(accountsConfig, "accounts ")
	return prepare(t, before+strings.ReplaceAll(openidConfig, "$ISSUER", issuer))
}

// Users log in with tokens of an OpenID Connect provider at all servers. A
// refused token is answered with the reason; while the provider is down, logins
// fail temporarily.
func TestOpenID(t *testing.T) {
	t.Parallel()
	idp := openidtest.Start(t, false)
	s := prepareOpenID(t, idp.URL)
	s.must("root-secret\n", "user", "add", "root")
	s.must("app-secret\n", "user", "app-password", "add", "ann@example.org", "phone", "--stdin")
	if out := strings.Join(strings.Fields(s.must("", "check", "--probe", "-c", "relay.hcl")), " "); !strings.Contains(out, "publishes its keys") || !strings.Contains(out, "Access tokens of "+idp.URL) {
		t.Errorf("check: %s", out)
	}
	s.start()
	s.talk("imap", "S: * OK *AUTH=OAUTHBEARER AUTH=XOAUTH2*\nC: a LOGOUT\nS: * BYE *\n")

	const name = "ann@example.org"
	big := idp.Token(map[string]any{"groups": strings.Repeat("g", 4000)})
	good := idp.Token(nil)
	for _, message := range []string{
		"OAUTHBEARER " + bearer(name, good), "OAUTHBEARER " + bearer(name, big), "OAUTHBEARER " + bearer("", good), "XOAUTH2 " + xoauth2(name, good),
	} {
		s.talk("submission", "S: 220 *\nC: HELO x\nS: 250 *\nC: AUTH "+message+"\nS: 235 *\nC: QUIT\nS: 221 *\n")
		s.talk("imap", "S: * OK *\nC: a AUTHENTICATE "+message+"\nS: a OK *\n")
		mech, initial, _ := strings.Cut(message, " ")
		s.talk("pop3", "S: +OK *\nC: AUTH "+mech+"\nS: +*\nC: "+initial+"\nS: +OK *\n")
	}
	s.talk("encrypted", "S: 220 *\nC: HELO x\nS: 250 *\nC: AUTH XOAUTH2 "+xoauth2(name, good)+"\nS: 538 5.7.11 *\nC: STARTTLS\nS: 220 *\nTLS\nC: HELO x\nS: 250 *\nC: AUTH XOAUTH2 "+xoauth2(name, good)+"\nS: 235 *\nC: QUIT\nS: 221 *\n")
	s.tryLogin(name, "app-secret", "235 *", "a OK *", "+OK *")

	refused := idp.Token(map[string]any{"exp": time.Now().Add(-time.Hour).Unix()})
	narrow := idp.Token(map[string]any{"scope": "openid"})
	reason := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	discovery := `,"scope":"mail","openid-configuration":"` + idp.URL + `/.well-known/openid-configuration"}`
	s.talk("submission", "S: 220 *\nC: HELO x\nS: 250 *\nC: AUTH OAUTHBEARER "+bearer(name, refused)+"\nS: 334 "+reason(`{"status":"invalid_token"`+discovery)+"\nC: AQ==\nS: 535 5.7.8 *\nC: QUIT\nS: 221 *\n")
	s.talk("imap", "S: * OK *\nC: a AUTHENTICATE OAUTHBEARER "+bearer(name, narrow)+"\nS: + "+reason(`{"status":"insufficient_scope"`+discovery)+"\nC: AQ==\nS: a NO [AUTHENTICATIONFAILED] *\n")
	s.talk("pop3", "S: +OK *\nC: AUTH XOAUTH2\nS: +*\nC: "+xoauth2(name, refused)+"\nS: + "+reason(`{"status":"401","schemes":"bearer","scope":"mail"}`)+"\nC: =\nS: -ERR [AUTH] *\n")
	s.waitFor("the causes", func() bool {
		return strings.Contains(s.log.String(), "expired at") && strings.Contains(s.log.String(), `the scope \"mail\" is missing`)
	})

	idp.Answer(func(string) (int, string) { return http.StatusServiceUnavailable, "" })
	s.stop(syscall.SIGTERM)
	s.start() // the keys are not kept
	s.talk("submission", "S: 220 *\nC: HELO x\nS: 250 *\nC: AUTH XOAUTH2 "+xoauth2(name, good)+"\nS: 454 4.7.0 *\nC: QUIT\nS: 221 *\n")
	s.talk("imap", "S: * OK *\nC: a AUTHENTICATE OAUTHBEARER "+bearer(name, good)+"\nS: a NO [UNAVAILABLE] *\n")
	s.talk("pop3", "S: +OK *\nC: AUTH XOAUTH2\nS: +*\nC: "+xoauth2(name, good)+"\nS: -ERR [SYS/TEMP] *\n")
	s.tryLogin(name, "app-secret", "235 *", "a OK *", "+OK *")
	if out, _ := s.run("", "status", "-c", "relay.hcl"); !strings.Contains(out, "access tokens of example.org cannot be checked") {
		t.Errorf("status: %s", out)
	}
	if out, err := s.run("", "check", "--probe", "-c", "relay.hcl"); err == nil || !strings.Contains(out, "503") {
		t.Errorf("check while the provider is down: %v, %s", err, out)
	}
	for _, token := range []string{good, big, refused, narrow} {
		for part := range strings.SplitSeq(token, ".") {
			if strings.Contains(s.log.String(), part) {
				t.Errorf("a token is in the log: %s", s.log)
			}
		}
	}
}
