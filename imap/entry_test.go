package imap

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"hoplite/mail/mime"
	"hoplite/maildrop"
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

func TestPattern(t *testing.T) {
	tests := []struct {
		pattern, name string
		want          bool
	}{
		{"*", "a.b", true}, {"%", "a.b", false}, {"%", "a", true}, {"a.%", "a.b", true}, {"a.%", "a.b.c", false}, {"a%c", "abc", true},
		{"a*c", "a.b.c", true}, {"%.%", "a.b", true}, {"%.%", "a.b.c", false}, {"%*%", "a.b.c", true}, {"", "", true}, {"", "a", false},
		{"a", "ab", false}, {"ab", "a", false}, {"*a*a*a", "aa", false}, {"ä%", "äö", true},
		{strings.Repeat("%*", 200) + "x", strings.Repeat("a.", 100), false},
		{strings.Repeat("%a", 300), strings.Repeat("a", 240), false},
	}
	for _, tc := range tests {
		if got := newPattern(tc.pattern, ".").match(tc.name); got != tc.want {
			t.Errorf("%.20q of %.20q: got %v", tc.pattern, tc.name, got)
		}
	}
}

func FuzzEntry(f *testing.F) {
	f.Add([]byte("Subject: Re: [x] y (fwd)\nFrom: a <b@c>\nReferences: <1@x> <2@x>\nDate: Thu, 15 Feb 2007 01:02:03 +0200\n\nhello"))
	f.Fuzz(func(t *testing.T, msg []byte) {
		whole := wholeEntry(mime.WalkBytes(msg), bytes.NewReader(msg), nil)
		head := headerEntry(msg[:max(headerEnd(msg), 0)])
		if headerEnd(msg) < 0 {
			head = headerEntry(msg)
		}
		if !whole.valid() || !whole.whole() || !head.valid() || head.whole() {
			t.Fatal("not valid")
		}
		for i := range eCount {
			if i != eBody && i != eStructure && i != ePreview && !bytes.Equal(head.text(i), whole.text(i)) {
				t.Errorf("text %d is %q from the header and %q from the message", i, head.text(i), whole.text(i))
			}
		}
		if again := wholeEntry(mime.WalkBytes(msg), bytes.NewReader(msg), head); !bytes.Equal(again, whole) {
			t.Error("an entry made in two steps is another one")
		}
		entry(msg).valid()
	})
}

func BenchmarkEntry(b *testing.B) {
	text := "From: Ann <ann@example.org>\nTo: Bob <bob@example.org>\nSubject: Re: hello there\nDate: Thu, 15 Feb 2007 01:02:03 +0200\nMessage-ID: <1@x>\nReferences: <0@x>\n" +
		"Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/plain; charset=utf-8\n\n" + strings.Repeat("some words of text\n", 300) +
		"--b\nContent-Type: text/html; charset=utf-8\n\n" + strings.Repeat("<p>some words of text</p>\n", 300) + "--b--\n"
	msg := []byte(fmt.Sprintf("%s%s", "Received: from a by b; Thu, 15 Feb 2007 01:02:03 +0200\n", text))
	b.SetBytes(int64(len(msg)))
	b.ReportAllocs()
	for b.Loop() {
		wholeEntry(mime.WalkBytes(msg), bytes.NewReader(msg), nil)
	}
}

// An entry made of the header alone says what one of the whole message does,
// however long the header is.
func TestHeaderEntry(t *testing.T) {
	long := strings.Repeat("X-Filler: "+strings.Repeat("x", 70)+"\n", 200)
	tests := []struct{ name, msg string }{
		{"short", "Subject: a\n\ntext\n"},
		{"without a body", "Subject: a\nFrom: a@b\n"},
		{"a field behind the first block", long + "Subject: late\nFrom: a@b\n\ntext\n"},
		{"as long as the block", "Subject: a\n" + strings.Repeat("x", 8<<10-12) + "\n"},
		{"too long to be kept", strings.Repeat(long, 80) + "Subject: never seen\n\ntext"},
	}
	d := open(t, Config{}, maildrop.Config{})
	c := d.login(t)
	for _, tc := range tests {
		c.put("INBOX", "", tc.msg)
	}
	c.ok("SELECT INBOX")
	heads := c.ok("FETCH 1:* ENVELOPE")
	for i, l := range c.ok("FETCH 1:* (ENVELOPE BODY PREVIEW)") {
		head := strings.TrimSuffix(heads[i], ")")
		if !strings.HasPrefix(l, head+" BODY (") {
			t.Errorf("%s:\n%s\n%s", tests[i].name, head, l)
		}
	}
}

// Messages of one conversation have one THREADID, which a copy keeps.
func TestThreadID(t *testing.T) {
	tests := []struct{ name, header, thread string }{
		{"root", "Message-ID: <1@x>\n", "a"},
		{"reply", "Message-ID: <2@x>\nIn-Reply-To: <1@x>\n", "a"},
		{"reply to the reply", "Message-ID: <3@x>\nReferences: <1@x> <2@x>\nIn-Reply-To: <2@x>\n", "a"},
		{"other root", "Message-ID: <4@x>\n", "b"},
		{"no id", "Subject: x\n", "c"},
		{"no id either", "Subject: x\n", "d"},
	}
	d := open(t, Config{}, maildrop.Config{})
	c := d.login(t)
	for _, tc := range tests {
		c.put("INBOX", "", tc.header+"\ntext\n")
	}
	c.ok("SELECT INBOX")
	ids := map[string]string{}
	threads := c.ok("FETCH 1:* THREADID")
	for i, tc := range tests {
		_, id, _ := strings.Cut(strings.TrimSuffix(threads[i], "))"), "THREADID (")
		if was, ok := ids[tc.thread]; ok && was != id || len(id) != 33 {
			t.Errorf("%s is in thread %s, not in %s", tc.name, id, was)
		}
		for other, was := range ids {
			if other != tc.thread && was == id {
				t.Errorf("%s is in the thread of others", tc.name)
			}
		}
		ids[tc.thread] = id
	}
	if found := c.ok("SEARCH THREADID %s", ids["a"]); found[0] != "* SEARCH 1 2 3" {
		t.Errorf("SEARCH THREADID: %q", found)
	}
	c.ok("CREATE there")
	c.ok("COPY 1:* there")
	c.ok("SELECT there")
	if copies := c.ok("FETCH 1:* THREADID"); !slices.Equal(copies, threads) {
		t.Errorf("copies: %q, messages: %q", copies, threads)
	}
}
