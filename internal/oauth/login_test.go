package oauth

import (
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// An administrator enters the code while the command is waiting. The server
// then has a token.
func TestDeviceLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		polls := 0
		p := &fakeProvider{life: 3600, rotate: true}
		p.answer = func(form url.Values) (int, string) {
			switch {
			case form.Get("grant_type") == "":
				return 200, `{"device_code":"d3vice","user_code":"ABCD-EFGH","verification_uri":"https://login.example.net/enter","expires_in":900,"interval":5}`
			case form.Get("device_code") != "d3vice":
				return 400, `{"error":"invalid_grant"}`
			}
			if polls++; polls < 3 {
				return 400, `{"error":"authorization_pending"}`
			}
			return 0, ""
		}
		env := p.env(t)
		c := Config{ClientID: "app", TokenURL: "https://login.example.net/token", DeviceURL: "https://login.example.net/device", Scopes: []string{"smtp", "offline_access"}}
		shown := ""
		_, err := Login(t.Context(), c, env, Prompt{Code: func(page, code string, _ time.Time) { shown = page + " " + code }})
		if err != nil {
			t.Fatal(err)
		}
		if shown != "https://login.example.net/enter ABCD-EFGH" {
			t.Errorf("shown %q", shown)
		}
		s := source(t, c, env)
		want(t, s, "access-4")
		time.Sleep(2 * time.Hour)
		p.answer = nil
		want(t, s, "access-5")
		if got := p.forms[4].Get("refresh_token"); got != "refresh-4" {
			t.Errorf("refreshed with %q", got)
		}
	})
}

func TestDeviceLoginDenied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fakeProvider{answer: func(form url.Values) (int, string) {
			if form.Get("grant_type") == "" {
				return 200, `{"device_code":"d","user_code":"u","verification_uri":"https://x.example","expires_in":900,"interval":1}`
			}
			return 400, `{"error":"access_denied"}`
		}}
		c := Config{ClientID: "app", TokenURL: "https://x.example/token", DeviceURL: "https://x.example/device"}
		_, err := Login(t.Context(), c, p.env(t), Prompt{Code: func(string, string, time.Time) {}})
		if err == nil || !strings.Contains(err.Error(), "access_denied") {
			t.Errorf("error %v", err)
		}
	})
}

// The login page redirects to an address with a code, which is exchanged for a
// token using the same verifier that was sent to the page.
func TestPageLogin(t *testing.T) {
	c := Config{Preset: "gmail", ClientID: "app", ClientSecret: "s3cret"}
	for name, tc := range map[string]struct {
		address func(state string) string
		want    string
	}{
		"a code":        {func(state string) string { return " http://127.0.0.1/?state=" + state + "&code=c0de\n" }, ""},
		"another login": {func(string) string { return "http://127.0.0.1/?state=x&code=c0de" }, "another login"},
		"no code":       {func(state string) string { return "http://127.0.0.1/?state=" + state }, "no code"},
		"refused":       {func(state string) string { return "http://127.0.0.1/?error=access_denied&state=" + state }, "access_denied"},
		"no address":    {func(string) string { return "%zz" }, "not an address"},
	} {
		t.Run(name, func(t *testing.T) {
			p := &fakeProvider{life: 3600, rotate: true}
			env := p.env(t)
			_, err := Login(t.Context(), c, env, Prompt{Page: func(page string) (string, error) {
				u, err := url.Parse(page)
				if err != nil {
					return "", err
				}
				q := u.Query()
				if u.Host != "accounts.google.com" || q.Get("scope") != "https://mail.google.com/" || q.Get("access_type") != "offline" || q.Get("code_challenge_method") != "S256" {
					t.Errorf("page %s", page)
				}
				return tc.address(q.Get("state")), nil
			}})
			if tc.want != "" {
				if err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("error %v, want %q", err, tc.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if f := p.forms[0]; f.Get("code") != "c0de" || f.Get("code_verifier") == "" || f.Get("redirect_uri") != redirect {
				t.Errorf("form %v", f)
			}
			want(t, source(t, c, env), "access-1")
		})
	}
}

func TestLoginIsRefused(t *testing.T) {
	p := &fakeProvider{life: 3600} // without a refresh token
	c := Config{ClientID: "app", TokenURL: "https://x.example/token", LoginURL: "https://x.example/login"}
	_, err := Login(t.Context(), c, p.env(t), Prompt{Page: func(page string) (string, error) {
		u, err := url.Parse(page)
		return "http://127.0.0.1/?code=c&state=" + u.Query().Get("state"), err
	}})
	if err == nil || !strings.Contains(err.Error(), "no refresh token") {
		t.Errorf("error %v", err)
	}
	if _, err := Login(t.Context(), application(), p.env(t), Prompt{}); err == nil || !strings.Contains(err.Error(), "no login is needed") {
		t.Errorf("client credentials: %v", err)
	}
	if _, err := Login(t.Context(), Config{ClientID: "a", TokenURL: "https://x.example/token"}, p.env(t), Prompt{}); err == nil || !strings.Contains(err.Error(), "device_url") {
		t.Errorf("no address: %v", err)
	}
}
