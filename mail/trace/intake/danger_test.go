package intake

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	"hoplite/mail/trace"
)

func attachment(name string, content []byte) string {
	return "From: ann@a.example\nMIME-Version: 1.0\nContent-Type: application/octet-stream\nContent-Disposition: attachment; filename=\"" + name +
		"\"\nContent-Transfer-Encoding: base64\n\n" + base64.StdEncoding.EncodeToString(content) + "\n"
}

func TestDangers(t *testing.T) {
	var zipped bytes.Buffer
	w := zip.NewWriter(&zipped)
	f, _ := w.Create("invoice.exe")
	f.Write([]byte("MZ program"))
	w.Close()
	for _, c := range []struct {
		name, in, want string
	}{
		{"double extension", attachment("invoice.pdf.exe", []byte("MZ program")), "invoice.pdf.exe has a double extension"},
		{"program", attachment("setup.js", []byte("alert(1)")), "setup.js may run a program when opened (.js)"},
		{"in an archive", attachment("invoice.zip", zipped.Bytes()), "invoice.exe may run a program when opened (.exe), inside zip"},
		{"program as a picture", attachment("photo.jpg", []byte("MZ\x90\x00 program")), "is a program under another name or type"},
		{"harmless", attachment("notes.txt", []byte("hello")), ""},
		{"header only", "From: ann@a.example\n", ""},
	} {
		in, err := Read([]byte(c.in))
		if err != nil {
			t.Fatal(err)
		}
		found, err := in.Dangers(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if c.want == "" {
			if len(found) > 0 {
				t.Errorf("%s: %+v", c.name, found)
			}
			continue
		}
		if len(found) != 1 || !strings.Contains(found[0].Text, c.want) || found[0].Severity != trace.Problem {
			t.Errorf("%s: %+v, want %s", c.name, found, c.want)
		}
	}
}
