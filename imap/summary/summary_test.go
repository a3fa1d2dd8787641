package summary

import (
	"bytes"
	"strings"
	"testing"

	"hoplite/mail/mime"
)

func TestBaseSubject(t *testing.T) {
	tests := []struct {
		in, want string
		reply    bool
	}{
		{"hello", "hello", false},
		{"Re: hello", "hello", true},
		{"re[2]: Fwd: [list] hello (fwd)", "hello", true},
		{"[list] Re: hello", "hello", true},
		{"[list]", "[list]", false},
		{"[fwd: Re: hello]", "hello", true},
		{"Re: [fwd: hello] (fwd)", "hello", true},
		{"  a \t b  ", "a b", false},
		{"Re:", "", true},
		{"Regarding: x", "Regarding: x", false},
		{"fw : x", "x", true},
		{"", "", false},
	}
	for _, tc := range tests {
		if got, reply := baseSubject(tc.in); got != tc.want || reply != tc.reply {
			t.Errorf("%q: got %q %v, want %q %v", tc.in, got, reply, tc.want, tc.reply)
		}
	}
}

func TestMessageIDs(t *testing.T) {
	tests := []struct{ in, want string }{
		{"<a@b> <c@d>", "a@b c@d"},
		{"junk <a@b>junk<c@d", "a@b"},
		{`<"a b"@c>`, "ab@c"},
		{"<<a@b>>", "a@b"},
		{"none", ""},
		{strings.Repeat("<a@b>", 1000), strings.TrimSpace(strings.Repeat("a@b ", maxRefs))},
	}
	for _, tc := range tests {
		if got := strings.Join(messageIDs(tc.in), " "); got != tc.want {
			t.Errorf("%.40q: got %q, want %q", tc.in, got, tc.want)
		}
	}
}

func TestParseDate(t *testing.T) {
	tests := []struct {
		in   string
		unix int64
		ok   bool
	}{
		{"Thu, 15 Feb 2007 01:02:03 +0200", 1171494123, true},
		{"15 Feb 2007 01:02 +0200 (EET)", 1171494120, true},
		{"Thu, 15 Feb 07 01:02:03 +0200", 1171494123, true},
		{"Thu, 15 Feb 2007 01:02:03", 1171501323, true},
		{"Thu Feb 15 01:02:03 2007", 1171501323, true},
		{"yesterday", 0, false},
		{"", 0, false},
	}
	for _, tc := range tests {
		got, ok := parseDate(tc.in)
		if ok != tc.ok || ok && got.Unix() != tc.unix {
			t.Errorf("%q: got %v %v, want %d", tc.in, got, ok, tc.unix)
		}
	}
}

func TestPreviewText(t *testing.T) {
	tests := []struct{ name, msg, want string }{
		{"plain", "\nhello\n  world\n", "hello world"},
		{"html", "Content-Type: text/html\n\n<html><head><style>x</style></head><body><p>a&amp;b</p> <script>y</script>c", "a&b c"},
		{"plain goes before html", "Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/html\n\n<p>h</p>\n--b\n\np\n--b--\n", "p"},
		{"encoded", "Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\n=E4=00=07\n", "ä"},
		{"long", "\n" + strings.Repeat("ä", 300), strings.Repeat("ä", 200)},
		{"none", "Content-Type: image/png\n\nx", ""},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			if got := preview(strings.NewReader(tc.msg), mime.WalkBytes([]byte(tc.msg))); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// headerOf returns a message's header with the empty line.
func headerOf(msg []byte) []byte {
	for i := 0; i < len(msg); {
		if msg[i] == '\n' {
			return msg[:i+1]
		}
		if bytes.HasPrefix(msg[i:], []byte("\r\n")) {
			return msg[:i+2]
		}
		n := bytes.IndexByte(msg[i:], '\n')
		if n < 0 {
			break
		}
		i += n + 1
	}
	return msg
}

func FuzzSummary(f *testing.F) {
	f.Add([]byte("Subject: Re: [x] y (fwd)\nFrom: a <b@c>\nReferences: <1@x> <2@x>\nDate: Thu, 15 Feb 2007 01:02:03 +0200\n\nhello"))
	f.Fuzz(func(t *testing.T, msg []byte) {
		whole := OfMessage(mime.WalkBytes(msg), bytes.NewReader(msg), nil)
		head := OfHeader(headerOf(msg))
		if !whole.Valid() || !whole.Whole() || !head.Valid() || head.Whole() {
			t.Fatal("not valid")
		}
		for i := range count {
			if i != Body && i != Structure && i != Preview && !bytes.Equal(head.Text(i), whole.Text(i)) {
				t.Errorf("text %d is %q from the header and %q from the message", i, head.Text(i), whole.Text(i))
			}
		}
		if again := OfMessage(mime.WalkBytes(msg), bytes.NewReader(msg), head); !bytes.Equal(again, whole) {
			t.Error("a summary made in two steps differs")
		}
		Summary(msg).Valid()
	})
}

func BenchmarkOfMessage(b *testing.B) {
	msg := []byte("Received: from a by b; Thu, 15 Feb 2007 01:02:03 +0200\n" +
		"From: Ann <ann@example.org>\nTo: Bob <bob@example.org>\nSubject: Re: hello there\nDate: Thu, 15 Feb 2007 01:02:03 +0200\nMessage-ID: <1@x>\nReferences: <0@x>\n" +
		"Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/plain; charset=utf-8\n\n" + strings.Repeat("some words of text\n", 300) +
		"--b\nContent-Type: text/html; charset=utf-8\n\n" + strings.Repeat("<p>some words of text</p>\n", 300) + "--b--\n")
	b.SetBytes(int64(len(msg)))
	b.ReportAllocs()
	for b.Loop() {
		OfMessage(mime.WalkBytes(msg), bytes.NewReader(msg), nil)
	}
}
