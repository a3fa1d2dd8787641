package oauth

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"hoplite/mail/safe"
)

// Prompt shows login instructions to an administrator.
type Prompt struct {
	// Code shows the page to open and the code to enter on it.
	Code func(page, code string, until time.Time)
	// Page shows the page to open and returns the address that the browser was
	// finally redirected to.
	Page func(page string) (address string, err error)
}

// redirect is the address to which a provider redirects the browser after the
// login. Nothing listens on it: the browser displays the address, which
// contains the code.
const redirect = "http://127.0.0.1/"

// Login obtains a refresh token. An administrator logs in as the user, with a
// device code if the provider issues them (RFC 8628), otherwise with an
// authorization code (RFC 6749, 4.1, with PKCE as in RFC 7636). The token is
// stored in the file that the running server reads.
func Login(ctx context.Context, c Config, env Env, show Prompt) (expires time.Time, err error) {
	if c.grant() != refreshToken {
		return time.Time{}, fmt.Errorf("no login is needed: the grant is %s", c.grant())
	}
	if env.HTTP == nil {
		env.HTTP = httpClient()
	}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, env.HTTP)
	app := client(&c)
	var got *oauth2.Token
	switch {
	case app.Endpoint.DeviceAuthURL != "":
		got, err = deviceLogin(ctx, app, show)
	case app.Endpoint.AuthURL != "":
		got, err = pageLogin(ctx, app, env.User, show)
	default:
		return time.Time{}, errors.New("set device_url or login_url: where to log in is unknown")
	}
	if err != nil {
		return time.Time{}, err
	}
	if got.RefreshToken == "" {
		return time.Time{}, errors.New("the provider issued no refresh token: does the application ask for offline access?")
	}
	t := newToken(got, "", time.Now())
	return t.Expires, newStore(&c, env).save(t)
}

func deviceLogin(ctx context.Context, app oauth2.Config, show Prompt) (*oauth2.Token, error) {
	device, err := app.DeviceAuth(ctx)
	if err != nil {
		return nil, describe(err, app.ClientSecret)
	}
	show.Code(device.VerificationURI, device.UserCode, device.Expiry)
	got, err := app.DeviceAccessToken(ctx, device)
	if err != nil {
		return nil, describe(err, app.ClientSecret)
	}
	return got, nil
}

func pageLogin(ctx context.Context, app oauth2.Config, user string, show Prompt) (*oauth2.Token, error) {
	app.RedirectURL = redirect
	state, verifier := rand.Text(), oauth2.GenerateVerifier()
	// Google issues another refresh token only with prompt=consent.
	address, err := show.Page(app.AuthCodeURL(state, oauth2.AccessTypeOffline, oauth2.SetAuthURLParam("prompt", "consent"),
		oauth2.SetAuthURLParam("login_hint", user), oauth2.S256ChallengeOption(verifier)))
	if err != nil {
		return nil, err
	}
	code, err := codeOf(address, state)
	if err != nil {
		return nil, err
	}
	got, err := app.Exchange(ctx, code, oauth2.VerifierOption(verifier))
	if err != nil {
		return nil, describe(err, app.ClientSecret)
	}
	return got, nil
}

// codeOf returns the code in the address to which a browser was redirected.
func codeOf(address, state string) (string, error) {
	u, err := url.Parse(strings.TrimSpace(address))
	if err != nil {
		return "", errors.New("this is not an address")
	}
	q := u.Query()
	switch {
	case q.Get("error") != "":
		return "", fmt.Errorf("the provider refused: %s", safe.Line(q.Get("error")))
	case q.Get("code") == "":
		return "", errors.New("the address has no code: copy it from the browser after the login")
	case q.Get("state") != state:
		return "", errors.New("the address belongs to another login")
	}
	return q.Get("code"), nil
}
