package dkim

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"hoplite/mail"
)

// Tag lists (RFC 6376, 3.2).
func TestTags(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     Tags
		fails    bool // error from ParseTags
		strict   bool // error only from ParseTagsStrictly
	}{
		{"empty", "", Tags{}, false, false},
		{"one", "v=1", Tags{"v": "1"}, false, false},
		{"a semicolon at the end", "v=1;", Tags{"v": "1"}, false, false},
		{"white space", " v = 1 ;\r\n\td = example.org ", Tags{"v": "1", "d": "example.org"}, false, false},
		{"an equals sign in a value", "p=AA==; s=a=b", Tags{"p": "AA==", "s": "a=b"}, false, false},
		{"an empty value", "p=; v=DKIM1", Tags{"p": "", "v": "DKIM1"}, false, false},
		{"case of names", "V=1; v=2", Tags{"V": "1", "v": "2"}, false, false},
		{"unknown names", "x-y=1; a_b=2; z9=3", Tags{"x-y": "1", "a_b": "2", "z9": "3"}, false, false},
		{"an empty tag", "v=1;; d=x", Tags{"v": "1", "d": "x"}, false, true},
		{"an empty tag at the start", "; v=1", Tags{"v": "1"}, false, true},
		{"two semicolons at the end", "v=1; ;", Tags{"v": "1"}, false, true},
		{"no equals sign", "v=1; hello", nil, true, false},
		{"twice", "v=1; v=1", nil, true, false},
		{"a digit first", "1v=1", nil, true, false},
		{"a hyphen first", "-v=1", nil, true, false},
		{"no name", "=1", nil, true, false},
		{"a space in a name", "a b=1", nil, true, false},
		{"8 bits", "\xc3\xa4=1", nil, true, false},
		{"too many", manyTags(maxTags + 1), nil, true, false},
	} {
		got, err := ParseTags(c.in)
		if err != nil != c.fails {
			t.Errorf("%s: %v", c.name, err)
		}
		if _, err := ParseTagsStrictly(c.in); err != nil != (c.fails || c.strict) {
			t.Errorf("%s, strictly: %v", c.name, err)
		}
		if !c.fails && fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	if got, err := ParseTags(manyTags(maxTags)); err != nil || len(got) != maxTags {
		t.Errorf("%d tags, %v", len(got), err)
	}
}

func manyTags(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "a%d=x;", i)
	}
	return b.String()
}

// Required and malformed tags of a signature (RFC 6376, 3.5).
func TestParse(t *testing.T) {
	const good = "v=1; a=rsa-sha256; d=Example.ORG; s=sel; h=From : To; bh=AAAA; b=BB BB"
	without := func(tag string) string {
		var out []string
		for part := range strings.SplitSeq(good, "; ") {
			if !strings.HasPrefix(part, tag+"=") {
				out = append(out, part)
			}
		}
		return strings.Join(out, "; ")
	}
	for _, c := range []struct {
		name, value, fault string
		check              func(*Signature) bool
	}{
		{"good", good, "", func(s *Signature) bool {
			return s.Domain == "example.org" && s.Selector == "sel" && strings.Join(s.Headers, ",") == "From,To" && s.B == "BBBB" && s.Length == -1 && s.Signed.IsZero()
		}},
		{"canonicalisation is simple by default", good, "", func(s *Signature) bool { return s.HeaderCan == Simple && s.BodyCan == Simple }},
		{"of the body too", good + "; c=relaxed", "", func(s *Signature) bool { return s.HeaderCan == Relaxed && s.BodyCan == Simple }},
		{"both", good + "; c=Simple/Relaxed", "", func(s *Signature) bool { return s.HeaderCan == Simple && s.BodyCan == Relaxed }},
		{"unknown", good + "; c=nofws", "canonicalisation", nil},
		{"length", good + "; l=20", "", func(s *Signature) bool { return s.Length == 20 }},
		{"negative length", good + "; l=-1", "length", func(s *Signature) bool { return s.Length == -1 }},
		{"times", good + "; t=1000; x=2000", "", func(s *Signature) bool { return s.Signed.Unix() == 1000 && s.Expires.Unix() == 2000 }},
		{"a bad time", good + "; t=soon", "time", nil},
		{"a time with a space", good + "; t=10 00", "", func(s *Signature) bool { return s.Signed.Unix() == 1000 }},
		{"a huge time", good + "; x=99999999999999", "time", nil},
		{"query", good + "; q=dns/txt:other", "", nil},
		{"unknown query", good + "; q=http", "query", nil},
		{"identity", good + "; i=ann@mail.example.org", "", func(s *Signature) bool { return s.Identity == "ann@mail.example.org" }},
		{"unknown tags", good + "; z=Subject:x; n=1", "", nil},
		{"version", strings.Replace(good, "v=1", "v=2", 1), "version", nil},
		{"no version", without("v"), "v= is missing", nil},
		{"no algorithm", without("a"), "a= is missing", nil},
		{"no signature", without("b"), "b= is missing", nil},
		{"no body hash", without("bh"), "bh= is missing", nil},
		{"no domain", without("d"), "d= is missing", nil},
		{"no fields", without("h"), "h= is missing", nil},
		{"empty fields", strings.Replace(good, "From : To", "", 1), "h= is missing", nil},
		{"no selector", without("s"), "s= is missing", func(s *Signature) bool { return s.Domain == "example.org" }},
		{"too many fields", strings.Replace(good, "From", strings.Repeat("a:", maxHeaders)+"From", 1), "more than", nil},
		{"not base64", strings.Replace(good, "bh=AAAA", "bh=A", 1), "base64", nil},
		{"an empty tag", good + ";; n=1", "", nil},
	} {
		s, err := Parse(field("DKIM-Signature: "+c.value+"\r\n"), false)
		if c.fault == "" && err != nil || c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.fault)
		}
		if c.check != nil && !c.check(s) {
			t.Errorf("%s: %+v", c.name, s)
		}
	}
	// ARC has an instance instead of the version, and strict tag lists.
	arc := strings.Replace(good, "v=1", "i=3", 1)
	if s, err := Parse(field("ARC-Message-Signature: "+arc+"\r\n"), true); err != nil || s.Instance != 3 || s.Identity != "" {
		t.Errorf("ARC: %+v, %v", s, err)
	}
	if _, err := Parse(field("ARC-Message-Signature: "+arc+";; n=1\r\n"), true); err == nil {
		t.Error("an empty tag was accepted")
	}
}

func field(raw string) mail.Field {
	for f := range mail.Fields([]byte(raw + "\r\n")) {
		return f
	}
	return mail.Field{}
}

// The identity is at or below the signing domain (RFC 6376, 3.5). Its local part
// may be quoted and contain an at sign.
func TestIdentity(t *testing.T) {
	for _, c := range []struct {
		identity        string
		relaxed, strict bool
	}{
		{"@example.org", true, true},
		{"ann@example.org", true, true},
		{"ann@Example.ORG", true, true},
		{`"a@b"@example.org`, true, true},
		{`"a@example.com"@example.org`, true, true},
		{`"a@example.org"@example.com`, false, false},
		{"ann@mail.example.org", true, false},
		{`"a@b"@mail.example.org`, true, false},
		{"ann@notexample.org", false, false},
		{"ann@example.org.evil.example", false, false},
		{"ann@org", false, false},
		{"example.org", false, false},
		{"ann@", false, false},
	} {
		if got := within(c.identity, "example.org", false); got != c.relaxed {
			t.Errorf("%s: %v", c.identity, got)
		}
		if got := within(c.identity, "example.org", true); got != c.strict {
			t.Errorf("%s, strict: %v", c.identity, got)
		}
	}
}

// Only key records are selected from the TXT records at a name (RFC 6376,
// 3.6.2.2).
func TestSelectKeys(t *testing.T) {
	good := record(edKey.Public())
	bare := "k=ed25519; " + good[strings.Index(good, "p="):]
	for _, c := range []struct {
		name, want string
		txts       []string
	}{
		{"none", "no key", nil},
		{"alone", "", []string{good}},
		{"without a version", "", []string{bare}},
		{"beside SPF", "", []string{"v=spf1 exp=explain.example.org -all", good}},
		{"beside an explanation with p=", "", []string{"exp=see http://example.org/?p=1", good}},
		{"beside DMARC", "", []string{"v=DMARC1; p=reject", good}},
		{"beside DMARC without a version", "", []string{"p=reject", good}},
		{"beside a TLS report record", "", []string{"v=TLSRPTv1; rua=mailto:a@example.org", good}},
		{"beside text", "", []string{"hello", "", good}},
		{"after others", "", []string{good, "v=DMARC1; p=none", "p=x; q"}},
		{"another version", "version", []string{"v=DKIM2; p=AAAA"}},
		{"DMARC alone", "no key", []string{"v=DMARC1; p=reject"}},
		{"an explanation alone", "no key", []string{"exp=p=1"}},
		{"two", "more than one key", []string{good, good}},
		{"two without versions", "more than one key", []string{bare, bare}},
		{"malformed", "is repeated", []string{good + "; v=DKIM1"}},
		{"without p=", "no p=", []string{"v=DKIM1; k=rsa"}},
		{"one malformed", "", []string{"v=DKIM1; k=rsa", good}},
	} {
		r := verify(t, sign(t, testMail, Signer{Domain: "example.org", Selector: "s", Key: edKey}),
			records{"s._domainkey.example.org": strings.Join(c.txts, "\n")})
		if c.want == "" && r[0].Value != "pass" || c.want != "" && (r[0].Value != "permerror" || !strings.Contains(r[0].Reason, c.want)) {
			t.Errorf("%s: %s (%s), want %q", c.name, r[0].Value, r[0].Reason, c.want)
		}
	}
}

// WithoutB removes the value of b= and nothing else (RFC 6376, 3.7).
func TestWithoutB(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"X: a=1; b=xyz; c=2\r\n", "X: a=1; b=; c=2\r\n"},
		{"X: a=1; b=xyz\r\n", "X: a=1; b=\r\n"},
		{"X: b=x\r\n\ty\r\n z; c=2\r\n", "X: b=; c=2\r\n"},
		{"X: bh=b=; b =xyz\r\n", "X: bh=b=; b =\r\n"},
		{"X: a=1\r\n", "X: a=1\r\n"},
		{"X: b=\r\n", "X: b=\r\n"},
		{"X: B=1; b=2", "X: B=1; b="},
		{"b=1", "b="},
	} {
		if got := string(WithoutB([]byte(c.in))); got != c.want {
			t.Errorf("%q: %q, want %q", c.in, got, c.want)
		}
	}
}

// The example of RFC 6376, 3.4.5, and the rules of 3.4.2.
func TestAppendHeader(t *testing.T) {
	for _, c := range []struct{ raw, relaxed string }{
		{"A: X\r\n", "a:X\r\n"},
		{"B : Y\t\r\n\tZ  \r\n", "b:Y Z\r\n"},
		{"SUBJect:  a  b\r\n", "subject:a b\r\n"},
		{"A:\r\n b\r\n", "a:b\r\n"},
		{"A:\r\n", "a:\r\n"},
		{"A: \t \r\n", "a:\r\n"},
		{"A:b:c\r\n", "a:b:c\r\n"},
	} {
		if got := string(AppendHeader(nil, []byte(c.raw), Relaxed)); got != c.relaxed {
			t.Errorf("%q: %q, want %q", c.raw, got, c.relaxed)
		}
		if got := string(AppendHeader(nil, []byte(c.raw), Simple)); got != c.raw {
			t.Errorf("%q, simple: %q", c.raw, got)
		}
	}
}

// The hashes of RFC 6376, 3.4.3 and 3.4.4, of an empty body, and of the body of
// 3.4.5.
func TestHashBody(t *testing.T) {
	const example = " C \r\nD \t E\r\n\r\n\r\n"
	for _, c := range []struct {
		name, body string
		can        Canon
		want       string // base64, or the canonical body
	}{
		{"empty, simple", "", Simple, "frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY="},
		{"empty, relaxed", "", Relaxed, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="},
		{"example, simple", example, Simple, sha(" C \r\nD \t E\r\n")},
		{"example, relaxed", example, Relaxed, sha(" C\r\nD E\r\n")},
		{"no end, simple", "x", Simple, sha("x\r\n")},
		{"no end, relaxed", "x", Relaxed, sha("x\r\n")},
		{"only white space, relaxed", " \t\r\n \r\n", Relaxed, sha("")},
	} {
		m, err := mail.NewMessage(mail.Bytes("From: a@example.org\r\n\r\n" + c.body))
		if err != nil {
			t.Fatal(err)
		}
		sum, err := HashBody(m, c.can)
		if got := base64.StdEncoding.EncodeToString(sum); err != nil || got != c.want {
			t.Errorf("%s: %s, %v, want %s", c.name, got, err, c.want)
		}
	}
}
