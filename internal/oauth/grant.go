package oauth

import (
	"context"
	"crypto/rsa"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
	"golang.org/x/oauth2/jwt"
)

// granter requests a token from the provider. refresh is the known refresh
// token, if any.
type granter interface {
	grant(ctx context.Context, refresh string) (*oauth2.Token, error)
}

// newGranter returns the granter for a user's configuration, after reading the
// key file that it names.
func newGranter(c *Config, user, data string) (granter, error) {
	switch c.grant() {
	case serviceAccount:
		return readServiceAccount(under(data, c.ServiceAccount), user, c)
	case refreshToken:
		return &refresher{client(c)}, nil
	}
	if c.Certificate == "" {
		return secretGranter{clientcredentials.Config{
			ClientID: c.ClientID, ClientSecret: string(c.ClientSecret), TokenURL: c.endpoint().TokenURL,
			Scopes: c.scopes(), AuthStyle: c.endpoint().AuthStyle,
		}}, nil
	}
	key, err := readCertificate(under(data, c.Certificate))
	if err != nil {
		return nil, err
	}
	return &certificateGranter{config: c, key: key}, nil
}

func under(data, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(data, path)
}

// client converts the configuration to the library's form.
func client(c *Config) oauth2.Config {
	return oauth2.Config{ClientID: c.ClientID, ClientSecret: string(c.ClientSecret), Endpoint: c.endpoint(), Scopes: c.scopes()}
}

// secretGranter uses client credentials with a secret.
type secretGranter struct{ clientcredentials.Config }

func (g secretGranter) grant(ctx context.Context, _ string) (*oauth2.Token, error) {
	return g.Token(ctx)
}

// certificateGranter uses client credentials with an assertion signed by the
// key of a certificate (RFC 7523, 2.2).
type certificateGranter struct {
	config *Config
	key    *signingKey
}

func (g *certificateGranter) grant(ctx context.Context, _ string) (*oauth2.Token, error) {
	endpoint := g.config.endpoint()
	assertion, err := g.key.assertion(g.config.ClientID, endpoint.TokenURL)
	if err != nil {
		return nil, err
	}
	c := clientcredentials.Config{
		ClientID: g.config.ClientID, TokenURL: endpoint.TokenURL, Scopes: g.config.scopes(), AuthStyle: oauth2.AuthStyleInParams,
		EndpointParams: map[string][]string{
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
			"client_assertion":      {assertion},
		},
	}
	return c.Token(ctx)
}

// errNoLogin means that there is no refresh token.
var errNoLogin = errors.New("no login yet: run hoplite oauth login")

// refresher uses a refresh token.
type refresher struct{ oauth2.Config }

func (g *refresher) grant(ctx context.Context, refresh string) (*oauth2.Token, error) {
	if refresh == "" {
		return nil, errNoLogin
	}
	return g.TokenSource(ctx, &oauth2.Token{RefreshToken: refresh}).Token()
}

// serviceGranter acts as a user with the key of a Google service account.
type serviceGranter struct{ jwt.Config }

func (g *serviceGranter) grant(ctx context.Context, _ string) (*oauth2.Token, error) {
	return g.TokenSource(ctx).Token()
}

func readServiceAccount(path, user string, c *Config) (granter, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("service account: %w", err)
	}
	var key struct {
		Type  string `json:"type"`
		Email string `json:"client_email"`
		ID    string `json:"private_key_id"`
		Key   string `json:"private_key"`
		Token string `json:"token_uri"`
	}
	if json.Unmarshal(text, &key) != nil || key.Type != "service_account" || key.Email == "" || key.Key == "" {
		return nil, fmt.Errorf("service account %s: not the JSON key file of a service account", path)
	}
	if c.TokenURL != "" {
		key.Token = c.TokenURL
	}
	if err := checkURL(key.Token); err != nil || key.Token == "" {
		return nil, fmt.Errorf("service account %s: token_uri is not an https address", path)
	}
	scopes := c.scopes()
	if len(scopes) == 0 {
		scopes = providers["gmail"].delegated
	}
	return &serviceGranter{jwt.Config{
		Email: key.Email, PrivateKey: []byte(key.Key), PrivateKeyID: key.ID, Subject: user, Scopes: scopes, TokenURL: key.Token,
	}}, nil
}

// readCertificate reads a PEM file with a certificate and its RSA key.
func readCertificate(path string) (*signingKey, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("certificate of the application: %w", err)
	}
	pair, err := tls.X509KeyPair(text, text)
	if err != nil {
		return nil, fmt.Errorf("certificate of the application %s: %w", path, err)
	}
	key, ok := pair.PrivateKey.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("certificate of the application %s: the key is not RSA, which providers require", path)
	}
	return &signingKey{key: key, certificate: pair.Certificate[0]}, nil
}
