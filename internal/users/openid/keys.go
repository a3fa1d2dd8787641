package openid

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

// algorithms are the signature algorithms accepted. All of them are asymmetric:
// with HMAC, a token could be signed with the public key.
var algorithms = []string{
	oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.EdDSA,
}

// errUnknownKey means that no key of the set verifies the signature.
var errUnknownKey = errors.New("not signed with a key of the provider")

// keySet holds public keys for signatures.
type keySet []jose.JSONWebKey

// parseKeys reads a JSON Web Key Set (RFC 7517). Keys of other kinds are
// ignored.
func parseKeys(text []byte) (keySet, error) {
	var raw struct{ Keys []json.RawMessage }
	if err := json.Unmarshal(text, &raw); err != nil {
		return nil, errors.New("the key set is not JSON")
	}
	var set keySet
	for _, one := range raw.Keys {
		var key jose.JSONWebKey
		if json.Unmarshal(one, &key) == nil && key.IsPublic() && (key.Use == "" || key.Use == "sig") {
			set = append(set, key)
		}
	}
	if len(set) == 0 {
		return nil, errors.New("the key set has no public key for signatures")
	}
	return set, nil
}

// check verifies a token's signature, and returns its claims.
func (s keySet) check(ctx context.Context, issuer, token string) (claims, error) {
	try := &attempt{keys: s}
	// Times and audience are checked by judge.
	v := oidc.NewVerifier(issuer, try, &oidc.Config{SkipClientIDCheck: true, SkipExpiryCheck: true, SupportedSigningAlgs: algorithms})
	verified, err := v.Verify(ctx, token)
	if try.unknown {
		return nil, errUnknownKey
	}
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "oidc: "))
	}
	var c claims
	if err := verified.Claims(&c); err != nil {
		return nil, errors.New("the claims are not a JSON object")
	}
	return c, nil
}

// attempt is the verification of one signature. It implements oidc.KeySet.
type attempt struct {
	keys    keySet
	unknown bool
}

// VerifySignature returns the payload of a token.
func (a *attempt) VerifySignature(_ context.Context, token string) ([]byte, error) {
	allowed := make([]jose.SignatureAlgorithm, len(algorithms))
	for i, name := range algorithms {
		allowed[i] = jose.SignatureAlgorithm(name)
	}
	signed, err := jose.ParseSignedCompact(token, allowed)
	if err != nil {
		return nil, err
	}
	id := signed.Signatures[0].Header.KeyID
	for i := range a.keys {
		if key := &a.keys[i]; id == "" || id == key.KeyID {
			if payload, err := signed.Verify(key); err == nil {
				return payload, nil
			}
		}
	}
	a.unknown = true
	return nil, errUnknownKey
}

// issuerOf returns the issuer that a token names, without verifying it.
func issuerOf(token string) string {
	_, rest, _ := strings.Cut(token, ".")
	payload, _, _ := strings.Cut(rest, ".")
	text, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return ""
	}
	var c struct {
		Issuer string `json:"iss"`
	}
	if json.Unmarshal(text, &c) != nil {
		return ""
	}
	return c.Issuer
}
