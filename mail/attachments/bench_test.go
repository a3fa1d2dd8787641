package attachments

import (
	"context"
	"math/rand/v2"
	"testing"

	"hoplite/mail"
)

// BenchmarkList lists a text, a picture of 1 MiB and a zip file with two files.
func BenchmarkList(b *testing.B) {
	picture := make([]byte, 1<<20)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(picture)
	copy(picture, "\xff\xd8\xff\xe0")
	for _, c := range []struct{ name, msg string }{
		{"text", "Subject: x\r\n\r\nHello\r\n"},
		{"picture", attached(named("image/jpeg", "a.jpg"), picture)},
		{"zip", attached(named("application/zip", "a.zip"), zipped(b, "run.exe", string(exe), "a.jpg", string(picture[:256<<10])))},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(c.msg)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := List(context.Background(), mail.Bytes(c.msg), int64(len(c.msg)), Limits{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
