package openid

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/rs/zerolog"

	"hoplite/internal/conf"
	"hoplite/internal/users"
	"hoplite/internal/users/openid/openidtest"
)

func open(t *testing.T, p *openidtest.Provider, change func(*Config)) *Provider {
	t.Helper()
	c := Config{Issuer: p.URL, Audience: []string{"other", openidtest.Audience}}
	conf.Defaults(&c)
	if change != nil {
		change(&c)
	}
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	got, err := New(c, Env{Domain: "example.org", StaleFor: time.Hour, Timeout: 5 * time.Second, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(got.http.CloseIdleConnections)
	return got
}

type m = map[string]any

func TestClaims(t *testing.T) {
	now := time.Now()
	at := func(d time.Duration) float64 { return float64(now.Add(d).Unix()) }
	good := m{"iss": "https://idp", "aud": "mail", "exp": at(time.Minute), "email": "ann@example.org", "email_verified": true}
	for name, tc := range map[string]struct {
		change m
		config func(*Config)
		want   string // address, or the status and a part of the cause
	}{
		"good":                        {want: "ann@example.org"},
		"one of several audiences":    {change: m{"aud": []any{"x", "mail", 3.0}}, want: "ann@example.org"},
		"another audience":            {change: m{"aud": "web"}, want: "invalid_token audience"},
		"other audiences":             {change: m{"aud": []any{"web", "mai"}}, want: "invalid_token audience"},
		"no audience":                 {change: m{"aud": nil}, want: "invalid_token audience"},
		"another issuer":              {change: m{"iss": "https://idp/"}, want: "invalid_token issued by"},
		"no issuer":                   {change: m{"iss": nil}, want: "invalid_token issued by"},
		"expired":                     {change: m{"exp": at(-2 * time.Minute)}, want: "invalid_token expired"},
		"expired within the skew":     {change: m{"exp": at(-30 * time.Second)}, want: "ann@example.org"},
		"expired without skew":        {change: m{"exp": at(-30 * time.Second)}, config: func(c *Config) { c.ClockSkew = 0 }, want: "invalid_token expired"},
		"no expiry":                   {change: m{"exp": nil}, want: "invalid_token expiry"},
		"expiry is text":              {change: m{"exp": "tomorrow"}, want: "invalid_token expiry"},
		"expiry beyond all years":     {change: m{"exp": 1e300}, want: "invalid_token expiry"},
		"not yet valid":               {change: m{"nbf": at(2 * time.Minute)}, want: "invalid_token not yet valid"},
		"nbf within the skew":         {change: m{"nbf": at(30 * time.Second)}, want: "ann@example.org"},
		"nbf is text":                 {change: m{"nbf": "now"}, want: "invalid_token not yet valid"},
		"issued in the future":        {change: m{"iat": at(2 * time.Minute)}, want: "invalid_token not yet valid"},
		"another domain":              {change: m{"email": "ann@example.net"}, want: "invalid_token not in example.org"},
		"a domain below":              {change: m{"email": "ann@x.example.org"}, want: "invalid_token not in example.org"},
		"two at signs":                {change: m{"email": "ann@example.net@example.org"}, want: "invalid_token not an address"},
		"a path":                      {change: m{"email": "../ann@example.org"}, want: "invalid_token not an address"},
		"capitals":                    {change: m{"email": "Ann@Example.ORG"}, want: "ann@example.org"},
		"no address":                  {change: m{"email": nil}, want: "invalid_token without the claim"},
		"address is a list":           {change: m{"email": []any{"ann@example.org"}}, want: "invalid_token without the claim"},
		"not verified":                {change: m{"email_verified": false}, want: "invalid_token not verified"},
		"verified is unknown":         {change: m{"email_verified": nil}, want: "invalid_token not verified"},
		"verified is text":            {change: m{"email_verified": "true"}, want: "ann@example.org"},
		"verified is false as text":   {change: m{"email_verified": "false"}, want: "invalid_token not verified"},
		"another claim":               {change: m{"upn": "bob@example.org", "email_verified": false}, config: func(c *Config) { c.Claim = "upn" }, want: "bob@example.org"},
		"local part":                  {change: m{"preferred_username": "bob"}, config: func(c *Config) { c.Claim = "preferred_username" }, want: "bob@example.org"},
		"empty local part":            {change: m{"upn": ""}, config: func(c *Config) { c.Claim = "upn" }, want: "invalid_token without the claim"},
		"scope":                       {change: m{"scope": "openid mail"}, config: func(c *Config) { c.Scope = []string{"mail"} }, want: "ann@example.org"},
		"scope of another spelling":   {change: m{"scp": []any{"openid", "mail"}}, config: func(c *Config) { c.Scope = []string{"mail"} }, want: "ann@example.org"},
		"one of two scopes":           {change: m{"scope": "mail"}, config: func(c *Config) { c.Scope = []string{"mail", "imap"} }, want: "insufficient_scope imap"},
		"no scope":                    {config: func(c *Config) { c.Scope = []string{"mail"} }, want: "insufficient_scope mail"},
		"a longer scope":              {change: m{"scope": "mail.read"}, config: func(c *Config) { c.Scope = []string{"mail"} }, want: "insufficient_scope mail"},
		"domain in another spelling":  {change: m{"email": "ann@EXAMPLE.org."}, want: "ann@example.org"},
		"control characters":          {change: m{"email": "ann\r\n@example.org"}, want: "invalid_token not an address"},
		"scope does not help expired": {change: m{"exp": at(-time.Hour), "scope": ""}, config: func(c *Config) { c.Scope = []string{"mail"} }, want: "invalid_token expired"},
	} {
		c := Config{Issuer: "https://idp", Audience: []string{"mail"}}
		conf.Defaults(&c)
		if tc.config != nil {
			tc.config(&c)
		}
		token := claims{}
		for _, source := range []m{good, tc.change} {
			for k, v := range source {
				if token[k] = v; v == nil {
					delete(token, k)
				}
			}
		}
		address, status, err := (&rules{c, "example.org"}).judge(token, now)
		if err == nil {
			if address != tc.want || status != "" {
				t.Errorf("%s: %q, %q, want %s", name, address, status, tc.want)
			}
			continue
		}
		want, cause, _ := strings.Cut(tc.want, " ")
		if address != "" || status != want || cause == "" || !strings.Contains(err.Error(), cause) {
			t.Errorf("%s: %q, %s: %v, want %s", name, address, status, err, tc.want)
		}
	}
}

func TestSignatures(t *testing.T) {
	idp := openidtest.Start(t, false)
	other := openidtest.NewKey(t, "first") // the ID of the provider's key
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	idp.Rotate(openidtest.Key{ID: "rsa", Algorithm: jose.RS256, Private: rsaKey}, idp.Key())
	public, err := x509.MarshalPKIXPublicKey(&rsaKey.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	hmac := openidtest.Key{ID: "rsa", Algorithm: jose.HS256, Private: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})}
	good := idp.Token(nil)
	head, rest, _ := strings.Cut(good, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	_, otherRest, _ := strings.Cut(idp.Token(m{"email": "eve@example.org"}), ".")
	otherPayload, _, _ := strings.Cut(otherRest, ".")
	for name, tc := range map[string]struct{ token, cause string }{
		"good":                  {good, ""},
		"RSA-PSS":               {openidtest.Sign(t, openidtest.Key{ID: "rsa", Algorithm: jose.PS256, Private: rsaKey}, idp.Claims(nil)), ""},
		"without a key ID":      {openidtest.Sign(t, openidtest.Key{Algorithm: jose.RS256, Private: rsaKey}, idp.Claims(nil)), ""},
		"not signed":            {openidtest.Unsigned(t, idp.Claims(nil)), "algorithm"},
		"HMAC with public key":  {openidtest.Sign(t, hmac, idp.Claims(nil)), "algorithm"},
		"another key":           {openidtest.Sign(t, other, idp.Claims(nil)), "not signed with a key"},
		"another key ID":        {openidtest.Sign(t, openidtest.Key{ID: "x", Algorithm: jose.RS256, Private: rsaKey}, idp.Claims(nil)), "not signed with a key"},
		"another payload":       {head + "." + otherPayload + "." + signature, "not signed with a key"},
		"no signature":          {head + "." + payload + ".", "not signed with a key"},
		"two parts":             {head + "." + payload, "three parts"},
		"opaque":                {"ya29.a0AfB_byC", "not a token of"},
		"empty":                 {"", "not a token of"},
		"another issuer":        {idp.Token(m{"iss": "https://idp.example.net"}), "not a token of"},
		"no issuer":             {idp.Token(m{"iss": nil}), "not a token of"},
		"expired":               {idp.Token(m{"exp": 1}), "expired"},
		"another audience":      {idp.Token(m{"aud": "web"}), "audience"},
		"control in a claim":    {idp.Token(m{"email": "ann\x1b[2J@example.org"}), "not an address"},
		"claims of other types": {idp.Token(m{"exp": []int{1}}), ""},
	} {
		p := open(t, idp, nil)
		address, err := p.Verify(t.Context(), tc.token)
		if tc.cause == "" && name != "claims of other types" {
			if address != "ann@example.org" || err != nil {
				t.Errorf("%s: %q, %v", name, address, err)
			}
			continue
		}
		var refused *users.TokenRefused
		if !errors.As(err, &refused) || !errors.Is(err, users.ErrBadLogin) || address != "" || refused.Status != invalidToken || !strings.Contains(err.Error(), tc.cause) {
			t.Errorf("%s: %q, %v", name, address, err)
			continue
		}
		if refused.Discovery != idp.URL+"/.well-known/openid-configuration" || strings.ContainsAny(err.Error(), "\x1b\r\n") {
			t.Errorf("%s: %+q", name, refused)
		}
		for _, part := range strings.Split(tc.token, ".") {
			if len(part) > 12 && strings.Contains(err.Error(), part) {
				t.Errorf("%s: the error contains the token: %v", name, err)
			}
		}
	}
}

// A new key is fetched when a token is signed with it, but not as often as
// tokens with unknown keys arrive.
func TestRotation(t *testing.T) {
	idp := openidtest.Start(t, false)
	p := open(t, idp, nil)
	p.again = 0
	ok := func(token string) bool {
		t.Helper()
		_, err := p.Verify(t.Context(), token)
		if err != nil && !errors.Is(err, users.ErrBadLogin) {
			t.Fatal(err)
		}
		return err == nil
	}
	old := idp.Token(nil)
	for range 3 {
		if !ok(old) {
			t.Fatal("refused")
		}
	}
	if n := idp.Asked(); n != 1 {
		t.Errorf("keys fetched %d times for 3 tokens", n)
	}
	idp.Rotate(openidtest.NewKey(t, "second"), idp.Key())
	if !ok(idp.Token(nil)) || !ok(old) {
		t.Error("refused after a new key was added")
	}
	idp.Rotate(idp.Key())
	if !ok(old) {
		t.Error("a withdrawn key is refused before the keys are fetched again")
	}
	p.known.at = time.Now().Add(-keysFor)
	if ok(old) {
		t.Error("a withdrawn key is accepted after an hour")
	}
	p.again = keysAgain
	before := idp.Asked()
	forged := openidtest.Sign(t, openidtest.NewKey(t, "forged"), idp.Claims(nil))
	for range 20 {
		if ok(forged) {
			t.Fatal("accepted")
		}
	}
	if n := idp.Asked() - before; n != 0 {
		t.Errorf("20 forged tokens caused %d requests", n)
	}
}

// Known keys are used while the provider is down, but not for ever.
func TestProviderDown(t *testing.T) {
	idp := openidtest.Start(t, false)
	token := idp.Token(nil)
	down := func(string) (int, string) { return http.StatusServiceUnavailable, strings.Repeat("sorry ", 1000) }
	var log strings.Builder
	p := open(t, idp, nil)
	p.env.Log = zerolog.New(&log)
	idp.Answer(down)
	for range 2 {
		if _, err := p.Verify(t.Context(), token); err == nil || errors.Is(err, users.ErrBadLogin) || len(err.Error()) > 1000 {
			t.Fatalf("down from the start: %v", err)
		}
	}
	if p.Outage().Since.IsZero() {
		t.Error("no outage")
	}
	idp.Answer(nil)
	wake(p)
	if _, err := p.Verify(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	idp.Answer(down)
	p.again = 0
	forged := openidtest.Sign(t, openidtest.NewKey(t, "new"), idp.Claims(nil))
	if _, err := p.Verify(t.Context(), forged); err == nil || errors.Is(err, users.ErrBadLogin) {
		t.Errorf("unknown key while down: %v", err)
	}
	for age, ok := range map[time.Duration]bool{0: true, keysFor: true, keysFor + p.env.StaleFor: false} {
		p.known.at = time.Now().Add(-age)
		_, err := p.Verify(t.Context(), token)
		if (err == nil) != ok || err != nil && errors.Is(err, users.ErrBadLogin) {
			t.Errorf("keys %s old: %v", age, err)
		}
	}
	if n := strings.Count(log.String(), "\n"); n != 2 {
		t.Errorf("%d log lines: %s", n, log.String())
	}
}

// wake ends the pause after a failure.
func wake(p *Provider) { p.state.Set(nil, time.Now()) }

func TestAnswers(t *testing.T) {
	idp := openidtest.Start(t, false)
	config := `{"issuer":"` + idp.URL + `","jwks_uri":"` + idp.URL + `/keys"}`
	for name, tc := range map[string]struct {
		config, keys string
		cause        string
	}{
		"not JSON":           {"<html>", "", "decode"},
		"another issuer":     {`{"issuer":"https://x"}`, "", "calls itself"},
		"no keys":            {`{"issuer":"` + idp.URL + `"}`, "", "jwks_uri"},
		"keys without TLS":   {`{"issuer":"` + idp.URL + `","jwks_uri":"http://192.0.2.1/keys"}`, "", "without TLS"},
		"empty set":          {config, `{"keys":[]}`, "no public key"},
		"keys not JSON":      {config, `<html>`, "not JSON"},
		"secret key only":    {config, `{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}`, "no public key"},
		"key for encryption": {config, `{"keys":[{"kty":"EC","use":"enc","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}`, "no public key"},
		"endless":            {config, `{"keys":[` + strings.Repeat(" ", maxAnswer) + `]}`, "not JSON"},
	} {
		idp.Answer(func(path string) (int, string) {
			if path == "/keys" {
				return http.StatusOK, tc.keys
			}
			return http.StatusOK, tc.config
		})
		if err := open(t, idp, nil).Probe(t.Context()); err == nil || !strings.Contains(err.Error(), tc.cause) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Keys of unknown types beside a usable one are ignored.
	set, err := parseKeys([]byte(`{"keys":[{"kty":"new"},7,{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}`))
	if err != nil || len(set) != 1 {
		t.Errorf("%v, %v", set, err)
	}
}

func TestCertificate(t *testing.T) {
	idp := openidtest.Start(t, true)
	if err := open(t, idp, nil).Probe(t.Context()); err == nil {
		t.Error("an unknown certificate is accepted")
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: idp.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := open(t, idp, func(c *Config) { c.CA = file }).Probe(t.Context()); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{file + ".missing", os.DevNull} {
		if _, err := New(Config{CA: bad}, Env{}); err == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
}

func TestConcurrent(t *testing.T) {
	idp := openidtest.Start(t, false)
	p := open(t, idp, nil)
	token := idp.Token(nil)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := p.Verify(context.Background(), token); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := idp.Asked(); n != 1 {
		t.Errorf("keys fetched %d times", n)
	}
	next := open(t, idp, nil)
	next.Inherit(p)
	if _, err := next.Verify(context.Background(), token); err != nil || idp.Asked() != 1 {
		t.Errorf("after a reload: %v, %d requests", err, idp.Asked())
	}
}

func TestConfig(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Config)
		ok     bool
	}{
		"good":                {func(*Config) {}, true},
		"path":                {func(c *Config) { c.Issuer = "https://idp/realms/x/" }, true},
		"this machine":        {func(c *Config) { c.Issuer = "http://127.0.0.1:8080" }, true},
		"no TLS":              {func(c *Config) { c.Issuer = "http://idp.example.org" }, false},
		"no scheme":           {func(c *Config) { c.Issuer = "idp.example.org" }, false},
		"query":               {func(c *Config) { c.Issuer = "https://idp.example.org?x" }, false},
		"no audience":         {func(c *Config) { c.Audience = nil }, false},
		"empty audience":      {func(c *Config) { c.Audience = []string{""} }, false},
		"no claim":            {func(c *Config) { c.Claim = "" }, false},
		"two scopes in one":   {func(c *Config) { c.Scope = []string{"a b"} }, false},
		"negative skew":       {func(c *Config) { c.ClockSkew = -1 }, false},
		"skew of a whole day": {func(c *Config) { c.ClockSkew = 24 * time.Hour }, false},
	} {
		c := Config{Issuer: "https://idp.example.org", Audience: []string{"mail"}}
		conf.Defaults(&c)
		tc.change(&c)
		if err := c.Check(); (err == nil) != tc.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	c := Config{Issuer: "https://idp/realms/x/"}
	if got := c.Discovery(); got != "https://idp/realms/x/.well-known/openid-configuration" {
		t.Error(got)
	}
	if slices.Contains(algorithms, "HS256") || slices.Contains(algorithms, "none") {
		t.Error(algorithms)
	}
}
