//go:build interop

package arc

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"

	"hoplite/internal/resolve/resolvetest"
	"hoplite/mail/dkim/dkimtest"
)

// python3-dkim seals only with RSA, so the whole chain uses RSA.
func TestInteropARC(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	record := dkimtest.Record(rsaKey.Public())
	dns := map[string]string{"s._domainkey.one.example": record, "s._domainkey.py.example": record, "s._domainkey.three.example": record}
	var zone strings.Builder
	for name, txt := range dns {
		zone.WriteString(name + " TXT \"" + txt + "\"\n")
	}
	z := resolvetest.MustZone(zone.String())
	sealKey = rsaKey
	defer func() { sealKey = key }()

	text := server(t, "one.example", plain, z, dmarcPass)
	if out := (dkimtest.Call{Do: "validate", DNS: dns}).Run(t, text); !strings.HasPrefix(out, "pass") {
		t.Fatalf("our seal, says python: %s\n%s", out, text)
	}
	// python3-dkim seals only Authentication-Results that carry its own
	// authserv-id.
	text = "Authentication-Results: mx.py.example; arc=pass; spf=pass smtp.mailfrom=x@one.example\r\n" + text
	pem := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey)}))
	text = dkimtest.Call{Do: "seal", DNS: dns, Domain: "py.example", Selector: "s", Key: pem, Host: "mx.py.example"}.Run(t, text) + text
	c := validate(t, text, z)
	if c.CV != "pass" || len(c.Sets) != 2 {
		t.Fatalf("python's seal, say we: %s (%s)\n%s", c.CV, c.Reason, text)
	}
	text = server(t, "three.example", text, z)
	if out := (dkimtest.Call{Do: "validate", DNS: dns}).Run(t, text); !strings.HasPrefix(out, "pass") {
		t.Fatalf("three seals, says python: %s\n%s", out, text)
	}
	if out := (dkimtest.Call{Do: "validate", DNS: dns}).Run(t, strings.Replace(text, "Hello", "Hullo", 1)); strings.HasPrefix(out, "pass") {
		t.Error("python finds nothing wrong with a changed body")
	}
}
