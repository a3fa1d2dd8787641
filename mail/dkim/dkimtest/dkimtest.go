// Package dkimtest provides key records for tests of DKIM and ARC, and runs the
// Python library dkimpy on messages.
package dkimtest

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
)

// Record returns the key record of a public key.
func Record(pub crypto.PublicKey) string {
	if k, ok := pub.(ed25519.PublicKey); ok {
		return "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(k)
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		panic(err)
	}
	return "v=DKIM1; p=" + base64.StdEncoding.EncodeToString(der)
}

// script reads a Call, encoded as JSON, from the first line of its input,
// followed by a message.
const script = `
import sys, json, dkim
c = json.loads(sys.stdin.buffer.readline())
msg = sys.stdin.buffer.read()
def dns(name, timeout=5):
    n = name.decode().rstrip(".")
    return c["DNS"][n].encode() if n in c["DNS"] else None
key = c["Key"].encode()
if c["Do"] == "verify":
    print(dkim.verify(msg, dnsfunc=dns))
elif c["Do"] == "sign":
    sys.stdout.buffer.write(dkim.sign(msg, c["Selector"].encode(), c["Domain"].encode(), key,
        canonicalize=(c["Head"].encode(), c["Body"].encode()), signature_algorithm=c["Algorithm"].encode()))
elif c["Do"] == "validate":
    cv, res, reason = dkim.arc_verify(msg, dnsfunc=dns)
    print(cv.decode(), reason)
else:
    sys.stdout.buffer.write(b"".join(dkim.arc_sign(msg, c["Selector"].encode(), c["Domain"].encode(), key, c["Host"].encode())))
`

// Call describes a call to dkimpy.
type Call struct {
	Do                    string            // verify or sign (DKIM), validate or seal (ARC)
	DNS                   map[string]string // key records by name
	Domain, Selector, Key string            // for sign and seal; Key is PEM, or base64 of an Ed25519 seed
	Algorithm, Head, Body string            // for sign
	Host                  string            // the authserv-id, for seal
}

// Run calls dkimpy and returns its output: the new fields, or a verdict. It
// skips the test if dkimpy is not installed.
func (c Call) Run(t *testing.T, msg string) string {
	t.Helper()
	if err := exec.Command("/usr/bin/python3", "-c", "import dkim").Run(); err != nil {
		t.Skip("python3-dkim is not installed: make interop installs it")
	}
	line, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/usr/bin/python3", "-c", script)
	cmd.Stdin = strings.NewReader(string(line) + "\n" + msg)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("python: %v\n%s", err, errs.String())
	}
	return out.String()
}
