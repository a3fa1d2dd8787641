package mime

import (
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
)

// outline formats the types of a tree's parts and the content of its leaves.
func outline(p *Part, msg string) string {
	if len(p.Children) == 0 {
		return p.Subtype + fmt.Sprintf("%q", msg[p.Body.From.Off:p.Body.To.Off])
	}
	var parts []string
	for _, c := range p.Children {
		parts = append(parts, outline(c, msg))
	}
	return p.Subtype + "(" + strings.Join(parts, " ") + ")"
}

// TestStructuresInPractice walks through the shapes that mail programs, list
// servers and evaders produce. What counts as a part decides what filters scan.
func TestStructuresInPractice(t *testing.T) {
	head := func(boundary string) string { return "Content-Type: multipart/mixed; boundary=" + boundary + "\n\n" }
	for _, c := range []struct {
		name, msg, want string
		notes           Notes
	}{
		{"Outlook's boundary needs its quotes", head(`"----=_NextPart_000_0001_01DA.1B2C (x)"`) + "------=_NextPart_000_0001_01DA.1B2C (x)\n\na\n------=_NextPart_000_0001_01DA.1B2C (x)--\n", `mixed(plain"a")`, 0},
		{"a boundary of hyphens only", head("--") + "----\n\na\n------\n", `mixed(plain"a")`, 0},
		{"transport padding after delimiters", head("b") + "--b  \t\n\na\n--b \n\nc\n--b-- \n", `mixed(plain"a" plain"c")`, 0},
		{"white space at the end of a quoted boundary", head(`"b "`) + "--b\n\na\n--b--\n", `mixed(plain"a")`, 0},
		{"a boundary is case sensitive", head("Ab") + "--ab\n\nx\n--Ab\n\na\n--Ab--\n", `mixed(plain"a")`, 0},
		{"a delimiter needs no line before it", head("b") + "--b\n\na\n--b--", `mixed(plain"a")`, 0},
		{"hyphens inside a line are text", head("b") + "--b\n\nx --b\n --b\n--b--\n", `mixed(plain"x --b\n --b")`, 0},
		{"the outer boundary begins like the inner one", head("b") + "--b\n" + head("b1") + "--b1\n\nx\n--b1--\n--b\n\ny\n--b--\n", `mixed(mixed(plain"x") plain"y")`, 0},
		{"the inner boundary begins like the outer one", head("b1") + "--b1\n" + head("b") + "--b\n\nx\n--b--\n--b1\n\ny\n--b1--\n", `mixed(mixed(plain"x") plain"y")`, 0},
		{"a nested multipart with the same boundary ends itself first", head("b") + "--b\n" + head("b") + "--b\n\nx\n--b--\n--b\n\ny\n--b--\n", `mixed(mixed(plain"x") plain"y")`, 0},
		{"text after the closing delimiter is no part", head("b") + "--b\n\na\n--b--\n--b\n\nhidden\n", `mixed(plain"a")`, 0},
		{"a truncated message still has its parts", head("b") + "--b\n\na\n--b\n\nhal", `mixed(plain"a" plain"hal")`, Unclosed},
		{"the outer closing delimiter ends an open inner multipart", head("o") + "--o\n" + head("i") + "--i\n\nx\n--o--\n", `mixed(mixed(plain"x"))`, Unclosed},
		{"only a closing delimiter", head("b") + "--b--\n", `mixed"--b--\n"`, 0},
		{"a boundary that never appears", head("b") + "text\n", `mixed"text\n"`, Unclosed},
		{"an empty boundary is none", head(`""`) + "--\n\nx\n----\n", `mixed"--\n\nx\n----\n"`, NoBoundary},
		{"a boundary given by RFC 2231", "Content-Type: multipart/mixed; boundary*=us-ascii''b\n\n--b\n\na\n--b--\n", `mixed(plain"a")`, 0},
		{"a boundary in sections", "Content-Type: multipart/mixed; boundary*0=a; boundary*1=b\n\n--ab\n\na\n--ab--\n", `mixed(plain"a")`, 0},
		{"a folded Content-Type", "Content-Type: multipart/mixed;\n\tboundary=b\n\n--b\n\na\n--b--\n", `mixed(plain"a")`, 0},
		{"the first of two Content-Types is used", "Content-Type: multipart/mixed; boundary=b\nContent-Type: text/plain\n\n--b\n\na\n--b--\n", `mixed(plain"a")`, 0},
		{"a malformed Content-Type is text", "Content-Type: multipart\n\n--b\n\na\n--b--\n", `plain"--b\n\na\n--b--\n"`, 0},
		{"a multipart declared as base64 is parsed as sent", "Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: base64\n\n--b\n\na\n--b--\n", `mixed(plain"a")`, 0},
		{"a forwarded message with a header only", head("b") + "--b\nContent-Type: message/rfc822\n\nSubject: s\n--b--\n", `mixed(rfc822(plain""))`, HeaderUnclosed},
		{"a forwarded message that is empty", head("b") + "--b\nContent-Type: message/rfc822\n\n--b--\n", `mixed(rfc822(plain""))`, HeaderUnclosed},
		{"an internationalized message is a message", "Content-Type: message/global\n\nSubject: \u00fc\n\nx", `global(plain"x")`, 0},
		{"a delivery report's fields are no message", "Content-Type: message/delivery-status\n\nReporting-MTA: dns; a\n\nAction: failed\n", `delivery-status"Reporting-MTA: dns; a\n\nAction: failed\n"`, 0},
		{"a quoted-printable message is not looked into", "Content-Type: message/rfc822\nContent-Transfer-Encoding: quoted-printable\n\nSubject: s\n\nx", `rfc822"Subject: s\n\nx"`, 0},
		{"a digest may hold other types", "Content-Type: multipart/digest; boundary=b\n\n--b\nContent-Type: text/plain\n\nintro\n--b\n\nSubject: s\n\nx\n--b--\n", `digest(plain"intro" rfc822(plain"x"))`, 0},
		{"a multipart inside a message inside a multipart", head("o") + "--o\nContent-Type: message/rfc822\n\n" + head("i") + "--i\n\nx\n--i--\n--o--\n", `mixed(rfc822(mixed(plain"x")))`, 0},
		{"a header whose first line is not a field", "garbage\nContent-Type: text/html\n\nx", `html"x"`, 0},
	} {
		for ending, msg := range map[string]string{"LF": c.msg, "CRLF": strings.ReplaceAll(c.msg, "\n", "\r\n")} {
			tree := WalkBytes([]byte(msg))
			got := strings.ReplaceAll(outline(tree.Root, msg), `\r\n`, `\n`)
			if got != c.want || tree.Notes != c.notes {
				t.Errorf("%s, %s: %s, notes %b; want %s, notes %b", c.name, ending, got, tree.Notes, c.want, c.notes)
			}
			check(t, tree, int64(len(msg)))
		}
	}
}

// TestFileNames checks the name that a mail program would save a part under,
// which is the name that filters judge.
func TestFileNames(t *testing.T) {
	for _, c := range []struct{ name, fields, want string }{
		{"the disposition's name wins", "Content-Type: application/pdf; name=a.pdf\nContent-Disposition: attachment; filename=b.exe\n", "b.exe"},
		{"the type's name, if the disposition has none", "Content-Type: application/pdf; name=a.pdf\nContent-Disposition: attachment\n", "a.pdf"},
		{"an encoded word in quotes, as Outlook writes it", "Content-Disposition: attachment; filename=\"=?utf-8?q?l=C3=A4ufer=2Eexe?=\"\n", "l\u00e4ufer.exe"},
		{"an encoded word split over folded lines", "Content-Disposition: attachment;\n filename=\"=?utf-8?b?w6Q=?=\n =?utf-8?b?LmV4ZQ==?=\"\n", "\u00e4.exe"},
		{"RFC 2231, as Thunderbird writes it", "Content-Disposition: attachment; filename*=UTF-8''%E2%82%AC.exe\n", "\u20ac.exe"},
		{"sections joined with the extension at the end", "Content-Disposition: attachment;\n filename*0=\"invoice.pdf\";\n filename*1=\".exe\"\n", "invoice.pdf.exe"},
		{"a path stays in the name", `Content-Disposition: attachment; filename="..\\..\\run.exe"` + "\n", `..\..\run.exe`},
		{"an empty name is none", "Content-Type: a/b; name=x\nContent-Disposition: attachment; filename=\"\"\n", "x"},
		{"without both there is none", "Content-Type: a/b\n", ""},
		{"the first of two dispositions", "Content-Disposition: inline; filename=a\nContent-Disposition: attachment; filename=b\n", "a"},
		{"octets that are not UTF-8 become readable", "Content-Disposition: attachment; filename=\"a\xe4.exe\"\n", "a\ufffd.exe"},
	} {
		if got := WalkBytes([]byte(c.fields + "\nx")).Root.Filename(); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestEncodings checks the name of the transfer encoding, by which a body is
// decoded.
func TestEncodings(t *testing.T) {
	for _, c := range []struct{ name, field, want string }{
		{"absent", "", "7bit"},
		{"capitals", "Content-Transfer-Encoding: BASE64\n", "base64"},
		{"a comment", "Content-Transfer-Encoding: (as usual) base64 (x)\n", "base64"},
		{"a parameter that does not belong there", "Content-Transfer-Encoding: base64; charset=utf-8\n", "base64"},
		{"empty", "Content-Transfer-Encoding:\n", "7bit"},
		{"the first of two", "Content-Transfer-Encoding: quoted-printable\nContent-Transfer-Encoding: base64\n", "quoted-printable"},
		{"white space before the colon", "Content-Transfer-Encoding : base64\n", "base64"},
		{"unknown ones are kept", "Content-Transfer-Encoding: x-odd\n", "x-odd"},
	} {
		if got := WalkBytes([]byte(c.field + "\nx")).Root.Encoding; got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestDecodersInPractice decodes what senders get wrong. Where programs
// disagree, the decoder must not stop early, or the rest would not be scanned.
func TestDecodersInPractice(t *testing.T) {
	for _, c := range []struct{ name, enc, in, want string }{
		{"base64 continues after padding", "base64", "YQ==YmM=ZGVm", "abcdef"},
		{"base64 with a missing end", "base64", "YWJjZA", "abcd"},
		{"base64 with one lone sextet", "base64", "YWJjZ", "abc"},
		{"base64 with too much padding", "base64", "YQ======", "a"},
		{"base64 with a footer of a list server", "base64", "YWJj\n\n____\n", "abc"},
		{"base64 of URLs is another alphabet", "base64", "_-_-YWJj", "abc"},
		{"quoted-printable in lower case", "quoted-printable", "=c3=bc", "\u00fc"},
		{"a soft line break with CRLF", "quoted-printable", "a=\r\nb", "ab"},
		{"a soft line break followed by white space", "quoted-printable", "a= \t\r\nb", "ab"},
		{"a soft line break at the end", "quoted-printable", "a=", "a"},
		{"white space before a line ending is padding", "quoted-printable", "a \r\nb\t\r\n", "a\r\nb\r\n"},
		{"an equals sign that is not an escape", "quoted-printable", "a=b&c=d=", "a=b&c=d"},
		{"8-bit octets in quoted-printable", "quoted-printable", "\xc3\xbc=3D", "\u00fc="},
		{"an encoded line ending stays as it is", "quoted-printable", "a=0D=0Ab", "a\r\nb"},
		{"uuencode without an end", "uuencode", "begin 644 a\n#86)C\n", "abc"},
		{"uuencode with spaces removed from the end of a line", "uuencode", "begin 644 a\n$86)C\nend\n", "abc\x00"},
		{"two uuencoded files in one part", "uuencode", "begin 644 a\n#86)C\nend\nbegin 644 b\n#86)C\nend\n", "abcabc"},
		{"uuencode with CRLF", "uuencode", "begin 644 a\r\n#86)C\r\n`\r\nend\r\n", "abc"},
		{"text that only looks like uuencode", "uuencode", "#86)C\n", ""},
		{"binary", "binary", "a\x00\r\nb", "a\x00\r\nb"},
	} {
		dec, known := Decoder(c.enc, strings.NewReader(c.in))
		if got, err := io.ReadAll(dec); string(got) != c.want || err != nil || !known {
			t.Errorf("%s: %q, %v, want %q", c.name, got, err, c.want)
		}
	}
}

// TestEscapesAcrossPieces puts an escape at the end of the decoder's buffer.
func TestEscapesAcrossPieces(t *testing.T) {
	for n := 4090; n < 4100; n++ {
		dec, _ := Decoder("quoted-printable", strings.NewReader(strings.Repeat("x", n)+"=C3=BC=\r\ny"))
		if got, err := io.ReadAll(dec); err != nil || string(got) != strings.Repeat("x", n)+"\u00fcy" {
			t.Errorf("after %d octets: %q, %v", n, got[n-2:], err)
		}
	}
}

// TestCharsetsInPractice decodes text in the charsets that mail still uses.
func TestCharsetsInPractice(t *testing.T) {
	for _, c := range []struct{ charset, in, want string }{
		{"", "a", "a"},
		{"US-ASCII", "caf\xc3\xa9", "caf\u00e9"}, // UTF-8 declared as ASCII
		{"US-ASCII", "caf\xe9", "caf\ufffd"},
		{"utf8", "\xff", "\ufffd"},
		{"iso-8859-1", "\x80\xe4", "\u20ac\u00e4"}, // Windows-1252 declared as Latin 1
		{"ISO-8859-15", "\xa4", "\u20ac"},
		{"windows-1251", "\xcf", "\u041f"},
		{"koi8-r", "\xf0", "\u041f"},
		{"gb2312", "\xc4\xe3", "\u4f60"},
		{"GB18030", "\xc4\xe3", "\u4f60"},
		{"big5", "\xa7\x41", "\u4f60"},
		{"shift_jis", "\x93\xfa", "\u65e5"},
		{"euc-kr", "\xc7\xd1", "\ud55c"},
		{"utf-16be", "\x00a", "a"},
		{" windows-1252 ", "\x80", "\u20ac"},
		{"x-unknown", "a\xe4", "a\ufffd"},
		{strings.Repeat("x", 100), "a", "a"},
	} {
		if got := DecodeString(c.charset, c.in); got != c.want {
			t.Errorf("%s: %q is %q, want %q", c.charset, c.in, got, c.want)
		}
	}
	for charset, want := range map[string]bool{"utf-8": true, "UTF-7": true, "hz-gb-2312": false, "x-none": false, "iso-2022-cn": false, "replacement": false} {
		if KnownCharset(charset) != want {
			t.Errorf("KnownCharset(%q) = %v", charset, !want)
		}
	}
}

// TestWordsInPractice decodes subjects that break the rules of RFC 2047.
func TestWordsInPractice(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"no space between words", "=?utf-8?q?a?==?utf-8?q?b?=", "ab"},
		{"a word inside a word", "Re:=?utf-8?q?a?=x", "Re:ax"},
		{"spaces in a Q word", "=?utf-8?q?a b?=", "a b"},
		{"a question mark in a Q word", "=?utf-8?q?what??=", "what?"},
		{"base64 cut in the middle of a quad", "=?utf-8?B?YWI?= =?utf-8?B?Yw==?=", "abc"},
		{"base64 of nothing", "=?utf-8?B??=", ""},
		{"base64 that is none stays", "=?utf-8?B?!?=", "=?utf-8?B?!?="},
		{"an escape without digits", "=?utf-8?q?a=zz?=", "a=zz"},
		{"a control character gets out, for the caller to remove", "=?utf-8?q?a=0Ab?=", "a\nb"},
		{"a charset with a space is none", "=?utf 8?q?a?=", "=?utf 8?q?a?="},
		{"a missing charset", "=??q?a?=", "=??q?a?="},
		{"8-bit text around a word", "\xc3\xbc =?utf-8?q?b?=", "\u00fc b"},
		{"a word far longer than allowed", "=?utf-8?q?" + strings.Repeat("a", 900) + "?=", strings.Repeat("a", 900)},
		{"a word beyond all bounds stays", "=?utf-8?q?" + strings.Repeat("a", 2000) + "?=", "=?utf-8?q?" + strings.Repeat("a", 2000) + "?="},
	} {
		if got := DecodeWords(c.in); got != c.want {
			t.Errorf("%s: %.100q, want %.100q", c.name, got, c.want)
		}
	}
}

// TestIMAPStrings checks the form of a string in a response: a quoted string
// must not contain what ends it or what IMAP4rev1 forbids.
func TestIMAPStrings(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"empty", "", `""`},
		{"plain", "a b", `"a b"`},
		{"quotes and backslashes are escaped", `a"b\`, `"a\"b\\"`},
		{"a line ending needs a literal", "a\r\nb", "{4}\r\na\r\nb"},
		{"8-bit text needs a literal", "\xc3\xbc", "{2}\r\n\xc3\xbc"},
		{"NUL is removed, and not counted", "a\x00b", "{2}\r\nab"},
		{"NUL alone", "\x00", "{0}\r\n"},
		{"a control character may be quoted", "a\x01", "\"a\x01\""},
	} {
		if got := string(AppendString([]byte("x"), c.in)); got != "x"+c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	if got := string(AppendString(nil, strings.Repeat("x", 1001))); !strings.HasPrefix(got, "{1001}\r\n") {
		t.Errorf("a long string is %.20q", got)
	}
	if got := string(AppendNString(nil, nil)) + string(AppendNString(nil, []byte{})); got != `NIL""` {
		t.Errorf("nothing and an empty string are %s", got)
	}
}

// TestEnvelopesInPractice checks envelopes in which a client would otherwise
// show the wrong people.
func TestEnvelopesInPractice(t *testing.T) {
	for _, c := range []struct{ name, header, want string }{
		{"an empty Sender is the author", "From: a@b\nSender:\n", `(NIL NIL ((NIL NIL "a" "b")) ((NIL NIL "a" "b")) ((NIL NIL "a" "b")) NIL NIL NIL NIL NIL)`},
		{"a Reply-To of its own", "From: a@b\nReply-To: c@d\n", `(NIL NIL ((NIL NIL "a" "b")) ((NIL NIL "a" "b")) ((NIL NIL "c" "d")) NIL NIL NIL NIL NIL)`},
		{"an address without a domain is no group", "To: ann\n", `(NIL NIL NIL NIL NIL ((NIL NIL "ann" "")) NIL NIL NIL NIL)`},
		{"a name without an address", "To: Ann <>\n", `(NIL NIL NIL NIL NIL (("Ann" NIL "" "")) NIL NIL NIL NIL)`},
		{"a group without an end", "To: g: a@b\n", `(NIL NIL NIL NIL NIL ((NIL NIL "g" NIL)(NIL NIL "a" "b")(NIL NIL NIL NIL)) NIL NIL NIL NIL)`},
		{"a folded subject is one line", "Subject: a\n  b\n\tc\n", `(NIL "a b c" NIL NIL NIL NIL NIL NIL NIL NIL)`},
		{"fields after the header are body", "Subject: a\n\nFrom: a@b\n", `(NIL "a" NIL NIL NIL NIL NIL NIL NIL NIL)`},
		{"the first Message-ID", "Message-ID: <1@x>\nMessage-ID: <2@x>\n", `(NIL NIL NIL NIL NIL NIL NIL NIL NIL "<1@x>")`},
	} {
		if got := string(AppendEnvelope(nil, []byte(c.header))); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// TestAddressesInPractice splits lists that senders write without regard to the
// grammar.
func TestAddressesInPractice(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"a comma in an unquoted name", "Chen, Ann <ann@example.org>", "Chen@ | Ann <ann@example.org>"},
		{"a comma in a quoted name", `"Chen, Ann" <ann@example.org>`, "Chen, Ann <ann@example.org>"},
		{"semicolons, as in Outlook", "a@b.example; c@d.example", "a@b.example | c@d.example"},
		{"an address as the name", "ann@example.org <ann@example.org>", "ann@example.org"},
		{"a quoted address as the name", `"ann@example.org" <bob@example.org>`, "ann@example.org <bob@example.org>"},
		{"double angle brackets", "<<ann@example.org>>", "ann@example.org"},
		{"no closing quote", `"Ann <ann@example.org>`, "Ann <ann@example.org>@"},
		{"a comment between local part and domain", "ann(x)@(y)example.org", "y <ann@example.org>"},
		{"a trailing comma", "a@b.example,", "a@b.example"},
		{"commas only", ",,,", ""},
		{"mailto", "mailto:ann@example.org", "mailto: | ann@example.org | ;"},
		{"a group inside a group", "a: b: c@d.example;", "a: | c@d.example | ;"},
		{"8-bit names", "J\u00fcrgen <j@example.org>", "J\u00fcrgen <j@example.org>"},
		{"an escaped quote in a name", `"A \"B\" C" <a@b.example>`, `A "B" C <a@b.example>`},
	} {
		var got []string
		for _, a := range ParseAddresses(c.in) {
			switch {
			case a.Kind == GroupStart:
				got = append(got, a.Local+":")
			case a.Kind == GroupEnd:
				got = append(got, ";")
			case a.Name != "":
				got = append(got, a.Name+" <"+a.Addr()+">")
			default:
				got = append(got, a.Addr())
			}
		}
		if s := strings.Join(got, " | "); s != c.want {
			t.Errorf("%s: %s, want %s", c.name, s, c.want)
		}
	}
}

// TestLimitsOfAWalk checks that what is above a limit is noted and still
// belongs to the enclosing part.
func TestLimitsOfAWalk(t *testing.T) {
	part := "--b\n\nx\n"
	head := "Content-Type: multipart/mixed; boundary=b\n\n"
	for _, c := range []struct {
		name, msg string
		parts     int
		notes     Notes
	}{
		{"as many parts as allowed", head + strings.Repeat(part, MaxParts-1) + "--b--\n", MaxParts, 0},
		{"one part too many", head + strings.Repeat(part, MaxParts) + "--b--\n", MaxParts, TooManyParts},
		{"a part's header at its limit", head + "--b\nA: " + strings.Repeat("x", MaxPartHeader-5) + "\n\nx\n--b--\n", 2, 0},
		{"a part's header above its limit", head + "--b\nA: " + strings.Repeat("x", MaxPartHeader) + "\n\nx\n--b--\n", 2, HeaderTooBig},
		{"messages as deep as allowed", strings.Repeat("Content-Type: message/rfc822\n\n", MaxDepth-1) + "A: b\n\nx", MaxDepth, 0},
		{"one message too deep", strings.Repeat("Content-Type: message/rfc822\n\n", MaxDepth) + "A: b\n\nx", MaxDepth, TooDeep},
		{"a boundary at its limit", "Content-Type: multipart/mixed; boundary=" + strings.Repeat("b", maxBoundary) + "\n\n--" + strings.Repeat("b", maxBoundary) + "\n\nx\n--" + strings.Repeat("b", maxBoundary) + "--\n", 2, 0},
		{"a boundary above its limit", "Content-Type: multipart/mixed; boundary=" + strings.Repeat("b", maxBoundary+1) + "\n\nx\n", 1, NoBoundary},
	} {
		tree := WalkBytes([]byte(c.msg))
		if tree.Parts != c.parts || tree.Notes != c.notes {
			t.Errorf("%s: %d parts, notes %b; want %d, %b", c.name, tree.Parts, tree.Notes, c.parts, c.notes)
		}
		check(t, tree, int64(len(c.msg)))
	}
}

// TestEveryParameter lists all readings of a parameter, since an evader chooses
// the one that filters do not see.
func TestEveryParameter(t *testing.T) {
	for _, c := range []struct {
		name, in, param string
		want            []string
	}{
		{"twice", "attachment; filename=a.txt; filename=a.exe", "filename", []string{"a.txt", "a.exe"}},
		{"plain and encoded", "attachment; filename=a.txt; filename*=utf-8''a%2Eexe", "filename", []string{"a.txt", "a.exe"}},
		{"plain and in sections", "attachment; filename=a.txt; filename*0=a.e; filename*1=xe", "filename", []string{"a.txt", "a.exe"}},
		{"capitals", "attachment; FileName=a.exe", "filename", []string{"a.exe"}},
		{"without a disposition", "; filename=a.exe", "filename", []string{"a.exe"}},
		{"another parameter", "attachment; name=a.exe", "filename", nil},
	} {
		if got := Every(c.in, c.param); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
