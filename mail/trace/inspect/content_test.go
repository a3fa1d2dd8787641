package inspect

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"os"
	"strings"
	"testing"

	"hoplite/mail/trace"
)

func attachment(name string, content []byte) string {
	return "From: ann@a.example\nMIME-Version: 1.0\nContent-Type: application/octet-stream\nContent-Disposition: attachment; filename=\"" + name +
		"\"\nContent-Transfer-Encoding: base64\n\n" + base64.StdEncoding.EncodeToString(content) + "\n"
}

// winmail returns a winmail.dat file (TNEF) with one attachment.
func winmail(name string, content []byte) []byte {
	b := []byte("\x78\x9f\x3e\x22\x01\x00")
	attribute := func(level byte, id uint32, data []byte) {
		b = binary.LittleEndian.AppendUint32(append(b, level), id)
		b = append(binary.LittleEndian.AppendUint32(b, uint32(len(data))), data...)
		sum := uint16(0)
		for _, c := range data {
			sum += uint16(c)
		}
		b = binary.LittleEndian.AppendUint16(b, sum)
	}
	attribute(1, 0x00089006, []byte{0, 0, 1, 0}) // attTnefVersion
	attribute(2, 0x00069002, make([]byte, 14))   // attAttachRendData
	attribute(2, 0x00018010, append([]byte(name), 0))
	attribute(2, 0x0006800f, content)
	return b
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
		{"program in winmail.dat", attachment("winmail.dat", winmail("setup.exe", []byte("MZ\x90\x00 program"))), "setup.exe may run a program when opened (.exe), inside winmail.dat (TNEF)"},
		{"program with another name in winmail.dat", attachment("winmail.dat", winmail("report.doc", []byte("MZ\x90\x00 program"))), "report.doc is a program under another name or type, inside winmail.dat"},
		{"archive in winmail.dat", attachment("winmail.dat", winmail("a.zip", zipped.Bytes())), "invoice.exe may run a program when opened (.exe), inside zip"},
		{"harmless winmail.dat", attachment("winmail.dat", winmail("notes.txt", []byte("hello"))), ""},
		{"harmless", attachment("notes.txt", []byte("hello")), ""},
		{"header only", "From: ann@a.example\n", ""},
	} {
		r, err := (&Inspector{}).Inspect(t.Context(), []byte(c.in))
		if err != nil {
			t.Fatal(err)
		}
		var found []trace.Finding
		for _, f := range r.Trace.Findings {
			if f.Code == "dangerous-attachment" {
				found = append(found, f)
			}
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

// TestSignature checks the finding about an invalid S/MIME signature.
func TestSignature(t *testing.T) {
	raw, err := os.ReadFile("../../smime/testdata/company/good.eml")
	if err != nil {
		t.Fatal(err)
	}
	good := string(raw)
	changed := strings.Replace(good, "Content-Type: text/plain", "Content-Type: text/x-plain", 1)
	if changed == good {
		t.Fatal("nothing changed")
	}
	for _, c := range []struct{ name, in, verdict, finding string }{
		{"good", good, "good", ""},
		{"changed", changed, "bad", trace.Problem},
		{"a repaired copy", "> " + strings.ReplaceAll(changed, "\n", "\n> "), "bad", trace.Note},
		{"only the header", good[:strings.Index(good, "This is an S/MIME")], "", ""},
		{"not signed", "From: ann@a.example\n\nhi\n", "", ""},
	} {
		r, err := (&Inspector{}).Inspect(t.Context(), []byte(c.in))
		if err != nil {
			t.Fatal(err)
		}
		finding := ""
		for _, f := range r.Trace.Findings {
			if f.Code == "smime-bad" {
				finding = f.Severity
			}
		}
		if got := r.JSON().SMIME; got != c.verdict || finding != c.finding {
			t.Errorf("%s: verdict %q, finding %q; want %q, %q", c.name, got, finding, c.verdict, c.finding)
		}
		if c.finding == trace.Problem && r.Clean() {
			t.Errorf("%s is clean", c.name)
		}
	}
}

// TestUnread checks the note about an attachment that cannot be scanned.
func TestUnread(t *testing.T) {
	var bomb bytes.Buffer
	w := zip.NewWriter(&bomb)
	f, _ := w.Create("zeros")
	f.Write(make([]byte, 8<<20))
	w.Close()
	for _, c := range []struct{ name, in, want string }{
		{"bomb", attachment("b.zip", bomb.Bytes()), "was not scanned completely: expands too much"},
		{"damaged winmail.dat", attachment("winmail.dat", []byte("\x78\x9f\x3e\x22\x01\x00\x01\x01\x01\x01\x01\x01\x01\x01\x01")), "winmail.dat was not scanned completely: damaged TNEF"},
		{"harmless", attachment("notes.txt", []byte("hello")), ""},
	} {
		r, err := (&Inspector{}).Inspect(t.Context(), []byte(c.in))
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, f := range r.Trace.Findings {
			if f.Code == "unread-attachment" && f.Severity == trace.Note {
				got += f.Text
			}
		}
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
