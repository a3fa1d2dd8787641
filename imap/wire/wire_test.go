package wire

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

func TestCommands(t *testing.T) {
	long := strings.Repeat("x", 5000)
	tests := []struct {
		name, in string
		want     []string // commands, messages as "<...>", errors as "!..."
		asked    int      // number of continuation requests
	}{
		{"lines", "a NOOP\r\nb LOGOUT\n", []string{"a NOOP", "b LOGOUT", "!EOF"}, 0},
		{"literals", "a LOGIN {3}\r\nann {4+}\r\nwo\nd\r\n", []string{"a LOGIN {3}\r\nann {4+}\r\nwo\nd", "!EOF"}, 1},
		{"a message", "a APPEND x {3}\r\nabc\r\nb NOOP\r\n", []string{"a APPEND x ", "<abc>", "", "b NOOP", "!EOF"}, 0},
		{"the mailbox is a literal", "a APPEND {1+}\r\nx (\\Seen) {3+}\r\nabc\r\n", []string{"a APPEND {1+}\r\nx (\\Seen) ", "<abc>", "", "!EOF"}, 0},
		{"two messages", "a append x {1+}\r\n1 (\\Seen) ~{1+}\r\n2\r\n", []string{"a append x ", "<1>", " (\\Seen) ", "<2>", "", "!EOF"}, 0},
		{"replace", "a UID REPLACE 4 x {1+}\r\n1\r\n", []string{"a UID REPLACE 4 x ", "<1>", "", "!EOF"}, 0},
		{"too large, asked", "a LOGIN {5000}\r\nb NOOP\r\n", []string{"!literal too large", "b NOOP", "!EOF"}, 0},
		{"too large, unasked", "a LOGIN {5000+}\r\nb NOOP\r\n", []string{"!command too long"}, 0},
		{"more than there are numbers", "a LOGIN {99999999999999999999999+}\r\n", []string{"!command too long"}, 0},
		{"line too long", "a " + long + "\r\n", []string{"!command too long"}, 0},
		{"a long token", "a AUTHENTICATE XOAUTH2 " + strings.Repeat("x", 10_000) + "\r\n", []string{"a AUTHENTICATE XOAUTH2 " + strings.Repeat("x", 10_000), "!EOF"}, 0},
		{"token too long", "a AUTHENTICATE XOAUTH2 " + strings.Repeat("x", Anonymous.Auth) + "\r\n", []string{"!command too long"}, 0},
		{"a long token elsewhere", "a LOGIN " + strings.Repeat("x", 10_000) + "\r\n", []string{"!command too long"}, 0},
		{"line without end", long, []string{"!command too long"}, 0},
		{"many small literals", "a " + strings.Repeat("{1+}\r\nx ", 1000) + "\r\n", []string{"!command too long"}, 0},
		{"no literal", "a NOOP {x}\r\nb NOOP {}\r\nc {1\r\n", []string{"a NOOP {x}", "b NOOP {}", "c {1", "!EOF"}, 0},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			for _, src := range []io.Reader{strings.NewReader(tc.in), iotest.OneByteReader(strings.NewReader(tc.in))} {
				got, asked := commands(src)
				if !reflect.DeepEqual(got, tc.want) || asked != tc.asked {
					t.Errorf("got %q, asked %d\nwant %q, %d", got, asked, tc.want, tc.asked)
				}
			}
		})
	}
}

// commands reads all commands from src.
func commands(src io.Reader) (got []string, asked int) {
	r := NewReader(src)
	r.Continue = func() error { asked++; return nil }
	more := false
	for {
		next := r.Command
		if more {
			next = r.More
		}
		if !more {
			if err := r.Wait(); err != nil {
				return append(got, "!"+err.Error()), asked
			}
		}
		cmd, msg, err := next()
		var big *TooBigError
		if errors.As(err, &big) {
			got = append(got, "!"+err.Error())
			continue
		}
		if err != nil {
			return append(got, "!"+err.Error()), asked
		}
		got = append(got, string(cmd))
		if more = msg != nil; more {
			b, err := io.ReadAll(r.Message(msg))
			if err != nil {
				return append(got, "!"+err.Error()), asked
			}
			got = append(got, "<"+string(b)+">")
		}
	}
}

func TestFetch(t *testing.T) {
	tests := []struct{ in, want string }{ // item labels, or "!" and an error
		{"1 FULL", "FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODY"},
		{"1 fast", "FLAGS INTERNALDATE RFC822.SIZE"},
		{"1 (FLAGS UID)", "FLAGS UID"},
		{"1 BODY", "BODY"},
		{"1 BODY[]", "BODY[]"},
		{"1 BODY.PEEK[1.2.HEADER]<5.10>", "BODY[1.2.HEADER]<5>"},
		{`1 BODY[HEADER.FIELDS ("Subject" {2+}` + "\r\nTo)]", "BODY[HEADER.FIELDS (Subject To)]"},
		{"1 BODY[3.MIME]", "BODY[3.MIME]"},
		{"1 BINARY.PEEK[1]<0.5>", "BINARY[1]<0>"},
		{"1 BINARY.SIZE[1.2]", "BINARY.SIZE[1.2]"},
		{"1 (PREVIEW (LAZY) UID)", "PREVIEW UID"},
		{"1 (PREVIEW UID)", "PREVIEW UID"},
		{"1 RFC822.HEADER", "RFC822.HEADER"},
		{"1 FLAGS (CHANGEDSINCE 5 VANISHED)", "FLAGS"},
		{"1 BODY[MIME]", "!MIME needs a part number"},
		{"1 BODY[0]", "!Invalid section"},
		{"1 BODY[1.]", `!Unknown section ""`},
		{"1 BODY[1HEADER]", "!Invalid section"},
		{"1 BODY[]<5>", `!Expected "." before ">"`},
		{"1 BODY[]<5.0>", "!A partial FETCH needs a length of at least 1"},
		{"1 (FULL)", `!Unknown FETCH item "FULL)"`},
		{"0 FLAGS", "!Numbers begin at 1"},
		{"1 FLAGS (VANISHED)", "!VANISHED needs CHANGEDSINCE"},
		{"1 (FLAGS", `!Expected " " before ""`},
		{"1 FLAGS x", `!Expected "(" before "x"`},
	}
	for _, tc := range tests {
		p := NewParser([]byte(tc.in), AllForms)
		f := p.Fetch()
		var got []string
		for _, it := range f.Items {
			got = append(got, it.Label)
		}
		text := strings.Join(got, " ")
		if err := p.End(); err != nil {
			text = "!" + err.Error()
		}
		if text != tc.want {
			t.Errorf("%q: got %q, want %q", tc.in, text, tc.want)
		}
	}
}

func TestSearch(t *testing.T) {
	good := []string{
		"ALL", "1:5,7 UNSEEN", "OR (FROM a TO b) NOT SUBJECT \"c\"", "CHARSET utf-8 TEXT {1+}\r\nx", "RETURN (MIN MAX) ALL",
		"RETURN () $", "HEADER X-Y \"\"", "SINCE 1-Feb-1994", `BEFORE "01-Feb-1994"`, "KEYWORD $Junk UNKEYWORD x", "UID 1:*",
		"LARGER 10 SMALLER 20", "YOUNGER 5 OLDER 6", `MODSEQ "/flags/\\draft" all 620162338`, "MODSEQ 5", "NEW OLD RECENT",
		"SAVEDBEFORE 1-Jan-2020", "NOT NOT NOT ALL", "EMAILID M1",
	}
	for _, in := range good {
		p := NewParser([]byte(in), AllForms)
		if p.Search(); p.End() != nil {
			t.Errorf("%q: %v", in, p.Err())
		}
	}
	bad := []string{
		"", "ALL ", "OR ALL", "NOT", "FOO", "(ALL", "()", "SINCE 32-Feb-1994", "LARGER -1", "YOUNGER 0", "UID x", "RETURN (X) ALL", "KEYWORD",
		strings.Repeat("(", 60_000), strings.Repeat("NOT ", 15_000) + "ALL", strings.Repeat("OR ", 20_000), strings.Repeat("ALL ", 2000) + "ALL",
	}
	for _, in := range bad {
		p := NewParser([]byte(in), AllForms)
		if p.Search(); p.End() == nil {
			t.Errorf("%.40q is fine", in)
		}
	}
}

func TestStrings(t *testing.T) {
	tests := []struct{ in, want string }{
		{"atom", "atom"}, {"a]b", "a]b"}, {`"a \"b\\"`, `a "b\`}, {"{3}\r\na\r\n", "a\r\n"}, {"~{1}\r\nx", "x"}, {`""`, ""}, {`"ä"`, "ä"},
		{`"a`, "!"}, {`"a\n"`, "!"}, {"\"a\x00\"", "!"}, {"\"\xff\"", "!"}, {"{3}\r\nab", "!"}, {"{3} ab", "!"}, {"{1}\r\n\x00", "!"}, {"", "!"}, {"(", "!"}, {"ä", "!"},
	}
	for _, tc := range tests {
		p := NewParser([]byte(tc.in), AllForms)
		got := p.AString()
		if p.End() != nil {
			got = "!"
		}
		if got != tc.want {
			t.Errorf("%q: got %q, want %q (%v)", tc.in, got, tc.want, p.Err())
		}
	}
}

func TestResolve(t *testing.T) {
	tests := []struct {
		in   string
		last uint32
		want []Range
	}{
		{"1", 9, []Range{{1, 1}}},
		{"5:2,1,9", 9, []Range{{1, 5}, {9, 9}}},
		{"*", 9, []Range{{9, 9}}},
		{"12:*", 9, []Range{{9, 12}}},
		{"1:*", 0, []Range{{1, 1}}},
		{"*", 0, []Range{}},
		{"4294967295,1", 9, []Range{{1, 1}, {4294967295, 4294967295}}},
		{"1:3,4:6,2", 9, []Range{{1, 6}}},
	}
	for _, tc := range tests {
		p := NewParser([]byte(tc.in), AllForms)
		if got := p.Set().Resolve(tc.last); !reflect.DeepEqual(got, tc.want) || p.End() != nil {
			t.Errorf("%s of %d: got %v, want %v", tc.in, tc.last, got, tc.want)
		}
	}
}

func TestAppendString(t *testing.T) {
	tests := []struct {
		in      string
		utf8    bool
		want    string
		astring string
	}{
		{"a b", false, `"a b"`, `"a b"`},
		{`a"\`, false, `"a\"\\"`, `"a\"\\"`},
		{"a\r\nb", true, "{4}\r\na\r\nb", "{4}\r\na\r\nb"},
		{"ä", false, "{2}\r\nä", "{2}\r\nä"},
		{"ä", true, `"ä"`, "{2}\r\nä"},
		{"\xff", true, "{1}\r\n\xff", "{1}\r\n\xff"},
		{"a\x00b", false, "{2}\r\nab", "{2}\r\nab"},
		{"nil", false, `"nil"`, `"nil"`},
		{"", false, `""`, `""`},
		{"INBOX", false, `"INBOX"`, "INBOX"},
	}
	for _, tc := range tests {
		if got := string(AppendString(nil, tc.in, tc.utf8)); got != tc.want {
			t.Errorf("%q: got %q, want %q", tc.in, got, tc.want)
		}
		if got := string(AppendAString(nil, tc.in)); got != tc.astring {
			t.Errorf("%q: got %q, want %q", tc.in, got, tc.astring)
		}
	}
}

// The writer sends every octet once and in order, whichever method writes it.
func TestWriter(t *testing.T) {
	var out, want bytes.Buffer
	w := NewWriter(&out)
	for i := range 5000 {
		piece := bytes.Repeat([]byte{byte('a' + i%26)}, i%97)
		if i%500 == 0 {
			piece = bytes.Repeat([]byte("L"), 40_000)
		}
		switch i % 3 {
		case 0:
			w.Write(piece)
		case 1:
			w.WriteString(string(piece))
		default:
			w.Took(append(w.Room(min(len(piece), 4096)), piece...))
		}
		want.Write(piece)
	}
	if err := w.Flush(); err != nil || !bytes.Equal(out.Bytes(), want.Bytes()) {
		t.Errorf("%v: %d octets, want %d", err, out.Len(), want.Len())
	}
}

func FuzzParser(f *testing.F) {
	for _, s := range []string{
		"1:*,5 (UID BODY.PEEK[1.2.HEADER.FIELDS (a b)]<1.2>) (CHANGEDSINCE 5)", "1 (UNCHANGEDSINCE 5) +FLAGS.SILENT (\\Seen a)",
		"RETURN (ALL) CHARSET x OR NOT (1 FROM {1}\r\na) SINCE 1-Jan-2000", "(REVERSE DATE) utf-8 ALL", "REFS utf-8 ALL",
		"(SUBSCRIBED RECURSIVEMATCH) \"\" (a* \"b\") RETURN (STATUS (MESSAGES) CHILDREN)", "x (QRESYNC (1 2 3:4 (5 6)))",
		"(\\Seen) \"17-Jul-1996 02:44:25 -0700\" UTF8 (", "x (USE (\\Sent))", "(\"a\" \"b\" \"c\" NIL)",
		"1:* FLAGS (PARTIAL -1:-5 CHANGEDSINCE 2)", "RETURN (PARTIAL 2:1 UPDATE RELEVANCY) FUZZY (TEXT x)", "IN (subtree-one (a b) personal) RETURN (ALL) ALL",
		"(DEPTH infinity MAXSIZE 5) INBOX (/private/a /shared/b)", "x (/private/a ~{2}\r\n\x00x /shared/b NIL)", "500 1:3", "CATENATE (", "URL /x TEXT ", "1.2.HEADER.FIELDS (a)",
		"\"\" * RETURN (METADATA (/private/a))",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, parse := range []func(p *Parser){
			func(p *Parser) { p.Fetch() }, func(p *Parser) { p.Store() }, func(p *Parser) { p.Search() }, func(p *Parser) { p.Sort() },
			func(p *Parser) { p.Thread() }, func(p *Parser) { p.List() }, func(p *Parser) { p.Select() }, func(p *Parser) { p.Append() },
			func(p *Parser) { p.Create() }, func(p *Parser) { p.ID() }, func(p *Parser) { p.Words() }, func(p *Parser) { p.Initial() },
			func(p *Parser) { p.MultiSearch() }, func(p *Parser) { p.GetMetadata() }, func(p *Parser) { p.SetMetadata() }, func(p *Parser) { p.Batches() },
			func(p *Parser) { p.Part(); p.MorePart(); p.Part() }, func(p *Parser) { Section(string(b)) },
			func(p *Parser) { p.StatusItems(); p.DateTime(); p.NString(); p.ListMailbox() },
		} {
			p := NewParser(b, AllForms)
			parse(p)
			p.End()
		}
	})
}

func FuzzReader(f *testing.F) {
	f.Add([]byte("a LOGIN {3}\r\nann {4+}\r\nword\r\nb APPEND x (\\Seen) {3+}\r\nabc (a) {1}\r\nx\r\n"))
	f.Add([]byte("a {99999999999999999999}\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		one, n := commands(bytes.NewReader(b))
		two, m := commands(iotest.OneByteReader(bytes.NewReader(b)))
		if !reflect.DeepEqual(one, two) || n != m {
			t.Fatalf("%q\n%q", one, two)
		}
	})
}
