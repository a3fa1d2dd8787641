//go:build interop

package arc

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"os/exec"
	"strings"
	"testing"

	"hoplite/internal/resolve/resolvetest"
)

// dkimpy seals or validates with python3-dkim.
const dkimpy = `
import sys, json, dkim
arg = json.loads(sys.stdin.buffer.readline())
msg = sys.stdin.buffer.read()
def dns(name, timeout=5):
    n = name.decode().rstrip(".")
    return arg["dns"][n].encode() if n in arg["dns"] else None
if arg["do"] == "verify":
    cv, res, reason = dkim.arc_verify(msg, dnsfunc=dns)
    print(cv.decode(), reason)
else:
    out = dkim.arc_sign(msg, b"s", arg["domain"].encode(), arg["key"].encode(), b"mx.py.example")
    sys.stdout.buffer.write(b"".join(out))
`

func python(t *testing.T, arg map[string]any, msg string) string {
	t.Helper()
	if err := exec.Command("/usr/bin/python3", "-c", "import dkim").Run(); err != nil {
		t.Skip("python3-dkim is not installed: make interop installs it")
	}
	line, err := json.Marshal(arg)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/usr/bin/python3", "-c", dkimpy)
	cmd.Stdin = strings.NewReader(string(line) + "\n" + msg)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("python: %v\n%s", err, errs.String())
	}
	return out.String()
}

// python3-dkim seals only with RSA, so the whole chain uses RSA.
func TestInteropARC(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(rsaKey.Public())
	if err != nil {
		t.Fatal(err)
	}
	record := "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der)
	dns := map[string]string{"s._domainkey.one.example": record, "s._domainkey.py.example": record, "s._domainkey.three.example": record}
	var zone strings.Builder
	for name, txt := range dns {
		zone.WriteString(name + " TXT \"" + txt + "\"\n")
	}
	z := resolvetest.MustZone(zone.String())
	sealKey = rsaKey
	defer func() { sealKey = key }()

	text := server(t, "one.example", plain, z, dmarcPass)
	if out := python(t, map[string]any{"do": "verify", "dns": dns}, text); !strings.HasPrefix(out, "pass") {
		t.Fatalf("our seal, says python: %s\n%s", out, text)
	}
	// python3-dkim seals Authentication-Results that carry its own name.
	text = "Authentication-Results: mx.py.example; arc=pass; spf=pass smtp.mailfrom=x@one.example\r\n" + text
	pem := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey)}))
	text = python(t, map[string]any{"do": "sign", "dns": dns, "domain": "py.example", "key": pem}, text) + text
	c := validate(t, text, z)
	if c.CV != "pass" || len(c.Sets) != 2 {
		t.Fatalf("python's seal, say we: %s (%s)\n%s", c.CV, c.Reason, text)
	}
	text = server(t, "three.example", text, z)
	if out := python(t, map[string]any{"do": "verify", "dns": dns}, text); !strings.HasPrefix(out, "pass") {
		t.Fatalf("three seals, says python: %s\n%s", out, text)
	}
	if out := python(t, map[string]any{"do": "verify", "dns": dns}, strings.Replace(text, "Hello", "Hullo", 1)); strings.HasPrefix(out, "pass") {
		t.Error("python finds nothing wrong with a changed body")
	}
}
