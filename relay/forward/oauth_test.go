package forward

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"hoplite/internal/conf"
	"hoplite/internal/oauth"
	"hoplite/mail"
)

// tokenServer issues numbered tokens, or answers 503 while it is down.
type tokenServer struct {
	mu     sync.Mutex
	issued int
	down   bool
}

func (s *tokenServer) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	s.issued++
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"access_token":"t0ken-%d","token_type":"Bearer","expires_in":3600}`, s.issued)
}

func (s *tokenServer) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.issued
}

// withOAuth returns an upstream that logs in with tokens of a token server.
func withOAuth(t *testing.T, p *peer, tokens *tokenServer) *Upstream {
	t.Helper()
	server := httptest.NewServer(tokens)
	t.Cleanup(server.Close)
	cfg := Config{}
	conf.Defaults(&cfg)
	cfg.Name, cfg.Servers, cfg.TLS, cfg.Recipients = "provider", []string{p.url()}, "off", "any"
	cfg.Auth = &AuthConfig{User: "relay@example.org", Mechanism: "auto", OAuth2: &oauth.Config{
		ClientID: "app", ClientSecret: "s3cret", TokenURL: server.URL + "/token", Grant: "auto",
	}}
	data := t.TempDir()
	if err := os.Mkdir(filepath.Join(data, "state"), 0o700); err != nil {
		t.Fatal(err)
	}
	u, err := New(cfg, Env{Hostname: "relay.example.org", Data: data, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.Close)
	return u
}

func xoauth2Line(token string) string {
	return "AUTH XOAUTH2 " + base64.StdEncoding.EncodeToString([]byte("user=relay@example.org\x01auth=Bearer "+token+"\x01\x01"))
}

// accepts makes a peer accept only one token.
func accepts(p *peer, token string) {
	p.say = func(line string) (string, bool) {
		switch {
		case strings.HasPrefix(line, "EHLO"):
			return "250-provider\r\n250 AUTH LOGIN XOAUTH2", true
		case line == xoauth2Line(token):
			return "235 2.7.0 welcome", true
		case strings.HasPrefix(line, "AUTH"):
			return "334 eyJzdGF0dXMiOiI0MDEifQ==", true
		case line == "":
			return "535 5.7.3 Authentication unsuccessful", true
		}
		return "", false
	}
}

// A token that the server refuses is replaced once. If the new one is also
// refused, mail waits.
func TestRefusedToken(t *testing.T) {
	for accepted, want := range map[string]string{"t0ken-1": "250 2.0.0", "t0ken-2": "250 2.0.0", "t0ken-9": "451 4.3.2"} {
		t.Run(accepted, func(t *testing.T) {
			p, tokens := newPeer(t, nil), &tokenServer{}
			p.set(func() { accepts(p, accepted) })
			got := replies(handOver(t, withOAuth(t, p, tokens), "A: b\r\n\r\n", "ann@example.net"))
			if !strings.HasPrefix(got, "ann@example.net: "+want) {
				t.Errorf("outcome %s, want %s", got, want)
			}
			if n := tokens.count(); n > 2 {
				t.Errorf("%d tokens requested", n)
			}
			if strings.Contains(got, "t0ken") {
				t.Errorf("the token is in the reply %q", got)
			}
		})
	}
}

// While the token service is down, mail waits and the reply contains the
// reason.
func TestTokenServiceDown(t *testing.T) {
	p, tokens := newPeer(t, nil), &tokenServer{down: true}
	p.set(func() { accepts(p, "t0ken-1") })
	u := withOAuth(t, p, tokens)
	got := replies(handOver(t, u, "A: b\r\n\r\n", "ann@example.net"))
	if want := "451 4.3.2 upstream provider can't be used now, because there is no access token: the token service refused: 503 Service Unavailable"; !strings.Contains(got, want) {
		t.Errorf("outcome %s, want %s", got, want)
	}
	if u.Tokens().Failures() != 1 {
		t.Errorf("%d failures", u.Tokens().Failures())
	}
}

// A secret must have exactly one source.
func TestAuthSources(t *testing.T) {
	app := &oauth.Config{ClientID: "a", ClientSecret: "s", TokenURL: "https://login.example.net/token"}
	for name, c := range map[string]struct {
		auth AuthConfig
		want string
	}{
		"password":            {AuthConfig{User: "ann", Password: "x"}, ""},
		"oauth2":              {AuthConfig{User: "ann", OAuth2: app}, ""},
		"none":                {AuthConfig{User: "ann"}, "neither password, token_file nor oauth2"},
		"two":                 {AuthConfig{User: "ann", TokenFile: "f", OAuth2: app}, "token_file and oauth2: choose one"},
		"mistakes in oauth2":  {AuthConfig{User: "ann", OAuth2: &oauth.Config{ClientID: "a", ClientSecret: "s"}}, "token_url"},
		"password and oauth2": {AuthConfig{User: "ann", Password: "x", OAuth2: app}, "password and oauth2: choose one"},
	} {
		cfg := Config{}
		conf.Defaults(&cfg)
		c.auth.User = "ann"
		cfg.Servers, cfg.Auth = []string{"smtps://smtp.example.net"}, &c.auth
		err := cfg.Check()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestPresets(t *testing.T) {
	cfg := Config{Preset: "microsoft365", Auth: &AuthConfig{User: "u", OAuth2: &oauth.Config{Tenant: "t", ClientID: "a", ClientSecret: "s"}}}
	conf.Defaults(&cfg)
	cfg.ApplyPreset()
	if err := cfg.Check(); err != nil {
		t.Error(err)
	}
	if cfg.Servers[0] != "smtp://smtp.office365.com:587" || cfg.TLS != "verify" || cfg.Connections != 3 || cfg.Rate.String() != "30/1m" || cfg.Recipients != "any" {
		t.Errorf("%+v", cfg)
	}
	if app, user, ok := cfg.OAuth(); !ok || user != "u" || app.Preset != "microsoft365" {
		t.Errorf("%+v, %s, %v", app, user, ok)
	}
	other := Config{Servers: []string{"smtp://other.example"}}
	other.ApplyPreset()
	if _, _, ok := other.OAuth(); ok || other.Servers[0] != "smtp://other.example" {
		t.Errorf("%+v", other)
	}
}

// No more than the configured number of messages are sent in any minute.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace(conf.Rate{Count: 3, Per: time.Minute})
		start := time.Now()
		var at []time.Duration
		for range 7 {
			if r := p.wait(t.Context(), "up"); r != nil {
				t.Fatal(r)
			}
			at = append(at, time.Since(start))
			time.Sleep(time.Second)
		}
		if want := []time.Duration{0, time.Second, 2 * time.Second, 60 * time.Second, 61 * time.Second, 62 * time.Second, 120 * time.Second}; fmt.Sprint(at) != fmt.Sprint(want) {
			t.Errorf("passed at %v, want %v", at, want)
		}
	})
}

// A message that cannot wait longer is deferred and does not use a slot.
func TestPaceDeferred(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pr := newPace(conf.Rate{Count: 1, Per: time.Minute})
		pr.wait(t.Context(), "up")
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if r := pr.wait(ctx, "up"); r == nil || r.Code != 451 || r.Text != "upstream up has reached its rate of 1/1m" {
			t.Errorf("reply %v", r)
		}
		start := time.Now()
		pr.wait(t.Context(), "up")
		if took := time.Since(start); took != 50*time.Second {
			t.Errorf("waited %s", took)
		}
		var none *pace
		if none.wait(ctx, "up") != nil {
			t.Error("no limit, but refused")
		}
	})
}

// The upstream respects its rate limit.
func TestRate(t *testing.T) {
	p := newPeer(t, nil)
	u := upstream(t, []string{p.url()}, func(c *Config) {
		c.Recipients, c.Rate = "any", conf.Rate{Count: 2, Per: 300 * time.Millisecond}
	})
	start := time.Now()
	for range 3 {
		if got := replies(handOverTx(t, u, mail.NewTransaction(mail.Client{}, "a@example.org"), "A: b\r\n\r\n", "ann@example.net")); !strings.Contains(got, "250") {
			t.Fatal(got)
		}
	}
	if took := time.Since(start); took < 300*time.Millisecond {
		t.Errorf("3 messages in %s", took)
	}
}
