//go:build interop

package dkim

import (
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"hoplite/mail/dkim/dkimtest"
)

func TestInteropOursVerifiedByPython(t *testing.T) {
	for sel, key := range map[string]crypto.Signer{"rsa": rsaKey, "ed": edKey} {
		signed := sign(t, testMail, Signer{Domain: "example.org", Selector: sel, Key: key, Expire: time.Hour})
		if out := (dkimtest.Call{Do: "verify", DNS: keyRecords()}).Run(t, signed); strings.TrimSpace(out) != "True" {
			t.Errorf("%s: python says %s of\n%s", sel, out, signed)
		}
		broken := strings.Replace(signed, "Hello", "Hullo", 1)
		if out := (dkimtest.Call{Do: "verify", DNS: keyRecords()}).Run(t, broken); strings.TrimSpace(out) != "False" {
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
				field := dkimtest.Call{Do: "sign", DNS: keyRecords(), Domain: "example.org", Selector: k[0], Key: k[1], Algorithm: k[2], Head: head, Body: body}.Run(t, testMail)
				if r := verify(t, field+testMail, keyRecords()); r[0].Value != "pass" {
					t.Errorf("%s %s/%s: %s (%s)\n%s", k[0], head, body, r[0].Value, r[0].Reason, field)
				}
			}
		}
	}
}
