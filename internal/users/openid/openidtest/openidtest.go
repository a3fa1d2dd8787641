// Package openidtest is an OpenID Connect provider for tests. It publishes its
// configuration and keys, and signs tokens with any claims.
package openidtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Audience is the audience of tokens unless a test changes it.
const Audience = "mail.example.org"

// Key is a signing key.
type Key struct {
	ID        string
	Algorithm jose.SignatureAlgorithm
	Private   any
}

// NewKey returns an ECDSA key.
func NewKey(t testing.TB, id string) Key {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return Key{id, jose.ES256, k}
}

// Provider is a running provider.
type Provider struct {
	*httptest.Server
	t testing.TB

	mu     sync.Mutex
	keys   []Key
	answer func(path string) (status int, body string)
	asked  int
}

// Start starts a provider with one key. It has a certificate if secure is true.
func Start(t testing.TB, secure bool) *Provider {
	p := &Provider{t: t, keys: []Key{NewKey(t, "first")}}
	p.Server = httptest.NewUnstartedServer(p)
	if secure {
		p.StartTLS()
	} else {
		p.Server.Start()
	}
	t.Cleanup(p.Close)
	return p
}

// Rotate replaces the published keys. Token uses the first one.
func (p *Provider) Rotate(keys ...Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = keys
}

// Key returns the current key.
func (p *Provider) Key() Key {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.keys[0]
}

// Answer replaces the answers to all requests. With nil, the provider answers
// normally again.
func (p *Provider) Answer(f func(path string) (status int, body string)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = f
}

// Asked returns how often the keys have been fetched.
func (p *Provider) Asked() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}

// ServeHTTP answers requests.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if p.answer != nil {
		status, body := p.answer(r.URL.Path)
		w.WriteHeader(status)
		fmt.Fprint(w, body)
		return
	}
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":"%s/keys","authorization_endpoint":"%s/login"}`, p.URL, p.URL, p.URL)
	case "/keys":
		p.asked++
		var set jose.JSONWebKeySet
		for _, k := range p.keys {
			set.Keys = append(set.Keys, jose.JSONWebKey{KeyID: k.ID, Use: "sig", Key: k.Private.(crypto.Signer).Public()})
		}
		json.NewEncoder(w).Encode(set)
	default:
		http.NotFound(w, r)
	}
}

// Claims returns the claims of a valid token for ann@example.org, changed by
// more. A nil value removes a claim.
func (p *Provider) Claims(more map[string]any) map[string]any {
	now := time.Now().Unix()
	c := map[string]any{
		"iss": p.URL, "aud": Audience, "sub": "4711", "iat": now, "nbf": now, "exp": now + 300,
		"email": "ann@example.org", "email_verified": true, "scope": "openid mail",
	}
	maps.Copy(c, more)
	for name, value := range c {
		if value == nil {
			delete(c, name)
		}
	}
	return c
}

// Token returns a token signed with the current key.
func (p *Provider) Token(more map[string]any) string { return Sign(p.t, p.Key(), p.Claims(more)) }

// Sign signs claims with a key.
func Sign(t testing.TB, key Key, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: key.Algorithm, Key: key.Private}, (&jose.SignerOptions{}).WithType("at+jwt").WithHeader("kid", key.ID))
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(text)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// Unsigned returns a token with the algorithm "none".
func Unsigned(t testing.TB, claims map[string]any) string {
	t.Helper()
	text, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"none"}`)) + "." + encode(text) + "."
}
