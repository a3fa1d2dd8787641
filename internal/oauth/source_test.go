package oauth

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"hoplite/internal/conf"
)

// A token is renewed when a fifth of its lifetime is left, but at most five
// minutes early.
func TestRenewedEarly(t *testing.T) {
	for _, c := range []struct {
		life        int
		still, then time.Duration // the first token is used, then a second one
	}{
		{10, 7 * time.Second, 9 * time.Second},
		{3600, 54 * time.Minute, 56 * time.Minute},
		{0, 3 * time.Minute, 4*time.Minute + time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := &fakeProvider{life: c.life}
			s := source(t, application(), p.env(t))
			want(t, s, "access-1")
			time.Sleep(c.still)
			want(t, s, "access-1")
			time.Sleep(c.then - c.still)
			want(t, s, "access-2")
		})
	}
}

// While the provider is down, a token is used until it expires. After that, the
// reason is returned, and the provider is not asked again for every message.
func TestProviderDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fakeProvider{life: 100}
		s := source(t, application(), p.env(t))
		want(t, s, "access-1")
		p.set(func() { p.down = true })
		time.Sleep(90 * time.Second)
		want(t, s, "access-1")
		time.Sleep(20 * time.Second)
		for range 50 {
			_, err := s.Token(t.Context())
			var e *Error
			if !errors.As(err, &e) || e.Text != "the token service login.example.net can't be reached: connection refused" {
				t.Fatalf("error %v", err)
			}
		}
		if n := s.Failures(); n != 2 {
			t.Errorf("asked %d times without success, want 2", n)
		}
		p.set(func() { p.down = false })
		time.Sleep(pauseMax)
		want(t, s, "access-2")
	})
}

// A refused token is replaced once. Refusing an older token has no effect.
func TestRefuse(t *testing.T) {
	p := &fakeProvider{life: 3600}
	s := source(t, application(), p.env(t))
	want(t, s, "access-1")
	s.Refuse("another")
	want(t, s, "access-1")
	s.Refuse("access-1")
	want(t, s, "access-2")
	s.Refuse("access-1")
	want(t, s, "access-2")
}

// Many concurrent callers cause a single request.
func TestOneRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fakeProvider{life: 3600, answer: func(url.Values) (int, string) { time.Sleep(time.Second); return 0, "" }}
		s := source(t, application(), p.env(t))
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() { want(t, s, "access-1") })
		}
		all.Wait()
		if p.asked() != 1 {
			t.Errorf("%d requests", p.asked())
		}
	})
}

// The token survives a restart, in a file that only the server can read. It is
// not used after the application or user has changed.
func TestStored(t *testing.T) {
	p := &fakeProvider{life: 3600}
	env := p.env(t)
	want(t, source(t, application(), env), "access-1")
	want(t, source(t, application(), env), "access-1")
	path := stateFile(env.Data, env.Name)
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("file %v, %v", st, err)
	}
	other := application()
	other.ClientID = "other"
	want(t, source(t, other, env), "access-2")
	env.User = "someone@example.org"
	want(t, source(t, other, env), "access-3")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, source(t, other, env), "access-4")
}

// A refresh token that the provider replaces is stored, and one stored by a
// login while the server runs is found.
func TestRefreshToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fakeProvider{life: 100, rotate: true}
		env := p.env(t)
		c := application()
		c.Grant = refreshToken
		s := source(t, c, env)
		if _, err := s.Token(t.Context()); err == nil || !strings.Contains(err.Error(), "hoplite oauth login") {
			t.Fatalf("without a login: %v", err)
		}
		if err := newStore(&c, env).save(token{Refresh: "from the login"}); err != nil {
			t.Fatal(err)
		}
		want(t, s, "access-1")
		time.Sleep(time.Minute * 2)
		want(t, s, "access-2")
		if a, b := p.forms[0].Get("refresh_token"), p.forms[1].Get("refresh_token"); a != "from the login" || b != "refresh-1" {
			t.Errorf("sent %q, then %q", a, b)
		}
		if p.forms[0].Get("grant_type") != "refresh_token" {
			t.Errorf("form %v", p.forms[0])
		}
	})
}

func TestClientCredentials(t *testing.T) {
	p := &fakeProvider{life: 3600}
	c := Config{Preset: "microsoft365", Tenant: "example.org", ClientID: "app", ClientSecret: "s3cret"}
	want(t, source(t, c, p.env(t)), "access-1")
	f := p.forms[0]
	if f.Get("grant_type") != "client_credentials" || f.Get("client_secret") != "s3cret" || f.Get("scope") != "https://outlook.office365.com/.default" {
		t.Errorf("form %v", f)
	}
}

func TestCertificate(t *testing.T) {
	p := &fakeProvider{life: 3600}
	env := p.env(t)
	writePair(t, filepath.Join(env.Data, "app.pem"))
	c := Config{Preset: "microsoft365", Tenant: "example.org", ClientID: "app", Certificate: "app.pem"}
	want(t, source(t, c, env), "access-1")
	f := p.forms[0]
	if f.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" || f.Get("client_id") != "app" || f.Get("client_secret") != "" {
		t.Errorf("form %v", f)
	}
	head, claims := verifyJWT(t, f.Get("client_assertion"))
	if head["alg"] != "RS256" || head["x5t#S256"] == "" {
		t.Errorf("head %v", head)
	}
	if claims["aud"] != "https://login.microsoftonline.com/example.org/oauth2/v2.0/token" || claims["iss"] != "app" || claims["sub"] != "app" || claims["jti"] == "" {
		t.Errorf("claims %v", claims)
	}
	if life := claims["exp"].(float64) - float64(time.Now().Unix()); life < 60 || life > 3600 {
		t.Errorf("valid for %v s", life)
	}
}

func TestServiceAccount(t *testing.T) {
	p := &fakeProvider{life: 3600}
	env := p.env(t)
	key, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "relay@project.example", "private_key_id": "k1",
		"private_key": string(keyPEM(t)), "token_uri": "https://oauth2.example.net/token",
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(env.Data, "key.json"), key, 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, source(t, Config{Preset: "gmail", ServiceAccount: "key.json"}, env), "access-1")
	f := p.forms[0]
	if f.Get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
		t.Errorf("form %v", f)
	}
	head, claims := verifyJWT(t, f.Get("assertion"))
	if head["kid"] != "k1" || claims["iss"] != "relay@project.example" || claims["sub"] != "relay@example.org" || claims["scope"] != "https://mail.google.com/" {
		t.Errorf("head %v, claims %v", head, claims)
	}
	for _, bad := range []string{"missing.json", "empty.json"} {
		if err := os.WriteFile(filepath.Join(env.Data, "empty.json"), []byte(`{"type":"authorized_user"}`), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := NewSource(Config{ServiceAccount: bad}, env); err == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
}

// Errors contain the provider's reason, but no secrets or tokens.
func TestReasons(t *testing.T) {
	for name, c := range map[string]struct {
		status     int
		body, want string
	}{
		"microsoft": {401, `{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided. Trace ID: 1 Correlation ID: 2"}`,
			"the token service refused: invalid_client: AADSTS7000215: Invalid client secret provided."},
		"code only":        {400, `{"error":"invalid_grant"}`, "the token service refused: invalid_grant"},
		"no JSON":          {503, "<html>access-1", "the token service refused: 503 Service Unavailable"},
		"success, no JSON": {200, "access-1", "the reply of the token service can't be used"},
		"repeated secrets": {400, `{"error":"x","error_description":"s3cret eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJhcHAiLCJzdWIiOiJhcHAifQ.c2lnbmF0dXJl"}`, "the token service refused: x: [removed] [removed]"},
		"hostile text":     {400, `{"error":"x","error_description":"a\u001b[31m\r\nb"}`, "the token service refused: x: a"},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			p := &fakeProvider{answer: func(url.Values) (int, string) { return c.status, c.body }}
			env := p.env(t)
			env.Log = zerolog.New(&log)
			_, err := source(t, application(), env).Token(t.Context())
			if err == nil || !strings.HasPrefix(err.Error(), c.want) || strings.ContainsAny(err.Error(), "\r\n\x1b") {
				t.Errorf("error %q, want %q", err, c.want)
			}
			for _, secret := range []string{"s3cret", "access-1"} {
				if strings.Contains(log.String(), secret) || err != nil && strings.Contains(err.Error(), secret) {
					t.Errorf("%q is in %q or the log", secret, err)
				}
			}
		})
	}
}

// A redirect would send the secrets to another address.
func TestNoRedirect(t *testing.T) {
	asked := 0
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	defer other.Close()
	provider := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer provider.Close()
	res, err := httpClient().PostForm(provider.URL, url.Values{"client_secret": {"s3cret"}})
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusTemporaryRedirect || asked != 0 {
		t.Errorf("status %d, %d requests at the other address", res.StatusCode, asked)
	}
}

func TestComplete(t *testing.T) {
	for name, c := range map[string]struct {
		cfg  Config
		want string // "" if there is no error
	}{
		"client credentials":     {application(), ""},
		"microsoft":              {Config{Preset: "microsoft365", Tenant: "t", ClientID: "a", ClientSecret: "s"}, ""},
		"microsoft by login":     {Config{Preset: "microsoft365", Tenant: "t", ClientID: "a"}, ""},
		"gmail by login":         {Config{Preset: "gmail", ClientID: "a", ClientSecret: "s"}, ""},
		"service account":        {Config{Preset: "gmail", ServiceAccount: "f"}, ""},
		"no tenant":              {Config{Preset: "microsoft365", ClientID: "a", ClientSecret: "s"}, "tenant"},
		"no client":              {Config{Preset: "gmail"}, "client_id"},
		"no provider":            {Config{ClientID: "a", ClientSecret: "s"}, "token_url"},
		"gmail without a login":  {Config{Preset: "gmail", ClientID: "a", ClientSecret: "s", Grant: clientCredentials}, "grant"},
		"nothing to prove":       {Config{Preset: "microsoft365", Tenant: "t", ClientID: "a", Grant: clientCredentials}, "client_secret"},
		"no key":                 {Config{Preset: "gmail", ClientID: "a", Grant: serviceAccount}, "service_account"},
		"secret and certificate": {Config{Preset: "microsoft365", Tenant: "t", ClientID: "a", ClientSecret: "s", Certificate: "c"}, "certificate"},
		"clear text":             {Config{ClientID: "a", ClientSecret: "s", TokenURL: "http://login.example.net/token"}, "token_url"},
		"loopback":               {Config{ClientID: "a", ClientSecret: "s", TokenURL: "http://127.0.0.1:8080/token"}, ""},
		"no address":             {Config{ClientID: "a", ClientSecret: "s", TokenURL: "login"}, "token_url"},
	} {
		err := c.cfg.Complete()
		var field *conf.FieldError
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want != "" && (!errors.As(err, &field) || field.Name != c.want):
			t.Errorf("%s: %v, want an error at %s", name, err, c.want)
		}
	}
}
