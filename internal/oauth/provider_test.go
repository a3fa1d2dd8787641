package oauth

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// fakeProvider is a token service without a network. It answers each form with
// the result of answer, or with a new token.
type fakeProvider struct {
	mu     sync.Mutex
	forms  []url.Values
	life   int  // token lifetime in seconds; 0 omits expires_in
	down   bool // connections fail
	rotate bool // each reply has a new refresh token
	answer func(form url.Values) (status int, body string)
}

func (p *fakeProvider) RoundTrip(r *http.Request) (*http.Response, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return nil, errors.New("dial tcp 192.0.2.1:443: connection refused")
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(b))
	if err != nil {
		return nil, err
	}
	p.forms = append(p.forms, form)
	status, body := 0, ""
	if p.answer != nil {
		status, body = p.answer(form)
	}
	if status == 0 {
		status, body = 200, p.token()
	}
	return &http.Response{
		StatusCode: status, Status: fmt.Sprint(status, " ", http.StatusText(status)), Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(body)), Request: r,
	}, nil
}

func (p *fakeProvider) token() string {
	reply := map[string]any{"access_token": fmt.Sprintf("access-%d", len(p.forms)), "token_type": "Bearer"}
	if p.life > 0 {
		reply["expires_in"] = p.life
	}
	if p.rotate {
		reply["refresh_token"] = fmt.Sprintf("refresh-%d", len(p.forms))
	}
	b, _ := json.Marshal(reply)
	return string(b)
}

func (p *fakeProvider) asked() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.forms)
}

func (p *fakeProvider) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

func (p *fakeProvider) env(t *testing.T) Env {
	t.Helper()
	data := t.TempDir()
	if err := os.Mkdir(filepath.Join(data, "state"), 0o700); err != nil {
		t.Fatal(err)
	}
	return Env{Name: "up", User: "relay@example.org", Data: data, Log: zerolog.Nop(), HTTP: &http.Client{Transport: p}}
}

func application() Config {
	return Config{ClientID: "app", ClientSecret: "s3cret", TokenURL: "https://login.example.net/token", Scopes: []string{"smtp"}}
}

func source(t *testing.T, c Config, env Env) *Source {
	t.Helper()
	s, err := NewSource(c, env)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func want(t *testing.T, s *Source, token string) {
	t.Helper()
	got, err := s.Token(t.Context())
	if err != nil || got != token {
		t.Errorf("token %q, %v, want %q", got, err, token)
	}
}

// rsaKey is generated only once.
var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

func keyPEM(t *testing.T) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(rsaKey())
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// writePair writes a certificate and its key, and returns the certificate.
func writePair(t *testing.T, path string) []byte {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "app"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, rsaKey().Public(), rsaKey())
	if err != nil {
		t.Fatal(err)
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), keyPEM(t)...)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return der
}

// verifyJWT checks the signature of an assertion and returns its parts.
func verifyJWT(t *testing.T, assertion string) (head, claims map[string]any) {
	t.Helper()
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 {
		t.Fatalf("not a JWT: %q", assertion)
	}
	decode := func(s string, into any) []byte {
		b, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		if into != nil {
			if err := json.Unmarshal(b, into); err != nil {
				t.Fatal(err)
			}
		}
		return b
	}
	decode(parts[0], &head)
	decode(parts[1], &claims)
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(&rsaKey().PublicKey, crypto.SHA256, digest[:], decode(parts[2], nil)); err != nil {
		t.Error(err)
	}
	return head, claims
}
