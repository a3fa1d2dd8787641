package login

import (
	"context"
	"errors"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/rs/zerolog"

	"hoplite/internal/users"
)

// tokenStore accepts the token "good" for ann@localhost.
type tokenStore struct {
	*users.Store
	off  bool
	down error
}

func (s *tokenStore) TokensReady() bool { return !s.off }

func (s *tokenStore) VerifyToken(_ context.Context, name, token string) (*users.Account, error) {
	switch {
	case s.down != nil:
		return nil, s.down
	case token == "plain":
		return nil, users.ErrBadLogin
	case token == "narrow":
		return nil, &users.TokenRefused{Status: "insufficient_scope", Scope: "mail imap", Discovery: "https://idp/x", Cause: errors.New("no scope")}
	case token != "good" || name != "" && s.LoginName(name) != "ann@localhost":
		return nil, &users.TokenRefused{Status: "invalid_token", Cause: errors.New("not good")}
	}
	return &users.Account{Name: "ann@localhost"}, nil
}

func tokenGate(t *testing.T) (*Gate, *tokenStore) {
	t.Helper()
	_, s := gate(t)
	store := &tokenStore{Store: s}
	return NewGate(store, users.NewThrottle()), store
}

func TestBearerMessages(t *testing.T) {
	for _, tc := range []struct{ mech, message, name, token string }{
		{OAuthBearer, "n,a=ann@x,\x01host=h\x01port=143\x01auth=Bearer abc\x01\x01", "ann@x", "abc"},
		{OAuthBearer, "n,,\x01auth=Bearer a.b-c_d~e+f/g==\x01\x01", "", "a.b-c_d~e+f/g=="},
		{OAuthBearer, "y,a=a=2Cb=3Dc,\x01auth=bearer  abc\x01new=pair\x01\x01", "a,b=c", "abc"},
		{OAuthBearer, "p=tls-exporter,,\x01auth=Bearer abc\x01\x01", "", ""},
		{OAuthBearer, "n,b=ann,\x01auth=Bearer abc\x01\x01", "", ""},
		{OAuthBearer, "n,a=,\x01auth=Bearer abc\x01\x01", "", ""},
		{OAuthBearer, "n,\x01auth=Bearer abc\x01\x01", "", ""},
		{OAuthBearer, "n,,auth=Bearer abc\x01\x01", "", ""},
		{OAuthBearer, "n,,\x01auth=Bearer abc\x01", "", ""},
		{OAuthBearer, "n,,\x01auth=Bearer \x01\x01", "", ""},
		{OAuthBearer, "n,,\x01auth=Basic abc\x01\x01", "", ""},
		{OAuthBearer, "n,,\x01auth=Bearer a\x01auth=Bearer b\x01\x01", "", ""},
		{OAuthBearer, "n,,\x01auth=Bearer a b\x01\x01", "", ""},
		{OAuthBearer, "n,,\x01auth=Bearer a\r\nb\x01\x01", "", ""},
		{OAuthBearer, "n,,\x01host=h\x01\x01", "", ""},
		{OAuthBearer, "n,,\x01\x01", "", ""},
		{OAuthBearer, "", "", ""},
		{XOAuth2, "user=ann@x\x01auth=Bearer abc\x01\x01", "ann@x", "abc"},
		{XOAuth2, "user=\x01auth=Bearer abc\x01\x01", "", ""},
		{XOAuth2, "auth=Bearer abc\x01\x01", "", ""},
		{XOAuth2, "user=ann@x", "", ""},
		{XOAuth2, "", "", ""},
	} {
		parse := parseBearer
		if tc.mech == XOAuth2 {
			parse = parseXOAuth2
		}
		name, token, ok := parse(tc.message)
		if ok != (tc.token != "") || ok && (name != tc.name || token != tc.token) {
			t.Errorf("%s %q: %q, %q, %t", tc.mech, tc.message, name, token, ok)
		}
	}
}

func TestBearer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, store := tokenGate(t)
		bearer := func(token string) string { return "n,a=ann@localhost,\x01auth=Bearer " + token + "\x01\x01" }
		x := func(token string) string { return "user=ann@localhost\x01auth=Bearer " + token + "\x01\x01" }
		for _, c := range []struct {
			name, mech string
			answers    []string
			who, said  string
			kind       error
		}{
			{"bearer", OAuthBearer, []string{bearer("good")}, "ann@localhost", "", nil},
			{"bearer, asked first", OAuthBearer, []string{"<none>", bearer("good")}, "ann@localhost", "", nil},
			{"bearer without a name", OAuthBearer, []string{"n,,\x01auth=Bearer good\x01\x01"}, "ann@localhost", "", nil},
			{"bearer, refused", OAuthBearer, []string{bearer("bad"), "\x01"}, "", `{"status":"invalid_token"}`, users.ErrBadLogin},
			{"bearer, refused without details", OAuthBearer, []string{bearer("plain"), "\x01"}, "", `{"status":"invalid_token"}`, users.ErrBadLogin},
			{"bearer, scope", OAuthBearer, []string{bearer("narrow"), "\x01"}, "", `{"status":"insufficient_scope","scope":"mail imap","openid-configuration":"https://idp/x"}`, users.ErrBadLogin},
			{"bearer, a second try in one exchange", OAuthBearer, []string{bearer("bad"), bearer("good")}, "", `{"status":"invalid_token"}`, users.ErrBadLogin},
			{"bearer, as another", OAuthBearer, []string{"n,a=bob@localhost,\x01auth=Bearer good\x01\x01", "\x01"}, "", `{"status":"invalid_token"}`, users.ErrBadLogin},
			{"bearer, malformed", OAuthBearer, []string{"rubbish"}, "", "", sasl.ErrUnexpectedClientResponse},
			{"bearer, endless", OAuthBearer, []string{bearer(strings.Repeat("x", maxResponse))}, "", "", nil},
			{"xoauth2", XOAuth2, []string{x("good")}, "ann@localhost", "", nil},
			{"xoauth2, refused", XOAuth2, []string{x("narrow"), ""}, "", `{"status":"401","schemes":"bearer","scope":"mail imap"}`, users.ErrBadLogin},
		} {
			who, said, err := talk(t, g, c.mech, here, c.answers...)
			if who != c.who || (err == nil) != (c.who != "") || c.kind != nil && !errors.Is(err, c.kind) {
				t.Errorf("%s: %q, %v, want %q", c.name, who, err, c.who)
			}
			if c.said != "" && !slices.Contains(said, c.said) {
				t.Errorf("%s: the server said %q", c.name, said)
			}
		}
		store.down = errors.New("connection refused")
		if _, said, err := talk(t, g, OAuthBearer, here, bearer("good")); !errors.Is(err, users.ErrUnavailable) || len(said) != 1 || said[0] != "" {
			t.Errorf("while the provider is down: %q, %v", said, err)
		}
	})
}

// Refused tokens are counted and delayed like wrong passwords.
func TestBearerIsThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := tokenGate(t)
		for _, message := range []string{"n,,\x01auth=Bearer bad\x01\x01", "n,a=ann,\x01auth=Bearer bad\x01\x01"} {
			checked, start := 0, time.Now()
			client := Client{Addr: netip.AddrFrom4([4]byte{192, 0, 2, byte(len(message))})}
			for range 60 {
				_, _, err := talk(t, g, OAuthBearer, client, message, "\x01")
				if errors.Is(err, users.ErrBadLogin) {
					checked++
				} else if err != users.ErrThrottled {
					t.Fatal(err)
				}
			}
			if checked > 20 || time.Since(start) < 60*failAfter {
				t.Errorf("%q: %d of 60 tokens checked in %s", message, checked, time.Since(start))
			}
			if _, err := g.Check(t.Context(), client, "ann", "secret"); err != users.ErrThrottled {
				t.Errorf("a password after them: %v", err)
			}
		}
	})
}

func TestBearerOffer(t *testing.T) {
	g, store := tokenGate(t)
	_, state := tlsPair(t)
	secure := Client{Addr: here.Addr, TLS: &state}
	offered := func(c Client, cleartext bool) string { return strings.Join(g.Mechanisms(c, cleartext), " ") }
	for _, c := range []struct {
		client    Client
		cleartext bool
		off       bool
		want      string
	}{
		{here, false, false, "SCRAM-SHA-256"},
		{here, true, false, "SCRAM-SHA-256 PLAIN LOGIN OAUTHBEARER XOAUTH2"},
		{secure, false, false, "SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN OAUTHBEARER XOAUTH2"},
		{here, true, true, "SCRAM-SHA-256 PLAIN LOGIN"},
	} {
		store.off = c.off
		if got := offered(c.client, c.cleartext); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
	store.off = false
	for mech, want := range map[string]bool{Plain: true, Login: true, ScramPlus: true, OAuthBearer: true, XOAuth2: true, Scram: false, "GSSAPI": false} {
		if g.NeedsTLS(here, mech) != want {
			t.Errorf("%s without TLS", mech)
		}
		if g.NeedsTLS(secure, mech) {
			t.Errorf("%s over TLS", mech)
		}
	}
	store.off = true
	if g.NeedsTLS(here, XOAuth2) {
		t.Error("XOAUTH2 is not configured")
	}
	if _, err := g.Server(t.Context(), OAuthBearer, secure, true, nil); err != ErrMechanism {
		t.Error(err)
	}
	if plain := NewGate(store.Store, users.NewThrottle()); plain.tokens() != nil {
		t.Error("a store without tokens")
	}
}

// The cause of a refused token is logged, and nothing for other failures.
func TestCause(t *testing.T) {
	for err, want := range map[error]string{
		&users.TokenRefused{Cause: errors.New("expired")}: `{"cause":"access token refused: expired"}`,
		users.ErrBadLogin: `{}`,
	} {
		var out strings.Builder
		log := zerolog.New(&out)
		log.Log().Func(Cause(err)).Send()
		if got := strings.TrimSpace(out.String()); got != want {
			t.Errorf("%v: %s", err, got)
		}
	}
}

func FuzzBearer(f *testing.F) {
	f.Add("n,a=ann,\x01auth=Bearer abc\x01\x01")
	f.Add("user=ann\x01auth=Bearer abc\x01\x01")
	s, err := users.Open(filepath.Join(f.TempDir(), "users"), nil, zerolog.Nop())
	if err != nil {
		f.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // the client does not wait
	f.Fuzz(func(t *testing.T, message string) {
		for _, parse := range []func(string) (string, string, bool){parseBearer, parseXOAuth2} {
			if _, token, ok := parse(message); ok && (token == "" || strings.ContainsAny(token, "\x01\r\n ,")) {
				t.Errorf("%q: token %q", message, token)
			}
		}
		g := NewGate(&tokenStore{Store: s}, users.NewThrottle())
		srv, err := g.Server(ctx, OAuthBearer, here, true, func(*users.Account) {})
		if err != nil {
			t.Fatal(err)
		}
		if _, done, err := srv.Next([]byte(message)); !done && err == nil {
			if _, done, err := srv.Next([]byte("\x01")); !done || err == nil {
				t.Error("a refused exchange goes on")
			}
		}
	})
}

var _ sasl.Server = (*bearerServer)(nil)
