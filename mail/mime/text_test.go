package mime

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"mime/quotedprintable"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

func TestFields(t *testing.T) {
	header := "A: 1\r\nno field\r\nB :2\n folded\n\tagain\n>From x\n: empty\nÄ: 8\nC:\n\nD: in the body\n"
	var got []string
	off := 0
	for f := range Fields([]byte(header)) {
		if f.Off != off {
			t.Errorf("%q at %d, want %d", f.Raw, f.Off, off)
		}
		off += len(f.Raw)
		got = append(got, string(f.Name)+"="+f.Unfolded())
	}
	want := []string{"A=1", "=no field", "B=2 folded\tagain", "=>From x", "=: empty", "Ä=8", "C="}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestParams(t *testing.T) {
	tests := []struct {
		name, in, typ, param, want, raw string
	}{
		{"token", "text/plain; charset=UTF-8", "text/plain", "charset", "UTF-8", "UTF-8"},
		{"quoted", `Text/HTML ; Name="a \"b\" ;c" ; x=y`, "text/html", "name", `a "b" ;c`, `a "b" ;c`},
		{"comments", "text/(a)plain (b); (c) charset (d) = (e) x (f)", "text/plain", "charset", "x", "x"},
		{"spaces in a value", "application/pdf; name=my file.pdf; x=y", "application/pdf", "name", "my file.pdf", "my file.pdf"},
		{"charset", "a/b; name*=iso-8859-1'de'%E4%F6", "a/b", "name", "äö", "iso-8859-1'de'%E4%F6"},
		{"sections out of order", "a/b; name*2=c; name*0=a; name*1=b", "a/b", "name", "abc", "abc"},
		{"a section is missing", "a/b; name*0=a; name*2=c", "a/b", "name", "a", "a"},
		{"sections in a charset", "a/b; name*0*=utf-8''%c3; name*1*=%a4; name*2=\"%c3\"", "a/b", "name", "ä%c3", "utf-8''%c3%a4%c3"},
		{"the extended value wins", `a/b; name="x"; name*=utf-8''y`, "a/b", "name", "y", "utf-8''y"},
		{"open quote", `a/b; name="x`, "a/b", "name", "x", "x"},
		{"no semicolon", `multipart/mixed boundary=b`, "multipart/mixed", "boundary", "b", "b"},
		{"no semicolon before a quote", `text/plain name="a b.txt"; x=y`, "text/plain", "name", "a b.txt", "a b.txt"},
		{"no semicolon between parameters", `text/plain; charset="utf-8" name="a.txt"`, "text/plain", "name", "a.txt", "a.txt"},
		{"no semicolon, with sections", `a/b name*0="a"; name*1="b"`, "a/b", "name", "ab", "ab"},
		{"a word before a parameter", `a/b; foo bar=x; name=y`, "a/b", "name", "y", "y"},
		{"odd stars", "a/b; *=x; **=y; n*x=z; n*99999999999999999999=q", "a/b", "n*x", "z", "z"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			typ, sub, params, ok := ParseType(tc.in)
			if !ok || typ+"/"+sub != tc.typ {
				t.Errorf("type %q/%q %v", typ, sub, ok)
			}
			var raw string
			for _, p := range params {
				if p.Name == tc.param {
					raw = p.Raw
				}
			}
			if got := Get(params, tc.param); got != tc.want || raw != tc.raw {
				t.Errorf("got %q raw %q, want %q raw %q", got, raw, tc.want, tc.raw)
			}
		})
	}
	for _, in := range []string{"", "text", "text/", "/plain", "\"text\"/plain", "(text/plain"} {
		if _, _, _, ok := ParseType(in); ok {
			t.Errorf("ParseType(%q) is fine", in)
		}
	}
}

func TestEveryReading(t *testing.T) {
	for _, c := range []struct{ in, name, want string }{
		{`multipart/mixed; boundary=A; boundary=B`, "boundary", "A B"},
		{`multipart/mixed boundary=A; boundary=B`, "boundary", "A B"},
		{`multipart / mixed boundary="A" boundary="B"`, "boundary", "A B"},
		{`attachment filename=a; filename*=utf-8''b`, "filename", "a b"},
		{`filename=a`, "filename", "a"},
		{`attachment`, "filename", ""},
		{`a/b; n*1=b; n*0=a; n=c`, "n", "c ab"},
	} {
		if got := strings.Join(Every(c.in, c.name), " "); got != c.want {
			t.Errorf("%s: %q, want %q", c.in, got, c.want)
		}
	}
}

func TestDisposition(t *testing.T) {
	for _, c := range []struct{ in, disposition, name string }{
		{`attachment; filename=a.txt`, "attachment", "a.txt"},
		{`ATTACHMENT filename="a.txt"`, "attachment", "a.txt"},
		{`inline`, "inline", ""},
		{`; filename=a.txt`, "", ""},
		{``, "", ""},
	} {
		d, params := ParseDisposition(c.in)
		if d != c.disposition || Get(params, "filename") != c.name {
			t.Errorf("%s: %q %v, want %q %q", c.in, d, params, c.disposition, c.name)
		}
	}
}

// TestUTF7 decodes the examples in RFC 2152 and malformed text.
func TestUTF7(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"A+ImIDkQ.", "A\u2262\u0391."},
		{"Hi Mom -+Jjo--!", "Hi Mom -\u263a-!"},
		{"+ZeVnLIqe-", "\u65e5\u672c\u8a9e"},
		{"Item 3 is +AKM-1.", "Item 3 is \u00a31."},
		{"1 +- 1 = 2", "1 + 1 = 2"},
		{"+2D3eAA-", "\U0001f600"},
		{"+2D0-x", "\ufffdx"},
		{"+2D0", "\ufffd"},
		{"+2D0AQQ-", "\ufffdA"},
		{"+3gA-", "\ufffd"},
		{"+AGE", "a"},
		{"+AGEAYg!", "ab!"},
		{"a+", "a"},
		{"a\xe4b", "a\ufffdb"},
		{"", ""},
	} {
		if got := DecodeString("UTF-7", c.in); got != c.want {
			t.Errorf("%q: %q, want %q", c.in, got, c.want)
		}
		one, err := io.ReadAll(CharsetReader("unicode-1-1-utf-7", iotest.OneByteReader(strings.NewReader(c.in))))
		if err != nil || string(one) != c.want {
			t.Errorf("%q octet by octet: %q, %v", c.in, one, err)
		}
	}
	long := strings.Repeat("+ZeVnLIqe-", 5000)
	if got := DecodeString("utf-7", long); got != strings.Repeat("\u65e5\u672c\u8a9e", 5000) {
		t.Errorf("%d octets of a long text", len(got))
	}
}

// TestManyParameters checks that a message full of parameters does not fill the
// tree.
func TestManyParameters(t *testing.T) {
	var many strings.Builder
	for i := range 900 {
		fmt.Fprintf(&many, "; a%d=b", i)
	}
	part := "--b\r\nContent-Type: text/plain" + many.String() + "\r\n\r\nx\r\n"
	tree := WalkBytes([]byte("Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat(part, 60) + "--b--\r\n"))
	n := 0
	for _, p := range tree.Root.Children {
		n += len(p.Params)
	}
	if n > maxTreeParams+60*maxParams/100 || tree.Notes&HeaderTooBig == 0 || len(tree.Root.Children) != 60 {
		t.Errorf("%d parameters, %d parts, notes %b", n, len(tree.Root.Children), tree.Notes)
	}
}

func TestMemory(t *testing.T) {
	if small, large := Memory(1000), Memory(1<<30); small > 100_000 || large != maxTree {
		t.Errorf("%d and %d", small, large)
	}
}

func TestDecodeWords(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"none", "plain text", "plain text"},
		{"q", "=?iso-8859-1?Q?a_=E4?= b", "a ä b"},
		{"b", "=?UTF-8?B?w6Q=?=", "ä"},
		{"b without padding", "=?UTF-8?B?w6Q?=", "ä"},
		{"language", "=?utf-8*de?q?x?=", "x"},
		{"space between words goes", "=?utf-8?q?a?=\t =?utf-8?q?b?= c", "ab c"},
		{"space before text stays", "x =?utf-8?q?a?= y", "x a y"},
		{"a character in two words", "=?utf-8?q?=C3?= =?utf-8?q?=A4?=", "ä"},
		{"two charsets", "=?utf-8?q?=C3=A4?= =?iso-8859-1?q?=E4?=", "ää"},
		{"unknown charset stays", "=?x-none?q?a?=", "=?x-none?q?a?="},
		{"broken", "=?utf-8?z?a?= =?utf-8?q?b", "=?utf-8?z?a?= =?utf-8?q?b"},
		{"8 bit", "\xe4 =?utf-8?q?=E4?=", "\uFFFD \uFFFD"},
		{"japanese", "=?iso-2022-jp?B?GyRCRnxLXBsoQg==?=", "日本"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			if got := DecodeWords(tc.in); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestDecoder(t *testing.T) {
	tests := []struct{ name, enc, in, want string }{
		{"7bit", "7bit", "a\n", "a\n"},
		{"base64", "base64", "aGVs\r\nbG8=\r\n", "hello"},
		{"base64 with dirt", "base64", "aG Vs!bG\x008", "hello"},
		{"base64 in two pieces", "base64", "YQ==\nYg==\n", "ab"},
		{"base64 cut short", "base64", "aGVsb", "hel"},
		{"qp", "quoted-printable", "a=3Db=\r\nc =\nd  \t\r\n", "a=bc d\r\n"},
		{"qp with dirt", "quoted-printable", "a=zz=4\n==41=", "a=zz=4\n=A"},
		{"uu", "x-uuencode", "text\nbegin 644 x\n#0V%T\n`\nend\nmore\n", "Cat"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(tc.in), iotest.OneByteReader(strings.NewReader(tc.in))} {
				dec, known := Decoder(tc.enc, r)
				got, err := io.ReadAll(dec)
				if string(got) != tc.want || err != nil || !known {
					t.Errorf("got %q %v, want %q", got, err, tc.want)
				}
			}
		})
	}
	if _, known := Decoder("x-none", strings.NewReader("")); known {
		t.Error("x-none is known")
	}
}

// TestDecoderLong checks that long input is decoded as by the standard library.
func TestDecoderLong(t *testing.T) {
	data := make([]byte, 200_000)
	for i := range data {
		data[i] = byte(i * i >> 3)
	}
	var lines bytes.Buffer
	b64 := base64.StdEncoding.EncodeToString(data)
	for len(b64) > 76 {
		lines.WriteString(b64[:76] + "\r\n")
		b64 = b64[76:]
	}
	lines.WriteString(b64)
	dec, _ := Decoder("base64", &lines)
	if got, err := io.ReadAll(dec); err != nil || !bytes.Equal(got, data) {
		t.Errorf("base64: %d octets, %v", len(got), err)
	}
	var qp bytes.Buffer
	w := quotedprintable.NewWriter(&qp)
	w.Binary = true
	w.Write(data)
	w.Close()
	oneLine := bytes.ReplaceAll(qp.Bytes(), []byte("=\r\n"), nil)
	dec, _ = Decoder("quoted-printable", bytes.NewReader(oneLine))
	if got, err := io.ReadAll(dec); err != nil || !bytes.Equal(got, data) {
		t.Errorf("quoted-printable: %d octets, %v", len(got), err)
	}
}

func TestParseAddresses(t *testing.T) {
	tests := []struct {
		name, in string
		want     []Address
	}{
		{"empty", " ", nil},
		{"bare", "ann@example.org", []Address{{Local: "ann", Domain: "example.org"}}},
		{"named", `"Ann \"A\" B" <ann@example.org>, Bob B. <bob@example.org>`, []Address{
			{Name: `Ann "A" B`, Local: "ann", Domain: "example.org"}, {Name: "Bob B.", Local: "bob", Domain: "example.org"}}},
		{"comment as name", "ann@example.org (Ann (A) B)", []Address{{Name: "Ann (A) B", Local: "ann", Domain: "example.org"}}},
		{"quoted local part", `"a b"@example.org`, []Address{{Local: "a b", Domain: "example.org"}}},
		{"group", "friends: ann@example.org, Bob <bob@example.org>; , eve@example.org", []Address{
			{Local: "friends", Kind: GroupStart}, {Local: "ann", Domain: "example.org"}, {Name: "Bob", Local: "bob", Domain: "example.org"},
			{Kind: GroupEnd}, {Local: "eve", Domain: "example.org"}}},
		{"empty group", "undisclosed-recipients:;", []Address{{Local: "undisclosed-recipients", Kind: GroupStart}, {Kind: GroupEnd}}},
		{"open group", "a: b@c", []Address{{Local: "a", Kind: GroupStart}, {Local: "b", Domain: "c"}, {Kind: GroupEnd}}},
		{"route", "<@a.example,@b.example:ann@example.org>", []Address{{Route: "@a.example,@b.example", Local: "ann", Domain: "example.org"}}},
		{"literal", "ann@[192.0.2.1]", []Address{{Local: "ann", Domain: "[192.0.2.1]"}}},
		{"spaces", "ann . a @ example . org", []Address{{Local: "ann . a", Domain: "example.org"}}},
		{"no comma", "a@example.org b@example.org, c@d", []Address{{Local: "a", Domain: "example.org"}, {Local: "c", Domain: "d"}}},
		{"a name instead of a comma", "a@example.org Ann <b@c>, d@e", []Address{{Local: "a", Domain: "example.org"}, {Local: "d", Domain: "e"}}},
		{"a dot at a fold", "a@example.\r\n org", []Address{{Local: "a", Domain: "example.org"}}},
		{"no domain", "ann, <bob>", []Address{{Local: "ann"}, {Local: "bob"}}},
		{"null", "<>", nil},
		{"encoded word kept", "=?utf-8?q?=C3=A4?= <a@b>", []Address{{Name: "=?utf-8?q?=C3=A4?=", Local: "a", Domain: "b"}}},
		{"dirt behind", "Ann <ann@example.org> x, b@c d, e@f", []Address{
			{Name: "Ann", Local: "ann", Domain: "example.org"}, {Local: "b", Domain: "c"}, {Local: "e", Domain: "f"}}},
		{"open angle", "Ann <ann@example.org, b@c", []Address{{Name: "Ann", Local: "ann", Domain: "example.org"}, {Local: "b", Domain: "c"}}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			if got := ParseAddresses(tc.in); !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got %+v\nwant %+v", got, tc.want)
			}
		})
	}
}

func TestEnvelope(t *testing.T) {
	tests := []struct{ name, header, want string }{
		{"empty", "", "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"},
		{"usual", "Date: Mon, 7 Feb 1994 21:52:25 -0800\r\nFrom: Ann <ann@example.org>\r\nSubject: a \"b\"\r\n\tc\r\nTo: g: bob@example.org;\r\nMessage-ID: <1@x>\r\nIn-Reply-To: <0@x>\r\n",
			`("Mon, 7 Feb 1994 21:52:25 -0800" "a \"b\" c" (("Ann" NIL "ann" "example.org")) (("Ann" NIL "ann" "example.org")) (("Ann" NIL "ann" "example.org")) ` +
				`((NIL NIL "g" NIL)(NIL NIL "bob" "example.org")(NIL NIL NIL NIL)) NIL NIL "<0@x>" "<1@x>")`},
		{"8 bit", "Subject: \xc3\xa4\n", "(NIL {2}\r\n\xc3\xa4 NIL NIL NIL NIL NIL NIL NIL NIL)"},
		{"empty subject, two To", "Subject:\nTo: a@b\nTo: c@d\nSubject: second\n", `(NIL "" NIL NIL NIL ((NIL NIL "a" "b")(NIL NIL "c" "d")) NIL NIL NIL NIL)`},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			if got := string(AppendEnvelope(nil, []byte(tc.header))); got != tc.want {
				t.Errorf("got\n%s\nwant\n%s", got, tc.want)
			}
		})
	}
}

func TestStructure(t *testing.T) {
	msg := "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-ID: <i>\nContent-Language: de, en\n\none\n--b\nContent-Type: image/png; name*=utf-8''a%20b\n" +
		"Content-Transfer-Encoding: BASE64\nContent-Disposition: attachment; filename=x\nContent-Location: l\nContent-MD5: m\n\neA==\n--b\nContent-Type: message/rfc822\n\nSubject: s\n\nx\ny\n--b--\n"
	root := WalkBytes([]byte(msg)).Root
	want := `(("text" "plain" ("charset" "us-ascii") "<i>" NIL "7bit" 3 0 NIL NIL ("de" "en") NIL)` +
		`("image" "png" ("name*" "utf-8''a%20b") NIL NIL "base64" 4 "m" ("attachment" ("filename" "x")) NIL "l")` +
		`("message" "rfc822" NIL NIL NIL "7bit" 18 (NIL "s" NIL NIL NIL NIL NIL NIL NIL NIL) ("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 4 1 NIL NIL NIL NIL) 3 NIL NIL NIL NIL) ` +
		`"mixed" ("boundary" "b") NIL NIL NIL)`
	if got := string(AppendStructure(nil, root, true)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	want = `("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0)`
	if got := string(AppendStructure(nil, WalkBytes(nil).Root, false)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	want = `(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0) "mixed")`
	if got := string(AppendStructure(nil, WalkBytes([]byte("Content-Type: multipart/mixed; boundary=b\n\n")).Root, false)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestStructureCharset checks that a declared charset is listed once, even if
// it is empty.
func TestStructureCharset(t *testing.T) {
	for field, want := range map[string]string{
		"":                            `("charset" "us-ascii")`,
		"; charset=utf-8":             `("charset" "utf-8")`,
		`; charset=""`:                `("charset" "")`,
		`; charset=""; format=flowed`: `("charset" "" "format" "flowed")`,
		"; format=flowed":             `("format" "flowed" "charset" "us-ascii")`,
	} {
		got := string(AppendStructure(nil, WalkBytes([]byte("Content-Type: text/plain"+field+"\n\n")).Root, false))
		if want = `("text" "plain" ` + want + ` NIL NIL "7bit" 0 0)`; got != want {
			t.Errorf("%q: got %s, want %s", field, got, want)
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add("=?utf-8?q?=C3?= =?iso-2022-jp?B?GyRC?=", "base64", "gb18030")
	f.Add("a: b <c@d>; (e)", "quoted-printable", "iso-2022-jp")
	f.Add("begin 644 x\n#0V%T\nend", "uuencode", "utf-16")
	f.Fuzz(func(t *testing.T, s, enc, charset string) {
		DecodeWords(s)
		ParseAddresses(s)
		ParseType(s)
		r, _ := Decoder(enc, strings.NewReader(s))
		n, err := io.Copy(io.Discard, CharsetReader(charset, r))
		if n > int64(len(s))*6+4096 {
			t.Fatalf("%d octets out of %d, %v", n, len(s), err)
		}
	})
}

func BenchmarkBase64(b *testing.B) {
	line := strings.Repeat("QUJD", 19) + "\r\n"
	in := strings.Repeat(line, 10_000)
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		dec, _ := Decoder("base64", strings.NewReader(in))
		io.Copy(io.Discard, dec)
	}
}

func TestEvery(t *testing.T) {
	v := `attachment; filename="a.txt"; filename*=utf-8''b%2Eexe; FILENAME=c.doc; filename*1="e"; filename*0="d.ex"`
	if got := strings.Join(Every(v, "filename"), " "); got != "a.txt b.exe c.doc d.exe" {
		t.Error(got)
	}
	if got := Every("attachment", "filename"); got != nil {
		t.Error(got)
	}
}
