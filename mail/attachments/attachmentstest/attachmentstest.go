// Package attachmentstest creates messages with attachments for tests.
package attachmentstest

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"encoding/base64"
	"hash/crc32"
	"strings"
	"testing"
)

// Program is the start of a Windows program, long enough to be recognised.
var Program = []byte("MZ\x90\x00\x03\x00\x00\x00 this is no program")

// Zip returns a zip archive. files alternates names and contents. Content that
// several files share is compressed only once.
func Zip(t testing.TB, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	known := map[string][]byte{}
	for i := 0; i < len(files); i += 2 {
		name, content := files[i], files[i+1]
		if strings.HasSuffix(name, "/") {
			if _, err := w.Create(name); err != nil {
				t.Fatal(err)
			}
			continue
		}
		data, ok := known[content]
		if !ok {
			data = deflate(t, content)
			known[content] = data
		}
		const descriptor = 8 // sizes and checksum follow the data, as zip.Writer.Create has them
		f, err := w.CreateRaw(&zip.FileHeader{
			Name: name, Method: zip.Deflate, Flags: descriptor, CRC32: crc32.ChecksumIEEE([]byte(content)),
			CompressedSize64: uint64(len(data)), UncompressedSize64: uint64(len(content)),
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func deflate(t testing.TB, content string) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.DefaultCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Base64 encodes data in base64 lines.
func Base64(data []byte) string {
	text := base64.StdEncoding.EncodeToString(data)
	var b strings.Builder
	for len(text) > 76 {
		b.WriteString(text[:76] + "\r\n")
		text = text[76:]
	}
	return b.String() + text + "\r\n"
}

// Message returns a message with a text and one attachment that has the given
// header fields.
func Message(fields string, data []byte) string {
	return "From: ann@example.org\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" +
		"--b\r\nContent-Type: text/plain\r\n\r\nSee there\r\n--b\r\n" + fields +
		"Content-Transfer-Encoding: base64\r\n\r\n" + Base64(data) + "--b--\r\n"
}

// Named returns header fields for a part with a file name.
func Named(typ, name string) string {
	return "Content-Type: " + typ + "\r\nContent-Disposition: attachment; filename=\"" + name + "\"\r\n"
}
