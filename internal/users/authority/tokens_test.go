package authority

import (
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hoplite/internal/conf"
	"hoplite/internal/users"
	"hoplite/internal/users/openid"
	"hoplite/internal/users/openid/openidtest"
)

// withTokens returns accounts of three domains: example.org and example.net have
// tokens of one provider, and example.com has neither tokens nor passwords
// elsewhere.
func withTokens(t *testing.T, idp *openidtest.Provider) *Accounts {
	t.Helper()
	store, err := users.Open(filepath.Join(t.TempDir(), "users"), []string{"localhost"}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	err = store.Update(func(b *users.Book) error {
		ann := &users.Account{Name: "ann@example.org", Roles: []string{users.Admin}}
		return errors.Join(ann.SetPassword("phone", "app-secret"), b.Add(ann))
	})
	if err != nil {
		t.Fatal(err)
	}
	var blocks []*Config
	for _, domain := range []string{"example.org", "example.net"} {
		c := &Config{Name: domain, OAuth: &openid.Config{Issuer: idp.URL, Audience: []string{openidtest.Audience}}}
		conf.Defaults(c)
		conf.Defaults(c.OAuth)
		if err := c.Check(); err != nil {
			t.Fatal(err)
		}
		blocks = append(blocks, c)
	}
	a, err := NewAccounts(store, blocks, Env{Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestTokens(t *testing.T) {
	idp := openidtest.Start(t, false)
	a := withTokens(t, idp)
	if !a.TokensReady() || !a.SCRAMReady() || !a.MayExist("bob@example.net") {
		t.Error("tokens, SCRAM, or users of the provider are missing")
	}
	for _, tc := range []struct {
		name, email, want string
	}{
		{"ann@example.org", "ann@example.org", "ann@example.org"},
		{"Ann@Example.Org.", "ann@example.org", "ann@example.org"},
		{"ann", "ann@example.org", "ann@example.org"},
		{"", "ann@example.org", "ann@example.org"},
		{"", "bob@example.net", "bob@example.net"},
		{"bob@example.net", "BOB@example.net", "bob@example.net"},
		{"bob@example.org", "ann@example.org", ""},
		{"ann@example.net", "ann@example.org", ""},
		{"ann@example.com", "ann@example.com", ""},
		{"", "ann@example.com", ""},
		{"root@localhost", "ann@example.org", ""},
	} {
		got, err := a.VerifyToken(t.Context(), tc.name, idp.Token(m{"email": tc.email}))
		if tc.want == "" {
			var refused *users.TokenRefused
			if !errors.As(err, &refused) || got != nil || refused.Status != "invalid_token" {
				t.Errorf("%+v: %v, %v", tc, got, err)
			}
			continue
		}
		if err != nil || got.Name != tc.want || got.Is(users.Admin) != strings.HasPrefix(tc.want, "ann") {
			t.Errorf("%+v: %v, %v", tc, got, err)
		}
	}
	if got, err := a.Verify(t.Context(), "ann@example.org", "app-secret"); err != nil || got.Name != "ann@example.org" {
		t.Errorf("app password: %v, %v", got, err)
	}
	for _, name := range []string{"ann@example.org", "bob@example.net"} {
		if _, err := a.Verify(t.Context(), name, idp.Token(nil)); err != users.ErrBadLogin {
			t.Errorf("token as the password of %s: %v", name, err)
		}
	}
	if err := a.authorities["example.org"].Probe(t.Context()); err != nil {
		t.Error(err)
	}
}

type m = map[string]any

func TestTokensWhileProviderIsDown(t *testing.T) {
	idp := openidtest.Start(t, false)
	a := withTokens(t, idp)
	idp.Answer(func(string) (int, string) { return http.StatusBadGateway, "" })
	for _, name := range []string{"", "ann@example.org"} {
		if _, err := a.VerifyToken(t.Context(), name, idp.Token(nil)); err == nil || errors.Is(err, users.ErrBadLogin) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if o := a.Authorities()["example.org"].Tokens().Outage(); o.Since.IsZero() || !strings.Contains(o.Reason, "502") {
		t.Errorf("%+v", o)
	}
	if o := a.Authorities()["example.org"].Outage(); !o.Since.IsZero() {
		t.Errorf("passwords: %+v", o)
	}
}

func TestTokensAfterReload(t *testing.T) {
	idp := openidtest.Start(t, false)
	a, next := withTokens(t, idp), withTokens(t, idp)
	token := idp.Token(nil)
	if _, err := a.VerifyToken(t.Context(), "", token); err != nil {
		t.Fatal(err)
	}
	next.authorities["example.org"].Inherit(a.authorities["example.org"])
	idp.Close()
	if _, err := next.VerifyToken(t.Context(), "ann@example.org", token); err != nil {
		t.Errorf("the keys are not inherited: %v", err)
	}
}

func TestTokenConfig(t *testing.T) {
	oauth := &openid.Config{Issuer: "https://idp.example.org", Audience: []string{"mail"}}
	for name, tc := range map[string]struct {
		login string
		oauth *openid.Config
		ok    bool
	}{
		"both":    {"imaps://old", oauth, true},
		"tokens":  {"", oauth, true},
		"neither": {"", nil, false},
		"bad":     {"old", oauth, false},
	} {
		c := Config{Name: "example.org", Login: tc.login, OAuth: tc.oauth}
		conf.Defaults(&c)
		if err := c.Check(); (err == nil) != tc.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	bad := Config{Name: "example.org", OAuth: &openid.Config{CA: "missing.pem"}, Connections: 1, Timeout: time.Second}
	if _, err := New(bad, Env{Data: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "missing.pem") {
		t.Errorf("ca: %v", err)
	}
}
