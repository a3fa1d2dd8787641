package attachments

import (
	"archive/tar"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"
)

// shown describes how the program run.exe appears in a listing: "listed",
// inside an item that was not scanned ("unread"), or "missed".
func shown(items []Item) string {
	out := "missed"
	for _, it := range items {
		if it.Kind == "application/vnd.microsoft.portable-executable" || strings.HasSuffix(it.Name, ".exe") {
			return "listed"
		}
		if it.Unread != "" {
			out = "unread"
		}
	}
	return out
}

// sevenTar returns a tar file in the format of Seventh Edition Unix, which has
// no magic number.
func sevenTar(t *testing.T) []byte {
	b := tarred(t, "run.exe", string(exe))
	clear(b[257:512])
	copy(b[148:156], "        ")
	sum := 0
	for _, c := range b[:512] {
		sum += int(c)
	}
	copy(b[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return b
}

// TestEvasions checks ways to hide a program from a filter while mail programs
// and unpackers still find it.
func TestEvasions(t *testing.T) {
	z := zipped(t, "run.exe", string(exe))
	damaged := bytes.Clone(z)
	damaged[0] = 'X'
	second := zipped(t, "a.txt", "hi", "run.exe", string(exe))
	second[1] = 'X'
	file := func(data []byte) string { return attached(named("image/gif", "a.gif"), data) }
	multi := func(boundary, body string) string {
		return "From: a@example.org\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; " + boundary + "\r\n\r\n" + body
	}
	program := named("application/octet-stream", "run.exe") + "Content-Transfer-Encoding: base64\r\n\r\n" + b64(exe)
	textPart := func(text string) string { return attached("Content-Type: text/plain\r\n", []byte(text)) }
	nested := z
	for range 5 {
		nested = zipped(t, "inner.zip", string(nested))
	}
	var dummies strings.Builder
	for range 1100 {
		dummies.WriteString("--b\r\n\r\nx\r\n")
	}
	lzma := append([]byte{0x5d, 0, 0, 0x80, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0}, bytes.Repeat([]byte("data"), 20)...)
	office := zipped(t, "[Content_Types].xml", "<x/>", "word/document.xml", "<x/>", "run.exe", string(exe))
	for _, c := range []struct{ name, msg, want string }{
		{"one octet before a zip", file(append([]byte("x"), z...)), "listed"},
		{"text before a zip", file(append([]byte("Hello\r\n"), z...)), "listed"},
		{"a GIF before a zip", file(append([]byte("GIF89a\x01\x00\x01\x00"), z...)), "listed"},
		{"a PDF before a zip", file(append([]byte("%PDF-1.4\n1 0 obj\nendobj\n%%EOF\n"), z...)), "listed"},
		{"a BMP before a zip", file(append([]byte("BM\x00\x00\x00\x00"), z...)), "listed"},
		{"a program before a zip", file(append([]byte("MZ\x90\x00"), z...)), "listed"},
		{"a gzip before a zip", file(append(gzipped(t, "a", []byte("a")), z...)), "listed"},
		{"a tar before a zip", file(append(tarred(t, "a", "a"), z...)), "listed"},
		{"a document before a zip", file(append([]byte("{\\rtf1 }"), z...)), "listed"},
		{"a signed object before a zip", file(append(wrappedCMS(t, "x"), z...)), "listed"},
		{"much before a zip", file(append(make([]byte, 3<<20), z...)), "listed"},
		{"text after a zip", file(append(bytes.Clone(z), "bye"...)), "listed"},
		{"a damaged first header", file(damaged), "listed"},
		{"a damaged first header of two", file(second), "listed"},
		{"a zip without its directory", file(append([]byte("x"), z[:len(z)-40]...)), "unread"},
		{"in an office document", file(office), "listed"},
		{"rar behind a program", file(append([]byte("MZ\x90\x00 stub"), "Rar!\x1a\x07\x01\x00 data"...)), "listed"},
		{"rar behind a picture", file(append([]byte("GIF89a"), "Rar!\x1a\x07\x01\x00 data"...)), "unread"},
		{"7z behind a picture", file(append([]byte("GIF89a"), "7z\xbc\xaf\x27\x1c data"...)), "unread"},
		{"tar of the seventh edition", file(sevenTar(t)), "listed"},
		{"lzma", file(lzma), "unread"},
		{"lzip", file([]byte("LZIP\x01 data")), "unread"},
		{"compress", file([]byte("\x1f\x9d\x90 data")), "unread"},
		{"five zips in zips", file(nested), "unread"},

		{"uuencode after a magic", textPart("%PDF-1.4\r\n" + uuencoded("run.exe", exe)), "listed"},
		{"uuencode after a picture's magic", textPart("GIF89a\r\n" + uuencoded("run.exe", exe)), "listed"},
		{"uuencode after a zip's magic", textPart("PK\x03\x04\r\n" + uuencoded("run.exe", exe)), "listed"},
		{"uuencode with a tab", textPart(strings.Replace(uuencoded("run.exe", exe), "644 ", "644\t", 1)), "listed"},
		{"uuencode with many spaces", textPart(strings.Replace(uuencoded("run.exe", exe), " 644 ", "  0100644   ", 1)), "listed"},

		{"two boundaries", multi("boundary*0=A; boundary=B", "--A\r\n\r\nHi\r\n--A--\r\n--B\r\n"+program+"--B--\r\n"), "unread"},
		{"two boundaries, the other way", multi("boundary=B; boundary*0=A", "--A\r\n\r\nHi\r\n--A--\r\n--B\r\n"+program+"--B--\r\n"), "unread"},
		{"a boundary twice", multi("boundary=B; boundary=A", "--B\r\n\r\nHi\r\n--B--\r\n--A\r\n"+program+"--A--\r\n"), "unread"},
		{"an encoded boundary", multi("boundary*=us-ascii''A; boundary=B", "--A\r\n\r\nHi\r\n--A--\r\n--B\r\n"+program+"--B--\r\n"), "unread"},
		{"two types", "Content-Type: multipart/mixed; boundary=B\r\n" + multi("boundary=A", "--B\r\n\r\nHi\r\n--B--\r\n--A\r\n"+program+"--A--\r\n"), "unread"},
		{"after the end", multi("boundary=b", "--b\r\n\r\nHi\r\n--b--\r\n--b\r\n"+program+"--b--\r\n"), "listed"},
		{"after the end of an inner multipart", multi("boundary=o", "--o\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nHi\r\n--b--\r\n--b\r\n"+program+"--o--\r\n"), "listed"},
		{"after many ends", multi("boundary=b", "--b\r\n\r\nHi\r\n"+strings.Repeat("--b--\r\n--b\r\n\r\nx\r\n", 6)+"--b--\r\n--b\r\n"+program+"--b--\r\n"), "unread"},
		{"after 1,000 parts", multi("boundary=b", dummies.String()+"--b\r\n"+program+"--b--\r\n"), "unread"},
		{"after 1,000 parts of a message in a zip", file(zipped(t, "a.eml", multi("boundary=b", dummies.String()+"--b\r\n"+program+"--b--\r\n"))), "unread"},
		{"a message in pieces", "Content-Type: message/partial; id=x; number=1; total=2\r\n\r\n" + multi("boundary=b", "--b\r\n"+program), "unread"},
		{"stored elsewhere", "Content-Type: message/external-body; access-type=URL; URL=\"https://evil.example/run.exe\"\r\n\r\nContent-Type: application/octet-stream\r\n\r\n", "unread"},
	} {
		t.Run(c.name, func(t *testing.T) {
			items := list(t, c.msg, Limits{})
			if got := shown(items); got != c.want {
				t.Errorf("%s, want %s:\n%s", got, c.want, short(items))
			}
			if c.want == "listed" && len(items) > 20 {
				t.Errorf("%d items", len(items))
			}
		})
	}
}

// TestNoFalseAlarms checks that ordinary content, and content that merely
// resembles an archive, is not reported.
func TestNoFalseAlarms(t *testing.T) {
	for name, msg := range map[string]string{
		"signature in a text":     attached("Content-Type: text/plain\r\n", []byte("the octets PK\x03\x04 begin a file, PK\x05\x06 ends a directory\r\n")),
		"signature in a picture":  attached(named("image/gif", "a.gif"), append([]byte("GIF89a"), "xxPK\x01\x02yyPK\x03\x04zz"...)),
		"zeros":                   attached(named("application/octet-stream", "a.bin"), make([]byte, 4096)),
		"tar":                     attached(named("application/x-tar", "a.tar"), tarred(t, "a.txt", "hi", "b.txt", "ho")),
		"an epilogue of text":     attached(named("text/plain", "a.txt"), []byte("hi")) + "\r\nThis is the end -- really\r\n",
		"a boundary with a space": "Content-Type: multipart/mixed; boundary=\"b \"\r\n\r\n--b\r\n\r\nHi\r\n--b--\r\n",
		"begin in a sentence":     "Subject: x\r\n\r\nbegin 1234 words from here\r\nand there we go, on and on and on\r\n",
		"nothing":                 "Subject: x\r\n\r\n",
	} {
		for _, it := range list(t, msg, Limits{}) {
			if it.Unread != "" || it.Via == "zip" || it.Via == "uuencode" {
				t.Errorf("%s: %v", name, it)
			}
		}
	}
}

// TestSpottedOnce checks that a zip file inside a tar file is listed once and
// stays within its budget.
func TestSpottedOnce(t *testing.T) {
	z := zipped(t, "run.exe", string(exe))
	for name, data := range map[string][]byte{"tar": tarred(t, "a.zip", string(z)), "zip": zipped(t, "a.zip", string(z))} {
		n := 0
		for _, it := range list(t, attached(named("application/octet-stream", "a"), data), Limits{}) {
			if it.Name == "run.exe" {
				n++
			}
		}
		if n != 1 {
			t.Errorf("in a %s: listed %d times", name, n)
		}
	}
}

// TestSpotterBorders checks that signatures are found regardless of how the
// content is split into pieces.
func TestSpotterBorders(t *testing.T) {
	z := zipped(t, "run.exe", string(exe))
	for _, c := range []struct{ name, data string }{{"zip", "front" + string(z)}, {"rar", "front Rar!\x1a\x07 data"}, {"7z", "7z\xbc\xaf\x27\x1c"}} {
		for size := 1; size < 12; size++ {
			p := &spotter{r: iotest.OneByteReader(strings.NewReader(c.data)), limit: 1 << 20}
			buf := make([]byte, size)
			for data := []byte(c.data); len(data) > 0; data = data[len(buf[:min(size, len(data))]):] {
				if err := p.see(data[:min(size, len(data))]); err != nil {
					t.Fatal(err)
				}
			}
			if c.name != "zip" {
				if p.closed == "" {
					t.Errorf("%s in pieces of %d: not seen", c.name, size)
				}
				continue
			}
			if p.zip == nil || !p.ended || p.start != int64(len("front")) {
				t.Fatalf("zip in pieces of %d: %+v", size, p)
			}
			got := make([]byte, len(c.data))
			if n, err := p.ReadAt(got, 0); n != len(got) || err != nil || !bytes.Equal(got[5:], z) || !bytes.Equal(got[:5], make([]byte, 5)) {
				t.Errorf("zip in pieces of %d: %d octets, %v", size, n, err)
			}
			p.close()
		}
	}
	p := &spotter{limit: 100}
	if err := p.see(append([]byte(zipLocal), make([]byte, 200)...)); err != nil || !p.over || p.zip != nil {
		t.Errorf("beyond the limit: %+v, %v", p, err)
	}
}

func TestKinds(t *testing.T) {
	b := make([]byte, 512)
	copy(b, "name")
	if isTar(b) {
		t.Error("a block without a sum is no tar file")
	}
	if !isTar(tarred(t, "a", "b")) {
		t.Error("a tar file was not recognised")
	}
	lzma := func(edit func([]byte)) bool {
		h := make([]byte, 20)
		h[0] = 0x5d
		binary.LittleEndian.PutUint32(h[1:], 1<<23)
		binary.LittleEndian.PutUint64(h[5:], 1000)
		edit(h)
		return isLZMA(h)
	}
	for name, c := range map[string]struct {
		edit func([]byte)
		want bool
	}{
		"usual":              {func([]byte) {}, true},
		"unknown size":       {func(h []byte) { binary.LittleEndian.PutUint64(h[5:], 1<<64-1) }, true},
		"dictionary of 3/2":  {func(h []byte) { binary.LittleEndian.PutUint32(h[1:], 3<<20) }, true},
		"odd dictionary":     {func(h []byte) { binary.LittleEndian.PutUint32(h[1:], 5<<20) }, false},
		"no dictionary":      {func(h []byte) { binary.LittleEndian.PutUint32(h[1:], 0) }, false},
		"size of everything": {func(h []byte) { binary.LittleEndian.PutUint64(h[5:], 1<<50) }, false},
		"odd properties":     {func(h []byte) { h[0] = 0xe5 }, false},
		"odd data":           {func(h []byte) { h[13] = 1 }, false},
	} {
		if got := lzma(c.edit); got != c.want {
			t.Errorf("LZMA, %s: %v", name, got)
		}
	}
}

// TestEpilogueBomb checks that the depth limit applies to an epilogue with many
// closing delimiters.
func TestEpilogueBomb(t *testing.T) {
	msg := "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\n\r\nx\r\n--b--\r\n", 20_000)
	items := list(t, msg, Limits{})
	if len(items) > 20 || shown(items) != "unread" {
		t.Errorf("%d items, %s", len(items), shown(items))
	}
}

func FuzzPart(f *testing.F) {
	f.Add("Content-Type: multipart/mixed; boundary=b", "--b\r\n\r\nx\r\n--b--\r\n--b\r\n\r\n"+base64.StdEncoding.EncodeToString(exe))
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	w.WriteHeader(&tar.Header{Name: "a"})
	f.Add("Content-Transfer-Encoding: binary", "GIF89a"+b.String()+zipLocal+zipEnd)
	f.Fuzz(func(t *testing.T, head, body string) { fuzzList(t, []byte(head+"\r\n\r\n"+body)) })
}
