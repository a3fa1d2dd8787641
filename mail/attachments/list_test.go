package attachments

import (
	"bytes"
	"context"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"

	"hoplite/internal/memory"
	"hoplite/mail"
	"hoplite/mail/attachments/archive/archivetest"
	"hoplite/mail/ole"
	"hoplite/mail/ole/oletest"
)

func list(t testing.TB, msg string, l Limits) []Item {
	t.Helper()
	items, err := List(context.Background(), mail.Bytes(msg), int64(len(msg)), l)
	if err != nil {
		t.Fatal(err)
	}
	return items
}

// large matches the size of packed content, which varies with the compressor.
var large = regexp.MustCompile(`, \d{3,} octets`)

// short returns a listing without the message's text part.
func short(items []Item) string {
	var out []string
	for _, it := range items {
		if (it.Path == "1" || it.Path == "1.1") && it.Name == "" && it.Kind == "text/plain" {
			continue
		}
		out = append(out, it.String())
	}
	return large.ReplaceAllString(strings.Join(out, "\n"), "")
}

func archived(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("archive/testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// image returns an ISO 9660 image that contains a program.
func image() []byte {
	i := archivetest.NewImage()
	i.Descriptor(0, 1, i.Directory("", i.Store("RUN.EXE;1", exe)))
	return i.Bytes()
}

func TestList(t *testing.T) {
	const pe = "application/vnd.microsoft.portable-executable"
	resource := bytes.Repeat([]byte{0x90}, 10)
	for _, c := range []struct{ name, msg, want string }{
		{"none", "Subject: x\r\n\r\nHi\r\n", ""},
		{"plain file", attached(named("application/pdf", "a.pdf"), []byte("%PDF-1.4 x")), `2 "a.pdf", application/pdf, 10 octets`},
		{"a program", attached(named("image/png", "a.png"), exe), `2 "a.png", image/png (is ` + pe + `), 27 octets, type-mismatch`},
		{"double extension", attached(named("application/pdf", "a.pdf.exe"), exe), `2 "a.pdf.exe", application/pdf (is ` + pe + `), 27 octets, double-extension`},
		{"two names", attached("Content-Type: text/plain; name=a.txt\r\nContent-Disposition: attachment; filename*=utf-8''a%2eexe\r\n", exe),
			`2 "a.exe", text/plain (is ` + pe + `), 27 octets, type-mismatch, several-names`},
		{"reversed", attached("Content-Type: text/plain\r\nContent-Disposition: attachment; filename*=utf-8''a%E2%80%AEtxt.exe\r\n", exe),
			`2 "a\u202etxt.exe", text/plain (is ` + pe + `), 27 octets, reversed-name`},
		{"dot behind", attached(named("text/plain", "a.exe."), exe), `2 "a.exe.", text/plain (is ` + pe + `), 27 octets, hidden-extension`},
		{"encoded word", attached(named("text/plain", "=?utf-8?q?a=2Eexe?="), exe),
			`2 "a.exe", text/plain (is ` + pe + `), 27 octets, several-names`},
		{"folders", attached(named("text/plain", "../../a.txt"), []byte("hi")), `2 "../../a.txt", text/plain, 2 octets, path`},
		{"zip", attached(named("application/zip", "a.zip"), zipped(t, "d/", "", "d/run.exe", string(exe), "readme.txt", "hi")),
			"2 \"a.zip\", application/zip\n" +
				`2/run.exe "d/run.exe", ` + pe + ", 27 octets, zip\n2/readme.txt, text/plain, 2 octets, zip"},
		{"zip in zip in tar.gz", attached(named("application/gzip", "a.tgz"), gzipped(t, "", tarred(t, "b.zip", string(zipped(t, "c.zip", string(zipped(t, "d.zip", string(zipped(t, "run.exe", string(exe)))))))))),
			`2 "a.tgz", application/gzip` + "\n2/a.tar, application/x-tar, gzip\n" +
				"2/a.tar/b.zip, application/zip, tar\n2/a.tar/b.zip/c.zip, application/zip, zip\n2/a.tar/b.zip/c.zip/d.zip, application/zip, zip, not scanned: nested too deeply to scan"},
		{"bzip2", attached(named("application/x-bzip2", "run.exe.bz2"), bzip2Exe),
			`2 "run.exe.bz2", application/x-bzip2, 70 octets` + "\n2/run.exe, " + pe + ", 27 octets, bzip2"},
		{"office", attached(named("application/msword", "a.docx"), zipped(t, "[Content_Types].xml", "<x/>", "word/vbaProject.bin", "x", "word/document.xml", "<x/>")),
			`2 "a.docx", application/msword (is application/vnd.openxmlformats-officedocument), macros` + "\n" +
				`2/vbaProject.bin "word/vbaProject.bin", text/plain, 1 octets, zip`},
		{"old office", attached(named("application/msword", "a.doc"), oletest.File(oletest.Entry{Name: "Macros", Child: 2}, oletest.Entry{Name: "VBA", Child: 3}, oletest.Entry{Name: "dir", Data: []byte("x")})),
			`2 "a.doc", application/msword (is application/x-ole-storage), macros`},
		{"old office without macros", attached(named("application/msword", "a.doc"), oletest.File(oletest.Entry{Name: "WordDocument", Data: []byte("x")})),
			`2 "a.doc", application/msword (is application/x-ole-storage)`},
		{"damaged document", attached(named("application/msword", "a.doc"), []byte(ole.Magic)),
			`2 "a.doc", application/msword (is application/x-ole-storage), 8 octets, not scanned: damaged document: the file is damaged: truncated`},
		{"damaged zip", attached(named("application/zip", "a.zip"), zipped(t, "a", "b")[:50]),
			`2 "a.zip", application/zip, 50 octets, not scanned: damaged zip: zip: not a valid zip file`},
		{"rar", attached(named("application/octet-stream", "a.rar"), []byte("Rar!\x1a\x07\x01\x00")),
			`2 "a.rar", application/octet-stream (is application/vnd.rar), 8 octets, not scanned: damaged rar: unexpected EOF`},
		{"uuencode in a text", "Subject: x\r\n\r\nbegin at the start\r\nbegin 644 words\r\nHi\r\n" + uuencoded("run.exe", exe) + "bye\r\n" + uuencoded("b.txt", []byte("hi")),
			"1/words, application/octet-stream, 40 octets, uuencode\n1/run.exe, " + pe + ", 27 octets, uuencode\n1/b.txt, text/plain, 2 octets, uuencode"},
		{"uuencode as encoding", "Content-Type: application/octet-stream; name=a.txt\r\nContent-Transfer-Encoding: x-uuencode\r\n\r\n" + uuencoded("run.exe", exe),
			"1 \"a.txt\", application/octet-stream (is text/plain), 66 octets\n1/run.exe, " + pe + ", 27 octets, uuencode"},
		{"base64 of uuencode(1)", "Subject: x\r\n\r\nbegin-base64 644 run.exe\r\n" + b64(exe) + "====\r\nbye\r\n", "1/run.exe, " + pe + ", 27 octets, uuencode"},
		{"BinHex in a text", "Subject: x\r\n\r\nHi\r\n" + binhexed("run.exe", exe, resource) + "bye\r\n",
			"1/run.exe, " + pe + ", 27 octets, binhex\n" + `1/run.exe (resource fork), text/plain, 10 octets, binhex`},
		{"BinHex as a part", attached("Content-Type: application/mac-binhex40; name=a\r\n", []byte(binhexed("run.exe", exe, nil))),
			`2 "a", application/mac-binhex40 (is text/plain)` + "\n2/run.exe, " + pe + ", 27 octets, binhex"},
		{"damaged BinHex", "Subject: x\r\n\r\n" + strings.Replace(binhexed("run.exe", exe, nil), ":", ":!!", 1), ""},
		{"hidden behind damage", "Subject: x\r\n\r\n" + strings.Repeat(binHexIntro+"\r\n:!!!!!!!!\r\n", 60) + uuencoded("run.exe", exe) + binhexed("b.exe", exe, nil),
			"1/run.exe, " + pe + ", 27 octets, uuencode\n1/b.exe, " + pe + ", 27 octets, binhex"},
		{"winmail.dat", attached(named("application/ms-tnef", "winmail.dat"), tnefed(tnefFileOf{"REPORT~1.EXE", "Report of März.exe", exe}, tnefFileOf{"B.TXT", "b.txt", []byte("hi")})),
			`2 "winmail.dat", application/ms-tnef` + "\n2/Report of März.exe, " + pe + ", 27 octets, tnef\n2/b.txt, text/plain, 2 octets, tnef"},
		{"message in winmail.dat", attached(named("application/ms-tnef", "winmail.dat"), tnefed(tnefFileOf{"m", "m", tnefed(tnefFileOf{"r", "run.exe", exe})})),
			`2 "winmail.dat", application/ms-tnef` + "\n2/m, application/ms-tnef, tnef\n2/m/run.exe, " + pe + ", 27 octets, tnef, several-names"},
		{"short names in Big5", attached(named("application/ms-tnef", "winmail.dat"), tnefIn(950, tnefFileOf{"\xb3\xf8\xa7i.exe", "", exe})),
			`2 "winmail.dat", application/ms-tnef` + "\n2/報告.exe, " + pe + ", 27 octets, tnef"},
		{"short names in Cyrillic", attached(named("application/ms-tnef", "winmail.dat"), tnefIn(1251, tnefFileOf{"\xee\xf2\xf7\xe5\xf2.exe", "", exe})),
			`2 "winmail.dat", application/ms-tnef` + "\n2/отчет.exe, " + pe + ", 27 octets, tnef"},
		{"short names in Shift_JIS", attached(named("application/ms-tnef", "winmail.dat"), tnefIn(932, tnefFileOf{"\x95\xf1\x8d\x90.exe", "", exe})),
			`2 "winmail.dat", application/ms-tnef` + "\n2/報告.exe, " + pe + ", 27 octets, tnef"},
		{"short names in a DOS code page", attached(named("application/ms-tnef", "winmail.dat"), tnefIn(866, tnefFileOf{"\xae\xe2.exe", "", exe})),
			`2 "winmail.dat", application/ms-tnef` + "\n2/от.exe, " + pe + ", 27 octets, tnef"},
		{"empty files in winmail.dat", attached(named("application/ms-tnef", "winmail.dat"), tnefIn(1252, tnefFileOf{"a.txt", "", nil}, tnefFileOf{"b.txt", "b.txt", nil})),
			`2 "winmail.dat", application/ms-tnef` + "\n2/a.txt, text/plain, 0 octets, tnef\n2/b.txt, text/plain, 0 octets, tnef"},
		{"an encoded multipart", "Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
			b64([]byte("--b\r\n"+named("application/octet-stream", "run.exe")+"\r\n"+string(exe)+"\r\n--b--\r\n")),
			"1, multipart/mixed\n1.1 \"run.exe\", application/octet-stream (is " + pe + "), 27 octets"},
		{"an encoded multipart without parts", "Content-Type: multipart/mixed\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nHi\r\n",
			"1, multipart/mixed, 4 octets, not scanned: a multipart without a boundary\nmessage, message/rfc822, 82 octets, not scanned: a multipart without a boundary"},
		{"an unknown encoding of a multipart", "Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: x-odd\r\n\r\nHi\r\n",
			`1, multipart/mixed, 4 octets, not scanned: unknown transfer encoding "x-odd"`},
		{"a multipart that is said to be encoded", "Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: base64\r\n\r\n--b\r\n" +
			named("text/plain", "a.txt") + "\r\nHi\r\n--b--\r\n",
			"1 \"a.txt\", text/plain, 2 octets\nmessage, multipart/mixed, 95 octets, not scanned: a multipart with a transfer encoding, which only some readers decode"},
		{"no semicolons", "Content-Type: multipart/mixed boundary=b\r\n\r\n--b\r\nContent-Type: text/plain name=\"a.txt\"\r\nContent-Disposition: attachment filename=\"run.exe\"\r\n\r\n" + string(exe) + "\r\n--b--\r\n",
			"1 \"run.exe\", text/plain (is " + pe + "), 27 octets, type-mismatch, several-names"},
		{"a name in UTF-7", attached(named("text/plain", "=?utf-7?q?run+AC4-exe?="), exe), `2 "run.exe", text/plain (is ` + pe + `), 27 octets, several-names`},
		{"a 7z", attached(named("application/x-7z-compressed", "a.7z"), archived(t, "lzma2.7z")),
			"2 \"a.7z\", application/x-7z-compressed\n2/empty.txt, text/plain, 0 octets, 7z\n2/a.txt, text/plain, 6 octets, 7z\n2/run.exe \"dir/run.exe\", " + pe + ", 27 octets, 7z"},
		{"an encrypted 7z", attached(named("application/x-7z-compressed", "a.7z"), archived(t, "names-encrypted.7z")),
			`2 "a.7z", application/x-7z-compressed, encrypted, not scanned: encrypted`},
		{"a 7z with encrypted files", attached(named("application/x-7z-compressed", "a.7z"), archived(t, "content-encrypted.7z")),
			"2 \"a.7z\", application/x-7z-compressed, encrypted\n2/a.txt, application/octet-stream, 6 octets, 7z, encrypted, not scanned: encrypted\n" +
				"2/run.exe \"dir/run.exe\", application/octet-stream, 27 octets, 7z, encrypted, not scanned: encrypted"},
		{"a rar", attached(named("application/vnd.rar", "a.rar"), archivetest.RAR5(archivetest.File{Name: "run.exe", Data: exe})),
			"2 \"a.rar\", application/vnd.rar, 77 octets\n2/run.exe, " + pe + ", 27 octets, rar"},
		{"a rar before version 5", attached(named("application/vnd.rar", "a.rar"), archivetest.RAR4(archivetest.File{Name: "run.exe", Data: exe})),
			"2 \"a.rar\", application/vnd.rar, 93 octets\n2/run.exe, application/octet-stream, 27 octets, rar, not scanned: compressed in a RAR format before version 5"},
		{"a tar.xz", attached(named("application/x-xz", "t.txz"), archived(t, "t.tar.xz")),
			"2 \"t.txz\", application/x-xz\n2/t.tar, application/x-tar, xz\n2/t.tar/a.txt, text/plain, 6 octets, tar\n2/t.tar/run.exe \"dir/run.exe\", " + pe + ", 27 octets, tar\n2/t.tar/empty.txt, text/plain, 0 octets, tar"},
		{"a tar.zst", attached(named("application/zstd", "t.tar.zst"), archived(t, "t.tar.zst")),
			"2 \"t.tar.zst\", application/zstd\n2/t.tar, application/x-tar, zstd\n2/t.tar/a.txt, text/plain, 6 octets, tar\n2/t.tar/run.exe \"dir/run.exe\", " + pe + ", 27 octets, tar\n2/t.tar/empty.txt, text/plain, 0 octets, tar"},
		{"a cabinet", attached(named("application/octet-stream", "a.cab"), archived(t, "a.cab")),
			"2 \"a.cab\", application/octet-stream (is application/vnd.ms-cab-compressed), not scanned: only the list of files was read\n" +
				"2/a.txt, application/octet-stream, 6 octets, cab, not scanned: only the list of files was read\n" +
				"2/run.exe \"dir\\\\run.exe\", application/octet-stream, 27 octets, cab, not scanned: only the list of files was read"},
		{"an image", attached(named("application/octet-stream", "a.img"), image()),
			"2 \"a.img\", application/octet-stream (is application/x-iso9660-image)\n2/RUN.EXE, " + pe + ", 27 octets, iso"},
		{"message", "Content-Type: message/rfc822\r\n\r\n" + attached(named("text/plain", "a.exe"), exe),
			"1, message/rfc822\n" + `1.2 "a.exe", text/plain (is ` + pe + `), 27 octets`},
		{"two encodings", "Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\nContent-Transfer-Encoding: 7bit\r\n\r\nTVqQ\r\n",
			"1, image/png (is " + pe + "), 3 octets, type-mismatch, not scanned: two Content-Transfer-Encoding fields, of which readers use different ones"},
		{"no boundary", "Content-Type: multipart/mixed\r\n\r\n--x\r\n\r\nx\r\n",
			"message, message/rfc822, 43 octets, not scanned: a multipart without a boundary"},
		{"in a signature", attached(named("application/pkcs7-mime", "smime.p7m"), wrappedCMS(t, attached(named("text/plain", "run.exe"), exe))),
			"2 \"smime.p7m\", application/pkcs7-mime\n2/1.1, text/plain, 9 octets\n2/1.2 \"run.exe\", text/plain (is " + pe + "), 27 octets"},
		{"encoded message", "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n" + b64([]byte(attached(named("text/plain", "run.exe"), exe))),
			"1/1.1, text/plain, 9 octets\n1/1.2 \"run.exe\", text/plain (is " + pe + "), 27 octets"},
		{"message in a zip", attached(named("application/zip", "a.zip"), zipped(t, "mail.eml", attached(named("text/plain", "run.exe"), exe))),
			"2 \"a.zip\", application/zip\n2/mail.eml, text/plain, zip\n2/mail.eml/1.1, text/plain, 9 octets\n2/mail.eml/1.2 \"run.exe\", text/plain (is " + pe + "), 27 octets"},
		{"encrypted mail", attached(named("application/pkcs7-mime", "smime.p7m"), sealed(t)), `2 "smime.p7m", application/pkcs7-mime, encrypted, not scanned: encrypted`},
		{"unknown encoding", "Content-Type: image/png; name=a.png\r\nContent-Transfer-Encoding: x-odd\r\n\r\nx\r\n",
			`1 "a.png", image/png (is application/octet-stream), 3 octets, not scanned: unknown transfer encoding "x-odd"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := short(list(t, c.msg, Limits{})); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestBombs(t *testing.T) {
	zeros := string(make([]byte, 6<<20))
	packed := zipped(t, "a", zeros)
	many := make([]string, 0, 6000)
	for i := range 3000 {
		many = append(many, strings.Repeat("x", i%50)+"f", "")
	}
	for _, c := range []struct {
		name string
		data []byte
		l    Limits
		want string
	}{
		{"ratio of a zip", packed, Limits{}, errRatio.Error()},
		{"ratio of a gzip", gzipped(t, "a", []byte(zeros)), Limits{}, errRatio.Error()},
		{"ratio of a bzip2", bzip2Zeros, Limits{}, errRatio.Error()},
		{"size", packed, Limits{Size: 1 << 20, Ratio: 1 << 40}, errSize.Error()},
		{"size in all", zipped(t, "a", zeros[:1<<20], "b", zeros[:1<<20], "c", zeros[:1<<20]), Limits{Size: 2 << 20, Ratio: 1 << 40}, errSize.Error()},
		{"files", zipped(t, many...), Limits{}, errFiles.Error()},
		{"files in a tar", gzipped(t, "a", tarred(t, many...)), Limits{Ratio: 1 << 40}, errFiles.Error()},
		{"large directory", zipped(t, append(many, strings.Repeat("y", 60_000), "", strings.Repeat("z", 60_000), "")...), Limits{Files: 10}, errFiles.Error()},
	} {
		t.Run(c.name, func(t *testing.T) {
			items := list(t, attached(named("application/octet-stream", "a"), c.data), c.l)
			said := false
			for _, it := range items {
				said = said || strings.Contains(it.Unread, c.want)
			}
			if !said {
				t.Errorf("nothing said %q; %d items, the last %v", c.want, len(items), items[len(items)-1])
			}
			if l := c.l.withDefaults(); len(items) > l.Files {
				t.Errorf("%d items", len(items))
			}
		})
	}
}

func TestEncryptedZip(t *testing.T) {
	z := zipped(t, "secret.exe", "x")
	for _, sig := range []string{"PK\x03\x04", "PK\x01\x02"} { // flags in the local header and in the directory
		i := bytes.Index(z, []byte(sig)) + 6
		if sig == "PK\x01\x02" {
			i += 2
		}
		z[i] |= 1
	}
	items := list(t, attached(named("application/zip", "a.zip"), z), Limits{})
	if len(items) != 3 || !items[1].Encrypted || !items[2].Encrypted || items[2].Name != "secret.exe" {
		t.Errorf("%v", items)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	msg := attached(named("text/plain", "a"), exe)
	if _, err := List(ctx, mail.Bytes(msg), int64(len(msg)), Limits{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestExtension(t *testing.T) {
	for in, want := range map[string]string{
		"a.exe": "exe", "a.EXE. .": "exe", "a.exe::$DATA": "exe", "a": "", "a\uff0eexe": "exe", "a.e\u200bxe": "exe",
		"C:\\x\\a.bat": "bat", "../a.sh": "sh", "a.txt\u2024exe": "exe", "a.\x00exe": "exe", "a.exe\u00a0": "exe",
	} {
		if got := Extension(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func FuzzList(f *testing.F) {
	f.Add([]byte(attached(named("application/zip", "a.zip"), zipped(f, "a", "b"))))
	f.Add([]byte(attached(named("application/msword", "a.doc"), oletest.File(oletest.Entry{Name: "Macros", Child: 2}, oletest.Entry{Name: "VBA", Data: []byte("x")}))))
	f.Add([]byte("Subject: x\r\n\r\n" + uuencoded("a", exe) + binhexed("b", exe, exe)))
	f.Fuzz(func(t *testing.T, b []byte) { fuzzList(t, b) })
}

// fuzzScan returns a scan with little memory and content, so that inputs that
// need much of them do not slow fuzzing down, or nil for an input that is too
// large. done closes it.
func fuzzScan(t *testing.T, input int) (s *scan, done func()) {
	if input > 64<<10 {
		return nil, nil
	}
	budget := memory.New(12 << 20)
	s = newScan(context.Background(), Limits{Size: 256 << 10, Files: 100})
	s.memory, s.listed = budget.Share(0), budget.Share(0)
	return s, func() {
		s.close()
		if n := budget.Used(); n != 0 {
			t.Fatalf("%d octets of memory were not returned", n)
		}
	}
}

func fuzzList(t *testing.T, b []byte) {
	s, done := fuzzScan(t, len(b))
	if s == nil {
		return
	}
	defer done()
	if _, err := s.listMessage(bytes.NewReader(b), int64(len(b))); err != nil {
		t.Fatal(err)
	}
}

// FuzzContent calls the decoders directly.
func FuzzContent(f *testing.F) {
	for _, b := range [][]byte{zipped(f, "a", "b"), gzipped(f, "a", exe), bzip2Exe, oletest.File(oletest.Entry{Name: "VBA", Data: []byte("x")}), tarred(f, "a", "b"), []byte(binhexed("a", exe, exe)),
		tnefed(tnefFileOf{"a", "b", exe}, tnefFileOf{"m", "m", tnefed(tnefFileOf{"r", "r", exe})}), tnefIn(950, tnefFileOf{"\xb3\xf8", "", nil}),
		archived(f, "default.7z"), archived(f, "t.tar.xz"), archived(f, "a.cab"), image(), []byte(uuencoded("a", exe)), wrappedCMS(f, "x")} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, done := fuzzScan(t, len(b))
		if s == nil {
			return
		}
		defer done()
		if err := s.content(place{path: "1", via: "mime"}, nil, "", bytes.NewReader(b)); err != nil {
			t.Fatal(err)
		}
	})
}
