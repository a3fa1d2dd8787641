package summary

import (
	"bytes"
	"strings"
	"testing"
	"time"

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

const sample = "Date: Thu, 15 Feb 2007 01:02:03 +0200\n" +
	"From: =?utf-8?q?J=C3=BCrgen?= <j.m@example.org>, second@example.org\n" +
	"To: Group: one@example.org, Two <two@example.org>;\n" +
	"Cc: three@example.org\nBcc: four@example.org\n" +
	"Subject: Re: [list] =?utf-8?q?Gr=C3=BC=C3=9Fe?=\n" +
	"Message-ID: <id@example.org>\nReferences: <1@x> junk <2@x>\nIn-Reply-To: <3@x>\n\nhello\n  world\n"

// TestTexts compares each text of a summary by name.
func TestTexts(t *testing.T) {
	s := OfMessage(mime.WalkBytes([]byte(sample)), strings.NewReader(sample), nil)
	tests := []struct {
		name string
		text Text
		want string
	}{
		{"Body", Body, `("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 16 2)`},
		{"Preview", Preview, "hello world"},
		{"Subject", Subject, "GRU\u0308SSE"},
		{"MailFrom", MailFrom, "J.M"},
		{"MailTo", MailTo, "GROUP"},
		{"MailCc", MailCc, "THREE"},
		{"ShowFrom", ShowFrom, "JU\u0308RGEN"},
		{"ShowTo", ShowTo, "GROUP"},
		{"MessageID", MessageID, "id@example.org"},
		{"FindSubject", FindSubject, "re: [list] gru\u0308ße"},
		{"FindCc", FindCc, "three@example.org"},
		{"FindBcc", FindBcc, "four@example.org"},
	}
	for _, tc := range tests {
		got := string(s.Text(tc.text))
		if tc.text == Subject {
			got = strings.ReplaceAll(got, "ß", "SS") // ToUpper does not change it
		}
		if !strings.EqualFold(got, tc.want) {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
	if got := string(s.References()); got != "1@x\n2@x" {
		t.Errorf("references %q", got)
	}
	if !s.Reply() || !s.Dated() || !s.Whole() {
		t.Errorf("reply %v, dated %v, whole %v", s.Reply(), s.Dated(), s.Whole())
	}
	for _, contains := range []string{`"Thu, 15 Feb 2007 01:02:03 +0200"`, `"<id@example.org>"`, `"<3@x>"`, `"j.m" "example.org"`} {
		if !bytes.Contains(s.Text(Envelope), []byte(contains)) {
			t.Errorf("the envelope has no %s: %s", contains, s.Text(Envelope))
		}
	}
	if !bytes.HasPrefix(s.Text(Structure), []byte(`("text" "plain"`)) {
		t.Errorf("structure %s", s.Text(Structure))
	}
}

// Sorting and threading use only the first field of a name, but SEARCH uses all
// of them.
func TestRepeatedFields(t *testing.T) {
	s := OfHeader([]byte("Subject: one\nSubject: two\nFrom: a@x\nFrom: b@x\nMessage-ID: <1@x>\nMessage-ID: <2@x>\n\n"))
	for text, want := range map[Text]string{Subject: "ONE", MailFrom: "A", MessageID: "1@x", FindSubject: "one\ntwo", FindFrom: "a@x\nb@x"} {
		if got := string(s.Text(text)); got != want {
			t.Errorf("%d: got %q, want %q", text, got, want)
		}
	}
}

func TestSent(t *testing.T) {
	internal := time.Date(2020, 5, 6, 7, 8, 9, 0, time.UTC)
	day := func(y int, m time.Month, d int) int64 { return time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / 86400 }
	tests := []struct {
		field string
		unix  int64
		day   int64
		dated bool
	}{
		{"Date: Thu, 15 Feb 2007 01:02:03 +0200\n", 1171494123, day(2007, 2, 15), true},
		{"Date: Thu, 15 Feb 2007 23:30:00 -0800\n", 1171611000, day(2007, 2, 15), true},
		{"Date: Sat, 1 Jan 1900 00:00:00 +0000\n", -2208988800, day(1900, 1, 1), true},
		{"Date: yesterday\n", internal.Unix(), day(2020, 5, 6), false},
		{"", internal.Unix(), day(2020, 5, 6), false},
	}
	for _, tc := range tests {
		s := OfHeader([]byte(tc.field + "\n"))
		unix, onDay := s.Sent(internal)
		if unix != tc.unix || onDay != tc.day || s.Dated() != tc.dated {
			t.Errorf("%q: %d, day %d, %v; want %d, day %d", tc.field, unix, onDay, s.Dated(), tc.unix, tc.day)
		}
	}
}

func TestDay(t *testing.T) {
	east := time.FixedZone("", 10*3600)
	tests := []struct {
		t    time.Time
		want int64
	}{
		{time.Unix(0, 0).UTC(), 0},
		{time.Unix(86399, 0).UTC(), 0},
		{time.Unix(86400, 0).UTC(), 1},
		{time.Unix(-1, 0).UTC(), -1},
		{time.Unix(-86400, 0).UTC(), -1},
		{time.Unix(-86401, 0).UTC(), -2},
		{time.Unix(14*3600, 0).In(east), 1},
		{time.Unix(14*3600-1, 0).In(east), 0},
	}
	for _, tc := range tests {
		if got := Day(tc.t); got != tc.want {
			t.Errorf("%v: got %d, want %d", tc.t, got, tc.want)
		}
	}
}

func TestRoot(t *testing.T) {
	for header, want := range map[string]string{
		"": "", "Message-ID: <1@x>\n": "1@x", "Message-ID: <1@x>\nReferences: <0@x> <2@x>\n": "0@x", "Message-ID: <1@x>\nIn-Reply-To: <5@x> <6@x>\n": "5@x",
		"References:\nIn-Reply-To: <5@x>\n": "5@x",
	} {
		if got := OfHeader([]byte(header + "\n")).Root(); got != want {
			t.Errorf("%q: got %q, want %q", header, got, want)
		}
	}
}

func TestFirstAddress(t *testing.T) {
	tests := []struct{ in, local, show string }{
		{"ann@example.org", "ANN", "ANN@EXAMPLE.ORG"},
		{"Ann <a@example.org>", "A", "ANN"},
		{`"Ann, B." <a@example.org>, c@x`, "A", "ANN, B."},
		{"=?utf-8?q?J=C3=BC?= <j@x>", "J", "JU\u0308"},
		{"Team: a@x, b@x;", "TEAM", "TEAM"},
		{"", "", ""},
	}
	for _, tc := range tests {
		local, show := firstAddress(tc.in)
		if local != tc.local || show != tc.show {
			t.Errorf("%q: got %q %q, want %q %q", tc.in, local, show, tc.local, tc.show)
		}
	}
}

func TestNormalID(t *testing.T) {
	for in, want := range map[string]string{"a@b": "a@b", `"a b"@c`: "ab@c", `"a\"b"@c`: `a"b@c`, " a@b ": "a@b", `a\`: "a"} {
		if got := normalID(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// Damaged octets, and octets of another version, are not accepted as a summary.
func TestValid(t *testing.T) {
	good := OfHeader([]byte("Subject: x\n\n"))
	change := func(at int, to byte) Summary {
		s := append(Summary{}, good...)
		s[at] = to
		return s
	}
	tests := []struct {
		name string
		s    Summary
		want bool
	}{
		{"good", good, true},
		{"empty", nil, false},
		{"short", good[:head-1], false},
		{"cut", good[:len(good)-1], false},
		{"another version", change(0, version+1), false},
		{"an offset before the texts", change(1, 0), false},
		{"an offset beyond the end", change(4, 0xff), false},
		{"descending offsets", change(1, good[1]+200), false},
	}
	for _, tc := range tests {
		if got := tc.s.Valid(); got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
	}
}

func TestStripTags(t *testing.T) {
	for in, want := range map[string]string{
		"a<b>c</b>": "a c ", "<p>x": " x", "a < b": "a  ", "<HEAD><title>t</title></HEAD>x": " x", "<script>a<b</script>y": " y",
		"a&amp;&lt;b": "a&<b", "<!-- c -->x": " x", "<style": " ", "<header>x": " x", "plain": "plain",
	} {
		if got := stripTags(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestSqueeze(t *testing.T) {
	tests := []struct {
		in    string
		limit int
		want  string
	}{
		{"  a \r\n\t b  ", 10, "a b"}, {"abc", 2, "ab"}, {"ä ö", 3, "ä ö"}, {"a\x00\x1b\xffb", 10, "ab"}, {"", 5, ""}, {"a b", 2, "a"},
	}
	for _, tc := range tests {
		if got := squeeze(tc.in, tc.limit); got != tc.want {
			t.Errorf("%q: got %q, want %q", tc.in, got, tc.want)
		}
	}
}

// headerOf returns a message's header, including the empty line.
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
