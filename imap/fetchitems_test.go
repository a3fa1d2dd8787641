package imap

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"hoplite/imap/wire"
	"hoplite/maildrop"
)

const threeParts = "From: Ann <ann@example.org>\nTo: bob@example.org\nSubject: parts\nMessage-ID: <1@x>\n" +
	"Content-Type: multipart/mixed; boundary=b\n\npreamble\n" +
	"--b\nContent-Type: text/plain\n\nfirst\n" +
	"--b\nContent-Type: text/plain\nContent-Transfer-Encoding: base64\n\nc2Vjb25kAA==\n" +
	"--b\nContent-Type: message/rfc822\n\nSubject: inner\nX: y\n\ninside\n\n--b--\n"

// Each row is one FETCH and its response. "…" matches anything.
func TestFetchItems(t *testing.T) {
	tests := []struct{ items, want string }{
		{"UID", "UID 1"},
		{"FLAGS", `FLAGS (\Flagged \Recent $Work)`},
		{"RFC822.SIZE", fmt.Sprintf("RFC822.SIZE %d", len(threeParts)+strings.Count(threeParts, "\n"))},
		{"INTERNALDATE", `INTERNALDATE "…"`},
		{"SAVEDATE", `SAVEDATE "…"`},
		{"MODSEQ", "MODSEQ (…)"},
		{"EMAILID", "EMAILID (M…)"},
		{"THREADID", "THREADID (T…)"},
		{"PREVIEW", `PREVIEW "first"`},
		{"PREVIEW (LAZY)", `PREVIEW "first"`},
		{"ENVELOPE", `ENVELOPE (NIL "parts" (("Ann" NIL "ann" "example.org")) …)`},
		{"BODY", `BODY (("text" "plain" …)`},
		{"BODYSTRUCTURE", `BODYSTRUCTURE (("text" "plain" …)`},
		{"FAST", `FLAGS (…) INTERNALDATE "…" RFC822.SIZE …`},
		{"ALL", `FLAGS (…) INTERNALDATE "…" RFC822.SIZE … ENVELOPE (…)`},
		{"FULL", `FLAGS (…) INTERNALDATE "…" RFC822.SIZE … ENVELOPE (…) BODY (…)`},
		{"(UID FLAGS)", "UID 1 FLAGS (…)"},
		{"(FLAGS UID)", "FLAGS (…) UID 1"},
		{"BODY.PEEK[1]", "BODY[1] {5}\nfirst"},
		{"BODY.PEEK[1]<1.3>", "BODY[1]<1> {3}\nirs"},
		{"BODY.PEEK[1]<4.10>", "BODY[1]<4> {1}\nt"},
		{"BODY.PEEK[1]<5.10>", "BODY[1]<5> {0}\n"},
		{"BODY.PEEK[1]<9223372036854775807.1>", "BODY[1]<9223372036854775807> {0}\n"},
		{"BODY.PEEK[1.MIME]", "BODY[1.MIME] {28}\nContent-Type: text/plain\n\n"},
		{"BODY.PEEK[3.HEADER]", "BODY[3.HEADER] {24}\nSubject: inner\nX: y\n\n"},
		{"BODY.PEEK[3.HEADER.FIELDS (X)]", "BODY[3.HEADER.FIELDS (X)] {8}\nX: y\n\n"},
		{"BODY.PEEK[3.HEADER.FIELDS.NOT (X)]", "BODY[3.HEADER.FIELDS.NOT (X)] {18}\nSubject: inner\n\n"},
		{"BODY.PEEK[3.TEXT]", "BODY[3.TEXT] {8}\ninside\n"},
		{"BODY.PEEK[3.1]", "BODY[3.1] {8}\ninside\n"},
		{"BODY.PEEK[4]", "BODY[4] {0}\n"},
		{"BODY.PEEK[1.1]", "BODY[1.1] {0}\n"},
		{"BODY.PEEK[1.HEADER]", "BODY[1.HEADER] {0}\n"},
		{"BODY.PEEK[HEADER.FIELDS (SUBJECT to)]", "BODY[HEADER.FIELDS (SUBJECT to)] {39}\nTo: bob@example.org\nSubject: parts\n\n"},
		{"BODY.PEEK[HEADER.FIELDS (NONE)]", "BODY[HEADER.FIELDS (NONE)] {2}\n\n"},
		{"BODY.PEEK[HEADER.FIELDS (SUBJECT)]<2.5>", "BODY[HEADER.FIELDS (SUBJECT)]<2> {5}\nbject"},
		{"RFC822.HEADER", "RFC822.HEADER {…}\nFrom: …\n\n"},
		{"BINARY.PEEK[1]", "BINARY[1] {5}\nfirst"},
		{"BINARY.PEEK[2]", "BINARY[2] ~{7}\nsecond\x00"},
		{"BINARY.PEEK[2]<1.3>", "BINARY[2]<1> ~{3}\neco"},
		{"BINARY.PEEK[9]", "BINARY[9] {0}\n"},
		{"BINARY.SIZE[2]", "BINARY.SIZE[2] 7"},
		{"BINARY.SIZE[3]", "BINARY.SIZE[3] 32"},
	}
	d := open(t, Config{}, maildrop.Config{})
	c := d.login(t)
	c.put("INBOX", `\Flagged $Work`, threeParts)
	c.ok("SELECT INBOX")
	for _, tc := range tests {
		got := c.fetch(1, tc.items)
		if !like(got, tc.want) {
			t.Errorf("%s:\ngot  %q\nwant %q", tc.items, got, tc.want)
		}
	}
	if l := c.ok("FETCH 1 FLAGS")[0]; strings.Contains(l, "Seen") {
		t.Errorf("one of the items has set \\Seen: %s", l)
	}
}

// fetch fetches items of one message and returns the response with LF line
// endings.
func (c *client) fetch(n int, items string) string {
	c.t.Helper()
	start := fmt.Sprintf("* %d FETCH (", n)
	untagged := slices.DeleteFunc(c.ok("FETCH %d %s", n, items), func(l string) bool { return strings.HasPrefix(l, "* OK [HIGHESTMODSEQ") })
	text := strings.ReplaceAll(strings.Join(untagged, "\n"), "\r\n", "\n")
	if !strings.HasPrefix(text, start) || !strings.HasSuffix(text, ")") {
		c.t.Fatalf("FETCH %d %s: %q", n, items, text)
	}
	return text[len(start) : len(text)-1]
}

// like reports whether s matches a pattern in which "…" matches anything.
func like(s, pattern string) bool {
	pieces := strings.Split(pattern, "…")
	rest, ok := strings.CutPrefix(s, pieces[0])
	if len(pieces) == 1 || !ok {
		return ok && rest == ""
	}
	last := pieces[len(pieces)-1]
	for _, p := range pieces[1 : len(pieces)-1] {
		i := strings.Index(rest, p)
		if i < 0 {
			return false
		}
		rest = rest[i+len(p):]
	}
	return strings.HasSuffix(rest, last)
}

// Items that read text set \Seen, except with PEEK or after EXAMINE. The FETCH
// that sets \Seen also reports it.
func TestFetchSetsSeen(t *testing.T) {
	tests := []struct {
		items    string
		readOnly bool
		want     bool
	}{
		{"FLAGS", false, false},
		{"ENVELOPE", false, false},
		{"BODYSTRUCTURE", false, false},
		{"RFC822.HEADER", false, false},
		{"BODY.PEEK[]", false, false},
		{"BINARY.PEEK[1]", false, false},
		{"BINARY.SIZE[1]", false, false},
		{"PREVIEW", false, false},
		{"BODY[]", true, false},
		{"BODY[]", false, true},
		{"BODY[HEADER]", false, true},
		{"BODY[1]<0.1>", false, true},
		{"BINARY[1]", false, true},
		{"RFC822", false, true},
		{"RFC822.TEXT", false, true},
		{"(FLAGS BODY[])", false, true},
		{"(UID BODY[])", false, true},
	}
	d := open(t, Config{}, maildrop.Config{})
	c := d.login(t)
	c.put("INBOX", "", "Subject: x\n\ntext\n")
	for _, tc := range tests {
		c.ok("SELECT INBOX")
		c.ok(`STORE 1 -FLAGS.SILENT (\Seen)`)
		if tc.readOnly {
			c.ok("EXAMINE INBOX")
		}
		got := c.fetch(1, tc.items)
		if shown := strings.Contains(got, `\Seen`); shown != tc.want {
			t.Errorf("%s: %q", tc.items, got)
		}
		if strings.HasPrefix(tc.items, "(UID") && !strings.HasPrefix(got, "UID 1 FLAGS (") {
			t.Errorf("%s: %q", tc.items, got)
		}
		if set := strings.Contains(c.fetch(1, "FLAGS"), `\Seen`); set != tc.want {
			t.Errorf("%s, read-only %v: \\Seen is %v", tc.items, tc.readOnly, set)
		}
	}
}

// A part in an unknown transfer encoding is refused before any octet of the
// message is sent. Other messages in the same FETCH are sent.
func TestUnknownTransferEncoding(t *testing.T) {
	d := open(t, Config{}, maildrop.Config{})
	c := d.login(t)
	c.put("INBOX", "", "Content-Transfer-Encoding: x-unknown\n\ntext\n")
	c.ok("SELECT INBOX")
	for _, item := range []string{"BINARY[1]", "BINARY.SIZE[1]", "(UID BINARY.PEEK[1])"} {
		untagged, status := c.do("FETCH 1 %s", item)
		untagged = slices.DeleteFunc(untagged, func(l string) bool { return like(l, `* 1 FETCH (FLAGS (…))`) })
		if len(untagged) > 0 || !strings.HasPrefix(status, "NO [UNKNOWN-CTE]") {
			t.Errorf("%s: %q %s", item, untagged, status)
		}
	}
	if got := c.fetch(1, "BODY.PEEK[1]"); got != "BODY[1] {6}\ntext\n" {
		t.Errorf("undecoded: %q", got)
	}
}

// Damaged base64 is decoded as mail programs decode it: characters outside the
// alphabet are skipped, and an incomplete end is dropped (RFC 2045, 6.8). The
// announced size is that of the result.
func TestBinaryOfDamagedBase64(t *testing.T) {
	for name, tc := range map[string]struct{ stored, want string }{
		"intact":           {"dGV4dA==", "text"},
		"other characters": {"dG*V4\t!d\xffA==", "text"},
		"cut off":          {"dGV4dGV4d", "textex"},
		"no padding":       {"dGV4dA", "text"},
		"text after it":    {"dGV4dA==\n-- \n", "text"},
		"nothing":          {"!?*", ""},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t, Config{}, maildrop.Config{})
			c := d.login(t)
			c.put("INBOX", "", "Content-Transfer-Encoding: base64\n\n"+tc.stored+"\n")
			c.ok("SELECT INBOX")
			if got, want := c.fetch(1, "BINARY.PEEK[1]"), fmt.Sprintf("BINARY[1] {%d}\n%s", len(tc.want), tc.want); got != want {
				t.Errorf("%q, want %q", got, want)
			}
			if got, want := c.fetch(1, "BINARY.SIZE[1]"), fmt.Sprintf("BINARY.SIZE[1] %d", len(tc.want)); got != want {
				t.Errorf("%q, want %q", got, want)
			}
		})
	}
}

// Messages with any line endings and with NULs have the announced size, whether
// fetched whole or in pieces of any size.
func TestSectionPieces(t *testing.T) {
	messages := map[string]string{
		"LF":          "A: b\n\n" + strings.Repeat("a line\n", 300),
		"no end":      "A: b\n\n" + strings.Repeat("a line\n", 300) + "last",
		"lone CR":     "A: b\n\na\rb\r\rc\n",
		"empty lines": "A: b\n\n" + strings.Repeat("\n", 500),
		"one line":    "A: b\n\n" + strings.Repeat("x", 70_000),
		"no body":     "A: b\n",
		"header only": "A: b",
	}
	d := open(t, Config{}, maildrop.Config{})
	c := d.login(t)
	for name, text := range messages {
		t.Run(name, func(t *testing.T) {
			c.ok("CREATE x")
			c.put("x", "", text)
			c.ok("SELECT x")
			whole := literalOf(t, c, "BODY.PEEK[]")
			if want := strings.ReplaceAll(text, "\n", "\r\n"); whole != want {
				t.Errorf("%d octets, want %d", len(whole), len(want))
			}
			for _, size := range []int{1, 7, 64, 1000, 33_000} {
				var all strings.Builder
				for off := 0; off < len(whole) && all.Len() < 3000; off += size {
					all.WriteString(literalOf(t, c, fmt.Sprintf("BODY.PEEK[]<%d.%d>", off, size)))
				}
				if got := all.String(); !strings.HasPrefix(whole, got) {
					t.Errorf("pieces of %d differ", size)
				}
			}
			c.ok("CLOSE")
			c.ok("DELETE x")
		})
	}
}

// literalOf returns the literal of one item, with CRLF line endings.
func literalOf(t *testing.T, c *client, item string) string {
	t.Helper()
	l := c.ok("FETCH 1 %s", item)[0]
	_, body, ok := strings.Cut(l, "}\r\n")
	if !ok || !strings.HasSuffix(body, ")") {
		t.Fatalf("%s: %.100q", item, l)
	}
	return strings.TrimSuffix(body, ")")
}

func TestHeaderEnd(t *testing.T) {
	tests := []struct {
		in   string
		want int
	}{
		{"A: b\n\nc", 6}, {"A: b\r\n\r\nc", 8}, {"\nc", 1}, {"\r\nc", 2}, {"A: b\n", -1}, {"A: b", -1}, {"", -1},
		{"A: b\n c\n\n", 9}, {"A: b\n\r", -1}, {"A\n\r\n", 4},
	}
	for _, tc := range tests {
		if got := headerEnd([]byte(tc.in)); got != tc.want {
			t.Errorf("%q: got %d, want %d", tc.in, got, tc.want)
		}
	}
}

func TestHeaderPiece(t *testing.T) {
	const header = "Subject: a\nTo: b,\n c\nsubject: d\nno colon\nX:\n\n"
	tests := []struct {
		text   wire.SectionText
		fields []string
		want   string
	}{
		{wire.Header, nil, "Subject: a\r\nTo: b,\r\n c\r\nsubject: d\r\nno colon\r\nX:\r\n\r\n"},
		{wire.HeaderFields, []string{"SUBJECT"}, "Subject: a\r\nsubject: d\r\n\r\n"},
		{wire.HeaderFields, []string{"to"}, "To: b,\r\n c\r\n\r\n"},
		{wire.HeaderFields, []string{"x", "to"}, "To: b,\r\n c\r\nX:\r\n\r\n"},
		{wire.HeaderFields, []string{"none"}, "\r\n"},
		{wire.HeaderFieldsNot, []string{"subject", "x"}, "To: b,\r\n c\r\n\r\n"},
	}
	for _, tc := range tests {
		p := headerPiece([]byte(header), &wire.Item{Text: tc.text, Fields: tc.fields})
		if string(p.mem) != tc.want || p.size != int64(len(tc.want)) {
			t.Errorf("%d %v: got %q, want %q", tc.text, tc.fields, p.mem, tc.want)
		}
	}
}

func TestAppendCRLF(t *testing.T) {
	for in, want := range map[string]string{"": "", "a": "a", "a\n": "a\r\n", "a\r\nb": "a\r\nb", "\n\n": "\r\n\r\n", "a\rb\n": "a\rb\r\n", "a\r\r\n": "a\r\r\n"} {
		if got := string(appendCRLF(nil, []byte(in))); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestNoNUL(t *testing.T) {
	var out bytes.Buffer
	in := []byte("a\x00b\x00")
	if n, err := (noNUL{&out}).Write(in); n != 4 || err != nil || out.String() != "a\x80b\x80" {
		t.Errorf("%d %v %q", n, err, out.String())
	}
	if string(in) != "a\x00b\x00" {
		t.Error("the text was changed in place")
	}
}
