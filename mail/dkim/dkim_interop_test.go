//go:build interop

package dkim

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// dkimpy signs or verifies with python3-dkim. Its DNS is the JSON on the first
// line of stdin.
const dkimpy = `
import sys, json, dkim
arg = json.loads(sys.stdin.buffer.readline())
msg = sys.stdin.buffer.read()
def dns(name, timeout=5):
    return arg["dns"].get(name.decode().rstrip(".")).encode() if name.decode().rstrip(".") in arg["dns"] else None
if arg["do"] == "verify":
    print(dkim.verify(msg, dnsfunc=dns))
else:
    sys.stdout.buffer.write(dkim.sign(msg, arg["selector"].encode(), b"example.org", arg["key"].encode(),
        canonicalize=(arg["head"].encode(), arg["body"].encode()), signature_algorithm=arg["alg"].encode()))
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

func TestInteropOursVerifiedByPython(t *testing.T) {
	for sel, key := range map[string]crypto.Signer{"rsa": rsaKey, "ed": edKey} {
		signed := sign(t, testMail, Signer{Domain: "example.org", Selector: sel, Key: key, Expire: time.Hour})
		if out := python(t, map[string]any{"do": "verify", "dns": keyRecords()}, signed); strings.TrimSpace(out) != "True" {
			t.Errorf("%s: python says %s of\n%s", sel, out, signed)
		}
		broken := strings.Replace(signed, "Hello", "Hullo", 1)
		if out := python(t, map[string]any{"do": "verify", "dns": keyRecords()}, broken); strings.TrimSpace(out) != "False" {
			t.Errorf("%s: python says %s of a broken one", sel, out)
		}
	}
}

func TestInteropPythonVerifiedByUs(t *testing.T) {
	rsaPEM := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey)}))
	edSeed := base64.StdEncoding.EncodeToString(edKey.Seed())
	for _, head := range []string{"simple", "relaxed"} {
		for _, body := range []string{"simple", "relaxed"} {
			for _, k := range [][3]string{{"rsa", rsaPEM, "rsa-sha256"}, {"ed", edSeed, "ed25519-sha256"}} {
				field := python(t, map[string]any{"do": "sign", "dns": keyRecords(), "selector": k[0], "key": k[1], "alg": k[2], "head": head, "body": body}, testMail)
				if r := verify(t, field+testMail, keyRecords()); r[0].Value != "pass" {
					t.Errorf("%s %s/%s: %s (%s)\n%s", k[0], head, body, r[0].Value, r[0].Reason, field)
				}
			}
		}
	}
}
