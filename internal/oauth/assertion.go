package oauth

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"time"
)

// signingKey is the key of an application's certificate.
type signingKey struct {
	key         *rsa.PrivateKey
	certificate []byte // DER
}

// assertionLife is the lifetime of an assertion. It is used immediately; a few
// minutes allow for clock differences.
const assertionLife = 10 * time.Minute

// assertion returns a signed JWT with which a client authenticates to audience
// (RFC 7523, 3).
func (k *signingKey) assertion(clientID, audience string) (string, error) {
	old, thumb := sha1.Sum(k.certificate), sha256.Sum256(k.certificate)
	now := time.Now()
	head, err := json.Marshal(map[string]string{
		"alg": "RS256", "typ": "JWT", "x5t": encode(old[:]), "x5t#S256": encode(thumb[:]),
	})
	if err != nil {
		return "", err
	}
	claims, err := json.Marshal(map[string]any{
		"aud": audience, "iss": clientID, "sub": clientID, "jti": rand.Text(),
		"nbf": now.Add(-time.Minute).Unix(), "iat": now.Unix(), "exp": now.Add(assertionLife).Unix(),
	})
	if err != nil {
		return "", err
	}
	text := encode(head) + "." + encode(claims)
	digest := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, k.key, crypto.SHA256, digest[:])
	if err != nil {
		return "", err
	}
	return text + "." + encode(signature), nil
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
