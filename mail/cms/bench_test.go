package cms

import (
	"bytes"
	"crypto/sha256"
	"io"
	"testing"
)

func BenchmarkVerifyRSA2048(b *testing.B) { benchVerify(b, "generated/s_rsa_sha256_det.der") }
func BenchmarkVerifyP256(b *testing.B)    { benchVerify(b, "generated/s_p256_sha256_det.der") }

func benchVerify(b *testing.B, name string) {
	msg, body := corpus(b, name), corpus(b, "generated/body")
	b.ReportAllocs()
	for b.Loop() {
		obj, err := Read(bytes.NewReader(msg), Options{})
		if err != nil {
			b.Fatal(err)
		}
		if v, err := obj.Signed.Verify(bytes.NewReader(body)); v != Good || err != nil {
			b.Fatal(v, err)
		}
	}
}

// largeOpaque returns signed-data of indefinite length with n octets in pieces
// of 4 KiB, as sent by streaming clients. It has no signers, which does not
// affect the amount of work.
func largeOpaque(n int) []byte {
	var b bytes.Buffer
	b.WriteString("\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02\xa0\x80\x30\x80\x02\x01\x01")
	b.WriteString("\x31\x0d\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01")
	b.WriteString("\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01\xa0\x80\x24\x80")
	piece := bytes.Repeat([]byte("0123456789abcdef"), 256)
	for ; n > 0; n -= len(piece) {
		b.Write(appendHeader(nil, header{tag: tagOctets, length: int64(len(piece))}))
		b.Write(piece)
	}
	b.WriteString("\x00\x00\x00\x00\x00\x00\x31\x00\x00\x00\x00\x00\x00\x00")
	return b.Bytes()
}

func BenchmarkOpaqueBER10MiB(b *testing.B) {
	msg := largeOpaque(10 << 20)
	b.SetBytes(10 << 20)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Read(bytes.NewReader(msg), Options{Content: io.Discard}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRawSHA256 measures hashing alone, for comparison.
func BenchmarkRawSHA256(b *testing.B) {
	data := make([]byte, 10<<20)
	b.SetBytes(10 << 20)
	for b.Loop() {
		sha256.Sum256(data)
	}
}
