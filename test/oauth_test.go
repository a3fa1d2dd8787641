package test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const oauthConfig = `
hostname   = "mail.example.org"
data       = "var"
postmaster = "ann@example.org"
smtp "devices" {
  listen     = ["127.0.0.1:0"]
  relay_from = ["127.0.0.0/8"]
  chain      = "out"
}
chain "out" {
  route "out" {
    relay = true
    hop   = "provider"
  }
}
upstream "provider" {
  servers                 = ["smtp://$SERVER"]
  mode                    = "queue"
  recipients              = "any"
  first_retry             = "1s"
  max_retry               = "2s"
  messages_per_connection = 1
  auth {
    user = "relay@example.org"
    oauth2 {
      client_id     = "app"
      client_secret = "s3cret"
      token_url     = "$TOKENS/token"
$MORE
    }
  }
}
`

// tokenOf returns the token of an AUTH XOAUTH2 command.
func tokenOf(command string) (string, bool) {
	text, ok := strings.CutPrefix(command, "AUTH XOAUTH2 ")
	if !ok {
		return "", false
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return "", false
	}
	_, token, _ := strings.Cut(string(b), "auth=Bearer ")
	return strings.TrimRight(token, "\x01"), true
}

// requireToken makes a peer refuse mail unless the client has logged in with a
// token that valid accepts.
func requireToken(p *peer, valid func(token string) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.say = func(command string) (string, bool) {
		if strings.HasPrefix(command, "EHLO") {
			return "250-provider|250 AUTH LOGIN XOAUTH2", true
		}
		token, ok := tokenOf(command)
		switch {
		case ok && valid(token):
			return "235 2.7.0 welcome", true
		case ok:
			return "535 5.7.3 Authentication unsuccessful", true
		}
		return "", false
	}
}

// provider issues tokens after a device login.
type provider struct {
	mu    sync.Mutex
	down  bool
	polls int
	last  string
	n     int
}

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch {
	case p.down:
		w.WriteHeader(http.StatusServiceUnavailable)
	case r.URL.Path == "/device":
		fmt.Fprint(w, `{"device_code":"d3vice","user_code":"ABCD-EFGH","verification_uri":"https://login.example/enter","expires_in":900,"interval":1}`)
	case r.FormValue("grant_type") == "urn:ietf:params:oauth:grant-type:device_code" && p.polls == 0:
		p.polls++
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"error":"authorization_pending"}`)
	case r.FormValue("grant_type") == "refresh_token" && !strings.HasPrefix(r.FormValue("refresh_token"), "refr3sh"):
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"error":"invalid_grant"}`)
	default:
		p.n++
		p.last = fmt.Sprintf("acc3ss-%d", p.n)
		fmt.Fprintf(w, `{"access_token":%q,"refresh_token":"refr3sh-%d","token_type":"Bearer","expires_in":3600}`, p.last, p.n)
	}
}

func (p *provider) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

func (p *provider) is(token string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return token == p.last
}

const shortMail = `S: 220 *
C: EHLO scanner
S+ 250 *
C: MAIL FROM:<scan@example.org>
S: 250 *
C: RCPT TO:<bob@partner.example>
S: 250 *
C: DATA
S: 354 *
C: Subject: $SUBJECT
C:
C: body
C: .
S: 250 *
C: QUIT
S: 221 *
`

// The user logs in with a device code. While the token service is down, mail
// waits in the queue, which shows the reason. Neither the secret nor a token is
// logged.
func TestOAuthDeviceLogin(t *testing.T) {
	idp := &provider{}
	tokens := httptest.NewServer(idp)
	defer tokens.Close()
	old := newPeer(t, "")
	requireToken(old, idp.is)
	config := strings.NewReplacer("$SERVER", old.l.Addr().String(), "$TOKENS", tokens.URL,
		"$MORE", "      device_url = \""+tokens.URL+"/device\"\n      grant = \"refresh_token\"").Replace(oauthConfig)
	s := prepare(t, config)
	s.start()

	s.talk("devices", strings.Replace(shortMail, "$SUBJECT", "first", 1))
	reason := "there is no access token: no login yet: run hoplite oauth login"
	s.waitFor("the reason in the log", func() bool { return strings.Contains(s.log.String(), reason) })
	s.waitFor("the reason in the queue", func() bool {
		out, _ := s.run("", "queue", "list", "-c", "relay.hcl", "--json")
		return strings.Contains(out, reason)
	})
	out := s.must("", "oauth", "login", "provider", "-c", "relay.hcl")
	if !strings.Contains(out, "https://login.example/enter") || !strings.Contains(out, "ABCD-EFGH") {
		t.Errorf("login printed\n%s", out)
	}
	s.waitFor("the first message", func() bool { return strings.Contains(old.newest(), "Subject: first") })

	idp.set(func() { idp.down, idp.last = true, "another" }) // revokes the token
	s.talk("devices", strings.Replace(shortMail, "$SUBJECT", "second", 1))
	s.waitFor("the second reason", func() bool {
		return strings.Contains(s.log.String(), "the token service refused: 503 Service Unavailable")
	})
	idp.set(func() { idp.down = false })
	s.waitFor("the second message", func() bool { return strings.Contains(old.newest(), "Subject: second") })

	if out := s.must("", "oauth", "test", "provider", "-c", "relay.hcl"); !strings.Contains(out, "login at the upstream was successful") {
		t.Errorf("test printed\n%s", out)
	}
	if out, err := s.run("", "oauth", "test", "other", "-c", "relay.hcl"); err == nil || !strings.Contains(out, `no upstream with an oauth2 block is called "other"`) {
		t.Errorf("%v, %s", err, out)
	}
	for _, secret := range []string{"s3cret", "acc3ss", "refr3sh", base64.StdEncoding.EncodeToString([]byte("acc3ss"))} {
		if strings.Contains(s.log.String()+out, secret) {
			t.Errorf("%q was printed", secret)
		}
	}
	if st, err := os.Stat(filepath.Join(s.dir, "var/state/oauth-provider.json")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st, err)
	}
}
