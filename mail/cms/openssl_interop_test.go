//go:build interop

package cms

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// openssl runs the openssl command; ok reports whether it succeeded.
func openssl(t *testing.T, args ...string) (out []byte, ok bool) {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not installed: apt-get install openssl")
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.Command("openssl", args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if err != nil {
		t.Logf("openssl %v: %s", args, stderr.Bytes())
	}
	return stdout.Bytes(), err == nil
}

func must(t *testing.T, args ...string) {
	t.Helper()
	if _, ok := openssl(t, args...); !ok {
		t.Fatalf("openssl %v", args)
	}
}

// TestInteropOpenSSL checks that our verdict agrees with OpenSSL's for all key
// types and digests, detached and opaque, DER and streamed BER, with the
// content unchanged and changed. This package is stricter only about SHA-1, MD5
// and DSA.
func TestInteropOpenSSL(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	keys := map[string][]string{
		"rsa2048": {"-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"},
		"rsa3072": {"-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072"},
		"pss":     {"-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048"},
		"p256":    {"-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"},
		"p384":    {"-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"},
		"p521":    {"-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"},
	}
	body := []byte("Content-Type: text/plain\r\n\r\nHello \r\n.\r\n")
	for name, b := range map[string][]byte{"body": body, "other": append([]byte("X"), body...)} {
		if err := os.WriteFile(in(name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, args := range keys {
		must(t, append([]string{"genpkey", "-out", in(name + ".key")}, args...)...)
		must(t, "req", "-new", "-x509", "-key", in(name+".key"), "-out", in(name+".crt"), "-subj", "/CN="+name, "-days", "30")
	}
	tried := 0
	for name := range keys {
		for _, md := range []string{"md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sha3-256", "sha3-512"} {
			for _, mode := range [][]string{{}, {"-nodetach"}, {"-nodetach", "-stream"}, {"-stream"}, {"-keyid"}, {"-noattr"}, {"-nodetach", "-cades"}, {"-pss"}} {
				args := []string{"cms", "-sign", "-binary", "-in", in("body"), "-signer", in(name + ".crt"), "-inkey", in(name + ".key"),
					"-md", md, "-outform", "DER", "-out", in("msg")}
				for _, m := range mode {
					if m == "-pss" {
						m = "-keyopt"
						args = append(args, m, "rsa_padding_mode:pss")
						continue
					}
					args = append(args, m)
				}
				if len(mode) == 1 && mode[0] == "-pss" && name[0] == 'p' {
					continue
				}
				if _, ok := openssl(t, args...); !ok {
					continue // OpenSSL does not support every combination
				}
				tried++
				differ(t, dir, fmt.Sprint(name, " ", md, " ", mode), md, body)
			}
		}
	}
	if tried < 200 {
		t.Errorf("only %d combinations were made", tried)
	}
	t.Logf("%d combinations", tried)
}

// differ compares the two verdicts on a message with its own content, and with
// changed content.
func differ(t *testing.T, dir, label, md string, body []byte) {
	t.Helper()
	msg, err := os.ReadFile(filepath.Join(dir, "msg"))
	if err != nil {
		t.Fatal(err)
	}
	detached := false
	if obj, err := Read(bytes.NewReader(msg), Options{}); err != nil {
		t.Errorf("%s: %v", label, err)
		return
	} else {
		detached = obj.Signed.Detached
	}
	files := map[string][]byte{"": nil}
	if detached {
		files = map[string][]byte{"body": body, "other": append([]byte("X"), body...)}
	}
	for file, content := range files {
		args := []string{"cms", "-verify", "-binary", "-inform", "DER", "-in", filepath.Join(dir, "msg"), "-noverify"}
		if file != "" {
			args = append(args, "-content", filepath.Join(dir, file))
		}
		_, theirs := openssl(t, args...)
		obj, err := Read(bytes.NewReader(msg), Options{})
		if err != nil {
			t.Fatal(err)
		}
		var v Verdict
		if detached {
			v, err = obj.Signed.Verify(bytes.NewReader(content))
		} else {
			v, err = obj.Signed.Verify(nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		want := Bad
		switch {
		case theirs && (md == "sha1" || md == "md5"):
			want = Weak
		case theirs:
			want = Good
		}
		if v != want {
			t.Errorf("%s %s: %s (%s), OpenSSL says %v", label, file, v, obj.Signed.Signers[0].Reason, theirs)
		}
	}
}

// TestInteropOpenSSLEncrypted checks that messages encrypted by OpenSSL are
// classified and their recipients listed.
func TestInteropOpenSSLEncrypted(t *testing.T) {
	dir := t.TempDir()
	body, err := filepath.Abs("testdata/generated/body")
	if err != nil {
		t.Fatal(err)
	}
	cert := func(name string) string { return filepath.Join(filepath.Dir(body), name) }
	for _, c := range []struct {
		name  string
		args  []string
		want  Type
		count int
		alg   string
	}{
		{"two recipients", []string{"-aes256", cert("rsa.crt"), cert("p256.crt")}, TypeEnveloped, 2, "AES-256-CBC"},
		{"streamed", []string{"-stream", "-aes128", cert("rsa.crt")}, TypeEnveloped, 1, "AES-128-CBC"},
		{"GCM", []string{"-aes-256-gcm", cert("rsa.crt")}, TypeAuthEnveloped, 1, "AES-256-GCM"},
		{"password", []string{"-aes256", "-pwri_password", "secret"}, TypeEnveloped, 1, "AES-256-CBC"},
		{"OAEP", []string{"-aes256", "-recip", cert("rsa.crt"), "-keyopt", "rsa_padding_mode:oaep"}, TypeEnveloped, 1, "AES-256-CBC"},
	} {
		out := filepath.Join(dir, "msg")
		must(t, append([]string{"cms", "-encrypt", "-in", body, "-outform", "DER", "-out", out}, c.args...)...)
		msg, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		obj, err := Read(bytes.NewReader(msg), Options{})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if obj.Type != c.want || obj.Encrypted.Count != c.count || obj.Encrypted.Algorithm != c.alg {
			t.Errorf("%s: %s, %+v", c.name, obj.Type, obj.Encrypted)
		}
	}
}
