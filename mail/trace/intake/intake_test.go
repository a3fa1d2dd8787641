package intake

import (
	"bytes"
	"fmt"
	"mime/quotedprintable"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"hoplite/mail"
	"hoplite/mail/ole/oletest"
	"hoplite/mail/trace"
)

func clean(t testing.TB) string {
	t.Helper()
	raw, err := os.ReadFile("../testdata/received/synthetic/clean-4hops.eml")
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(raw), "\r\n", "\n")
}

// TestRepairs damages a message in the usual ways and expects the same trace
// each time.
func TestRepairs(t *testing.T) {
	msg := clean(t)
	head, _, _ := strings.Cut(msg, "\n\n")
	want := trace.Read([]byte(msg), trace.Options{}).Verdict()
	each := func(f func(string) string) string {
		lines := strings.Split(head, "\n")
		for i := range lines {
			lines[i] = f(lines[i])
		}
		return strings.Join(lines, "\n")
	}
	var qp bytes.Buffer
	w := quotedprintable.NewWriter(&qp)
	fmt.Fprint(w, msg)
	w.Close()
	for _, c := range []struct{ name, in, repair string }{
		{"as it is", msg, ""},
		{"header only", head, ""},
		{"CRLF", strings.ReplaceAll(msg, "\n", "\r\n"), ""},
		{"CR only", strings.ReplaceAll(msg, "\n", "\r"), "Mac"},
		{"lost folding", each(strings.TrimSpace), "folding"},
		{"mbox", "From alice@source.example Tue May 12 08:30:06 2026\n" + msg, "mbox"},
		{"mbox of two", "From a Tue May 12 08:30:06 2026\n" + msg + "\nFrom b Tue May 12 08:30:06 2026\n" + msg, "several"},
		{"quoted", each(func(l string) string { return "> " + l }), "quote"},
		{"quoted twice", each(func(l string) string { return "> > " + l }), "quote"},
		{"indented", each(func(l string) string { return "    " + l }), "indentation"},
		{"empty lines on top", "\n\r\n" + msg, "empty lines"},
		{"double spaced", strings.ReplaceAll(strings.Join(strings.Fields(strings.ReplaceAll(strings.ReplaceAll(head, "\n\t", "~"), " ", "^")), "\n\n"), "^", " "), "between"},
		{"quoted-printable", qp.String(), "quoted-printable"},
		{"byte order mark", "\xef\xbb\xbf" + msg, "byte order"},
		{"UTF-16", string(utf16le(msg, true)), "UTF-16"},
		{"UTF-16 without a mark", string(utf16le(msg, false)), "UTF-16"},
		{"HTML", strings.NewReplacer("<", "&lt;", ">", "&gt;").Replace(head), "HTML"},
		{"Outlook", string(msgFile(head)), "Outlook"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in, err := Read(t.Context(), []byte(strings.ReplaceAll(c.in, "~", " ")))
			if err != nil {
				t.Fatal(err)
			}
			tr := trace.Read(in.Head, trace.Options{})
			if got := tr.Verdict(); got != want {
				t.Errorf("got %s\nwant %s\n%s", got, want, in.Head)
			}
			said := strings.Join(in.Repairs, "; ")
			if c.repair == "" && said != "" || !strings.Contains(said, c.repair) {
				t.Errorf("repairs %q, want %q", said, c.repair)
			}
		})
	}
	for _, bad := range []string{"", "hello", "\n\n", "no header here\nat all\n", string(oleMagic), "\xff\xfe"} {
		if _, err := Read(t.Context(), []byte(bad)); err == nil {
			t.Errorf("%q was taken for a message", bad)
		}
	}
}

func utf16le(s string, mark bool) []byte {
	var b []byte
	if mark {
		b = []byte{0xff, 0xfe}
	}
	for _, u := range utf16.Encode([]rune(s)) {
		b = append(b, byte(u), byte(u>>8))
	}
	return b
}

// TestOutlookFiles compares Outlook files with the output of
// Email::Outlook::Message.
func TestOutlookFiles(t *testing.T) {
	for _, name := range []string{"charset", "gpg_signed", "plain_jpeg_attached"} {
		t.Run(name, func(t *testing.T) {
			in := file(t, name+".msg")
			other := file(t, name+".eml")
			for _, field := range []string{"Received", "Date", "Message-ID", "X-Originating-IP"} {
				got, want := values(in.Head, field), values(other.Head, field)
				if !slices.Equal(got, want) {
					t.Errorf("%s: got %q, want %q", field, got, want)
				}
			}
			if tr := trace.Read(in.Head, trace.Options{}); len(tr.Steps) == 0 || tr.Origin == nil {
				t.Errorf("%d hops", len(tr.Steps))
			}
		})
	}
	for _, name := range []string{"plain_unsent", "plain_uc_unsent"} {
		raw, err := os.ReadFile("testdata/msg/" + name + ".msg")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Read(t.Context(), raw); err == nil || !strings.Contains(err.Error(), "has no Internet headers") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func file(t *testing.T, name string) *Input {
	t.Helper()
	raw, err := os.ReadFile("testdata/msg/" + name)
	if err != nil {
		t.Fatal(err)
	}
	in, err := Read(t.Context(), raw)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// values returns the values of all fields with that name, with white space
// collapsed.
func values(head []byte, name string) (list []string) {
	for f := range mail.Fields(head) {
		if f.Is(name) {
			list = append(list, strings.Join(strings.Fields(string(f.Value())), " "))
		}
	}
	return list
}

// msgFile returns an Outlook message that contains only the headers property.
func msgFile(head string) []byte {
	text := utf16le(strings.ReplaceAll("Microsoft Mail Internet Headers Version 2.0\n"+head, "\n", "\r\n"), false)
	return oletest.File(oletest.Entry{Name: "__substg1.0_007D001F", Data: text})
}

// TestRepeatedProperty checks that a long stream with many directory entries is
// read only once.
func TestRepeatedProperty(t *testing.T) {
	const name, times = "__substg1.0_007D001F", 800
	text := utf16le("Received: from a.example by b.example; Tue, 12 May 2026 08:30:05 +0000\r\n"+strings.Repeat("X: y\r\n", 200_000), false)
	list := []oletest.Entry{{Name: name, Data: text, Next: 2}}
	for i := range times {
		list = append(list, oletest.Entry{Name: name, Data: []byte{}, Next: (i + 3) % (times + 2)})
	}
	b := oletest.File(list...)
	dir := bytes.Index(b, utf16le(name, false))
	for i := range times { // all refer to the first
		copy(b[dir+128*(i+1)+116:][:8], b[dir+116:][:8])
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	in, err := Read(t.Context(), b)
	if err != nil || !bytes.Contains(in.Head, []byte("b.example")) {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 200<<20 {
		t.Errorf("%d MiB for a file of %d", used>>20, len(b)>>20)
	}
}

const report = `Return-Path: <>
From: MAILER-DAEMON@mx.a.example (Mail Delivery System)
To: ann@a.example
Subject: Undelivered Mail Returned to Sender
Content-Type: multipart/report; report-type=delivery-status; boundary="B"

--B
Content-Type: text/plain

I am sorry.
--B
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.a.example
Arrival-Date: Tue, 12 May 2026 08:30:06 +0000 (UTC)

Final-Recipient: rfc822; bob@b.example
Action: failed
Status: 5.1.1
Remote-MTA: dns; mx.b.example
Diagnostic-Code: smtp; 550 5.1.1 <bob@b.example>: user unknown

--B
Content-Type: text/rfc822-headers

Received: from pc.a.example ([192.0.2.3]) by mx.a.example with ESMTPSA; Tue, 12 May 2026 08:30:05 +0000
From: ann@a.example
To: bob@b.example
Subject: hello

--B--
`

func TestBounce(t *testing.T) {
	for _, c := range []struct{ name, in, rcpt, status string }{
		{"standard", report, "bob@b.example", "5.1.1"},
		{"qmail", "Return-Path: <>\nFrom: MAILER-DAEMON@a.example\n\nHi. This is the qmail-send program at a.example.\n\n<bob@b.example>:\n192.0.2.9 does not like recipient.\nRemote host said: 550 5.7.1 relaying denied\nGiving up.\n\n--- Below this line is a copy of the message.\n\nReturn-Path: <ann@a.example>\nReceived: (qmail 1 invoked by uid 3); 12 May 2026 08:30:05 -0000\nFrom: ann@a.example\n", "bob@b.example", "5.7.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in, err := Read(t.Context(), []byte(c.in))
			if err != nil || in.Bounce == nil || len(in.Bounce.Recipients) != 1 {
				t.Fatalf("%v %+v", err, in)
			}
			f := in.Bounce.Recipients[0]
			if f.Rcpt != c.rcpt || f.Status != c.status || len(f.Meanings()) == 0 {
				t.Errorf("%+v", f)
			}
			if tr := trace.Read(in.Bounce.Original, trace.Options{}); len(tr.Steps) != 1 {
				t.Errorf("original: %q", in.Bounce.Original)
			}
		})
	}
	if in, err := Read(t.Context(), []byte(clean(t))); err != nil || in.Bounce != nil {
		t.Errorf("an ordinary message is a bounce: %+v %v", in, err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(clean(f)))
	f.Add([]byte(report))
	f.Add(msgFile("Received: from a by b; Tue, 12 May 2026 08:30:05 +0000\nFrom: a@b.example"))
	f.Add(utf16le("From: a@b.example\n\nx", true))
	f.Add([]byte("From x\nA: =3D=\n b\n\nFrom y\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		in, err := Read(t.Context(), b)
		if err != nil {
			return
		}
		if len(in.Head) == 0 {
			t.Fatal("no error and no header")
		}
		trace.Read(in.Head, trace.Options{})
	})
}
