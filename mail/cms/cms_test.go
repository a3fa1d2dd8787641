package cms

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"hoplite/internal/sampletest"
)

func corpus(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func certFile(t testing.TB, name string) *Certificate {
	t.Helper()
	b := corpus(t, name)
	if p, _ := pem.Decode(b); p != nil {
		b = p.Bytes
	}
	c, err := ParseCertificate(b)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// verdicts reads an object and returns the verdicts on its signers.
func verdicts(t *testing.T, b, content []byte, more ...*Certificate) string {
	t.Helper()
	obj, err := Read(bytes.NewReader(b), Options{})
	if err != nil {
		return "error"
	}
	if obj.Signed == nil || obj.Type == TypeCertsOnly {
		return string(obj.Type)
	}
	var r io.Reader
	if content != nil {
		r = bytes.NewReader(content)
	}
	if _, err := obj.Signed.Verify(r, more...); err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, s := range obj.Signed.Signers {
		out = append(out, s.Verdict.String()+" "+s.Algorithm+" "+s.Digest+"|"+s.Reason)
	}
	return strings.Join(out, "; ")
}

func TestCorpus(t *testing.T) {
	body := corpus(t, "generated/body")
	ex := corpus(t, "rfc4134/ExContent.bin")
	for _, c := range []struct {
		file    string
		content []byte
		want    string // substring of the verdicts
	}{
		{"rfc4134/3.1.bin", nil, "data"},
		{"rfc4134/4.1.bin", nil, "unsupported DSA SHA-1"},
		{"rfc4134/4.2.bin", nil, "weak RSA 1024 SHA-1"},
		{"rfc4134/4.3.bin", ex, "unsupported DSA SHA-1"},
		{"rfc4134/4.4.bin", nil, "unsupported DSA SHA-1"},
		{"rfc4134/4.5.bin", nil, "weak RSA 1024 SHA-1"},
		{"rfc4134/4.6.bin", nil, "unsupported DSA SHA-1|signature algorithm DSA is not supported; unsupported DSA SHA-1"},
		{"rfc4134/4.7.bin", nil, "unsupported DSA SHA-1"},
		{"rfc4134/4.10.bin", nil, "unsupported DSA SHA-1"},
		{"rfc4134/4.11.bin", nil, "certs-only"},
		{"rfc4134/5.1.bin", nil, "enveloped-data"},
		{"rfc4134/5.2.bin", nil, "enveloped-data"},
		{"rfc4134/6.0.bin", nil, "digested-data"},
		{"rfc4134/7.1.bin", nil, "encrypted-data"},
		{"rfc4134/7.2.bin", nil, "encrypted-data"},

		{"generated/s_rsa_sha224_det.der", body, "good RSA 2048 SHA-224|"},
		{"generated/s_rsa_sha256_det.der", body, "good RSA 2048 SHA-256|"},
		{"generated/s_rsa_sha384_det.der", body, "good RSA 2048 SHA-384|"},
		{"generated/s_rsa_sha512_det.der", body, "good RSA 2048 SHA-512|"},
		{"generated/s_rsa_sha3_det.der", body, "good RSA 2048 SHA3-256|"},
		{"generated/s_rsapss_sha256_det.der", body, "good RSA-PSS 2048 SHA-256|"},
		{"generated/s_rsapss_sha384_det.der", body, "good RSA-PSS 2048 SHA-384|"},
		{"generated/s_rsapss_sha512_det.der", body, "good RSA-PSS 2048 SHA-512|"},
		{"generated/s_psskey_det.der", body, "good RSA-PSS 2048 SHA-256|"},
		{"generated/s_p256_sha256_det.der", body, "good ECDSA P-256 SHA-256|"},
		{"generated/s_p384_sha384_det.der", body, "good ECDSA P-384 SHA-384|"},
		{"generated/s_p521_sha512_det.der", body, "good ECDSA P-521 SHA-512|"},
		{"generated/s_rsa_sha256_opq.der", nil, "good RSA 2048 SHA-256|"},
		{"generated/s_rsa_ber_stream_opq.der", nil, "good RSA 2048 SHA-256|"},
		{"generated/s_rsa_ski_det.der", body, "good RSA 2048 SHA-256|"},
		{"generated/s_rsa_cades_det.der", body, "good RSA 2048 SHA-256|"},
		{"generated/s_two_signers_det.der", body, "good ECDSA P-256 SHA-256|; good RSA 2048 SHA-256|"},
		{"generated/s_rsa_noattr_det.der", body, "good RSA 2048 SHA-256|"},
		{"generated/s_dsa_det.der", body, "unsupported DSA SHA-256"},
		{"generated/s_rsa_sha1_det.der", body, "weak RSA 2048 SHA-1"},
		{"generated/s_rsa_md5_det.der", body, "weak RSA 2048 MD5"},
		{"generated/s_rsa_nocerts_det.der", body, "unknown RSA SHA-256|the signer's certificate is missing"},
		{"generated/s_certsonly.der", nil, "certs-only"},
		{"generated/x_attr_confusion_opq.der", nil, "bad RSA 2048 SHA-256|forgery: the content is the signed attributes of another message"},
		{"generated/s_rsa_sha256_det.der", nil, "unknown RSA 2048 SHA-256|detached"},
		{"generated/s_rsa_sha256_det.der", body[:len(body)-1], "bad RSA 2048 SHA-256|the content is not"},
		{"generated/s_rsa_noattr_det.der", body[:len(body)-1], "bad RSA 2048 SHA-256|the signature is invalid"},
		{"generated/s_rsa_sha256_opq.der", body, "bad RSA 2048 SHA-256|there is content both inside"},

		{"generated/e_ecdh_p256.der", nil, "enveloped-data"},
		{"generated/e_pwri.der", nil, "enveloped-data"},
		{"generated/e_rsa_3des.der", nil, "enveloped-data"},
		{"generated/e_rsa_aes128cbc.der", nil, "enveloped-data"},
		{"generated/e_rsa_aes192cbc.der", nil, "enveloped-data"},
		{"generated/e_rsa_aes256cbc.der", nil, "enveloped-data"},
		{"generated/e_rsa_aes256gcm_auth.der", nil, "authEnveloped-data"},
		{"generated/e_rsa_ber_stream.der", nil, "enveloped-data"},
		{"generated/e_rsa_ski.der", nil, "enveloped-data"},
		{"generated/e_rsaoaep_aes128.der", nil, "enveloped-data"},

		{"openssl/bad_signtime_attr.cms", nil, "bad RSA 2048 SHA-256|a signing-time attribute is unsigned"},
		{"openssl/ct_multiple_attr.cms", nil, "bad RSA 2048 SHA-256|not exactly one value of content-type"},
		{"openssl/no_ct_attr.cms", nil, "bad RSA 2048 SHA-256|no content-type"},
		{"openssl/no_md_attr.cms", nil, "bad RSA 2048 SHA-256|no message-digest"},
		{"openssl/dh-malformed.der", nil, "error"},
		{"openssl/ecdh-malformed.der", nil, "error"},
		{"openssl/rsa-malformed.der", nil, "error"},
	} {
		t.Run(strings.ReplaceAll(c.file, "/", "_"), func(t *testing.T) {
			if got := verdicts(t, corpus(t, c.file), c.content); !strings.HasPrefix(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	got := verdicts(t, corpus(t, "generated/s_rsa_nocerts_det.der"), body, certFile(t, "generated/rsa.crt"))
	if got != "good RSA 2048 SHA-256|" {
		t.Errorf("with the certificate given: %q", got)
	}
	t.Log("3.2.bin:", verdicts(t, corpus(t, "rfc4134/3.2.bin"), nil))
}

func TestContent(t *testing.T) {
	body := corpus(t, "generated/body")
	for _, name := range []string{"generated/s_rsa_sha256_opq.der", "generated/s_rsa_ber_stream_opq.der"} {
		var out bytes.Buffer
		obj, err := Read(bytes.NewReader(corpus(t, name)), Options{Content: &out})
		if err != nil || !bytes.Equal(out.Bytes(), body) || obj.Size != int64(len(body)) {
			t.Errorf("%s: content %q, size %d, error %v", name, out.Bytes(), obj.Size, err)
		}
	}
}

// samples returns all CMS objects in the corpus.
func samples(t testing.TB) map[string][]byte {
	out := map[string][]byte{}
	for _, p := range []string{"rfc4134/*.bin", "generated/*.der", "openssl/*.cms", "openssl/*.der"} {
		files, err := filepath.Glob(filepath.Join("testdata", p))
		if err != nil || len(files) == 0 {
			t.Fatal(p, err)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			out[filepath.Base(f)] = b
		}
	}
	delete(out, "ExContent.bin") // content without a CMS object
	return out
}

// readAll reads and verifies b. The fuzz test also uses it.
func readAll(b, content []byte) (*Object, error) {
	obj, err := Read(bytes.NewReader(b), Options{Max: 256 << 10, MaxInflated: 256 << 10})
	if err != nil || obj.Signed == nil {
		return obj, err
	}
	var r io.Reader
	if obj.Signed.Detached {
		r = bytes.NewReader(content)
	}
	_, err = obj.Signed.Verify(r)
	return obj, err
}

// TestTruncated checks that no truncated sample is accepted or causes a panic.
func TestTruncated(t *testing.T) {
	try := sampletest.OneIn(t, 12)
	for name, b := range samples(t) {
		for n := range b {
			if !try() {
				continue
			}
			if _, err := readAll(b[:n], nil); err == nil {
				t.Errorf("%s: %d of %d octets read without an error", name, n, len(b))
				break
			}
		}
	}
}

// TestOneOctetChanged checks that changing an octet never causes a panic or
// makes an invalid signature valid. With HOPLITE_WHOLE=1, it tries all 255 other
// values of every octet.
func TestOneOctetChanged(t *testing.T) {
	body := corpus(t, "generated/body")
	changes := []byte{0x01, 0xff}
	if sampletest.Whole() {
		changes = nil
		for d := 1; d < 256; d++ {
			changes = append(changes, byte(d))
		}
	}
	// The cryptography is the library's, so verifying a part is enough.
	try, verify := sampletest.OneIn(t, 15), sampletest.OneIn(t, 4)
	for _, b := range samples(t) {
		x := bytes.Clone(b)
		for i := range b {
			for _, d := range changes {
				if !try() {
					continue
				}
				x[i] = b[i] ^ d
				obj, err := Read(bytes.NewReader(x), Options{Max: 1 << 20, MaxInflated: 1 << 20})
				if err == nil && obj.Signed != nil && verify() {
					var r io.Reader
					if obj.Signed.Detached {
						r = bytes.NewReader(body)
					}
					if _, err := obj.Signed.Verify(r); err != nil {
						t.Fatal(err)
					}
				}
			}
			x[i] = b[i]
		}
	}
}

// TestNested reads input that crashes other parsers: `30 80` repeated five
// million times.
func TestNested(t *testing.T) {
	data := "\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01\xa0\x80"
	for _, c := range []struct{ name, prefix, unit string }{
		{"indefinite", "", "\x30\x80"},
		{"octet strings", data, "\x24\x80"},
		{"definite", "", "\x30\x84\x00\x98\x96\x80"},
	} {
		b := append([]byte(c.prefix), bytes.Repeat([]byte(c.unit), 5_000_000)...)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Read(bytes.NewReader(b), Options{})
		runtime.ReadMemStats(&after)
		var s *SyntaxError
		if !errors.As(err, &s) {
			t.Errorf("%s: %v", c.name, err)
		} else if s.Offset > 1000 {
			t.Errorf("%s: refused only at octet %d", c.name, s.Offset)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 1<<20 {
			t.Errorf("%s: %d octets allocated", c.name, used)
		}
	}
}

// TestNestedInside checks that nesting is also limited inside an element that
// is kept in memory.
func TestNestedInside(t *testing.T) {
	deep := bytes.Repeat([]byte("\x30\x80"), 1000)
	head := []byte("\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02\xa0\x80\x30\x80\x02\x01\x01\x31\x80")
	if _, err := Read(bytes.NewReader(append(head, deep...)), Options{}); err == nil {
		t.Error("no error")
	}
	flat := append([]byte("\x30\x82\x07\xd0"), deep...)
	if _, err := toDER(flat); !errors.Is(err, errNested) {
		t.Errorf("toDER: %v", err)
	}
}

func TestTooLarge(t *testing.T) {
	b := corpus(t, "generated/s_rsa_sha256_opq.der")
	if _, err := Read(bytes.NewReader(b), Options{Max: 500}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("error %v", err)
	}
}

func TestToDER(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"already", "\x30\x03\x02\x01\x05", "\x30\x03\x02\x01\x05"},
		{"indefinite", "\x30\x80\x02\x01\x05\x00\x00", "\x30\x03\x02\x01\x05"},
		{"long length", "\x30\x81\x03\x02\x01\x05", "\x30\x03\x02\x01\x05"},
		{"pieces", "\x24\x80\x04\x02ab\x24\x80\x04\x01c\x00\x00\x00\x00", "\x04\x03abc"},
		{"pieces inside", "\x31\x80\x24\x04\x04\x02ab\x00\x00", "\x31\x04\x04\x02ab"},
		{"empty", "\x30\x80\x00\x00", "\x30\x00"},
		{"high tag", "\xbf\x81\x01\x80\x04\x01a\x00\x00", "\xbf\x81\x01\x03\x04\x01a"},
		{"primitive", "\x04\x81\x01a", "\x04\x01a"},
	} {
		got, err := toDER([]byte(c.in))
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %x, %v, want %x", c.name, got, err, c.want)
		}
	}
	for _, in := range []string{"", "\x30", "\x30\x80", "\x30\x05\x02", "\x04\x80\x00\x00", "\x30\x03\x30\x80\x00\x00", "\x24\x80\x02\x01\x05\x00\x00", "\x30\x8a"} {
		if got, err := toDER([]byte(in)); err == nil {
			t.Errorf("%x: %x without an error", in, got)
		}
	}
}

// TestShortRSA checks that signatures with keys that crypto/rsa rejects are
// weak if valid, and bad otherwise.
func TestShortRSA(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("x"))
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	id := mkoid("2.16.840.1.101.3.4.2.1")
	if err := verifyShort(&key.PublicKey, id, sum[:], sig); err != nil {
		t.Error(err)
	}
	sig[100] ^= 1
	if verifyShort(&key.PublicKey, id, sum[:], sig) == nil || verifyShort(&key.PublicKey, id, sum[:], sig[1:]) == nil {
		t.Error("a wrong signature holds")
	}
}

func FuzzRead(f *testing.F) {
	for _, b := range samples(f) {
		f.Add(b)
	}
	body := corpus(f, "generated/body")
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 64<<10 {
			return // a larger input only costs time
		}
		readAll(b, body)
		if der, err := toDER(b); err == nil {
			again, err := toDER(der)
			if err != nil || !bytes.Equal(der, again) {
				t.Errorf("toDER is not stable: %x, %x, %v", der, again, err)
			}
		}
	})
}
