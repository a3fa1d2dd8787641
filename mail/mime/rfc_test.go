package mime

import "testing"

// TestParamsOfRFC2231 parses the examples in RFC 2231, 3 and 4, quoting as in
// RFC 2045, and deviations found in real mail.
func TestParamsOfRFC2231(t *testing.T) {
	for _, c := range []struct{ name, in, param, want string }{
		{"continuation", `message/external-body; access-type=URL; URL*0="ftp://"; URL*1="cs.utk.edu/pub/moore/bulk-mailer/bulk-mailer.tar"`, "url", "ftp://cs.utk.edu/pub/moore/bulk-mailer/bulk-mailer.tar"},
		{"charset and language", `application/x-stuff; title*=us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A`, "title", "This is ***fun***"},
		{"both", `application/x-stuff; title*0*=us-ascii'en'This%20is%20even%20more%20; title*1*=%2A%2A%2Afun%2A%2A%2A%20; title*2="isn't it!"`, "title", "This is even more ***fun*** isn't it!"},
		{"sections out of order", `a/b; n*1=two; n*0=one`, "n", "onetwo"},
		{"a gap ends the value", `a/b; n*0=one; n*2=three`, "n", "one"},
		{"a percent sign in a plain section", `a/b; n*0*=utf-8''%41; n*1=%42`, "n", "A%42"},
		{"a character cut by sections", `a/b; n*0*=utf-8''%C3; n*1*=%BC`, "n", "\u00fc"},
		{"an empty charset", `a/b; n*=''%41`, "n", "A"},
		{"another charset", `a/b; n*=iso-8859-1''%FC`, "n", "\u00fc"},
		{"not enough digits", `a/b; n*=utf-8''%4`, "n", "%4"},
		{"encoded before plain", `a/b; n=plain; n*=utf-8''encoded`, "n", "encoded"},
		{"quoted pairs", `a/b; n="a\"b\\c"`, "n", `a"b\c`},
		{"a semicolon in quotes", `a/b; n="a;b"; m=c`, "n", "a;b"},
		{"a comment after a value", `a/b; n=us-ascii (Plain text)`, "n", "us-ascii"},
		{"spaces without quotes", `a/b; n=my file.txt; m=c`, "n", "my file.txt"},
		{"an open quote", `a/b; n="open`, "n", "open"},
		{"capitals", `A/B; NaMe=X`, "name", "X"},
		{"no such parameter", `a/b; m=c`, "n", ""},
	} {
		_, _, params, ok := ParseType(c.in)
		if got := Get(params, c.param); !ok || got != c.want {
			t.Errorf("%s: %q, %v, want %q", c.name, got, ok, c.want)
		}
	}
}

// TestWordsOfRFC2047 decodes the examples in RFC 2047, 8, and common
// deviations.
func TestWordsOfRFC2047(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"=?ISO-8859-1?Q?a?=", "a"},
		{"=?ISO-8859-1?Q?a?= b", "a b"},
		{"=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"},
		{"=?ISO-8859-1?Q?a?=\r\n    =?ISO-8859-1?Q?b?=", "ab"},
		{"=?ISO-8859-1?Q?a_b?=", "a b"},
		{"=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=", "a b"},
		{"=?US-ASCII?Q?Keith_Moore?=", "Keith Moore"},
		{"=?ISO-8859-1?Q?Keld_J=F8rn_Simonsen?=", "Keld J\u00f8rn Simonsen"},
		{"=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?=", "If you can read this yo"},
		{"=?US-ASCII*EN?Q?Keith_Moore?=", "Keith Moore"},
		{"=?utf-8?q?=C3?= =?utf-8?q?=BC?=", "\u00fc"},
		{"=?utf-8?q?=FF?=", "\uFFFD"},
		{"=?utf-8?x?a?=", "=?utf-8?x?a?="},
		{"=?unknown?q?a?=", "=?unknown?q?a?="},
		{"=?utf-8?q?open", "=?utf-8?q?open"},
		{"a =? b", "a =? b"},
		{"plain", "plain"},
	} {
		if got := DecodeWords(c.in); got != c.want {
			t.Errorf("%q: %q, want %q", c.in, got, c.want)
		}
	}
}

// TestAddressesOfRFC5322 parses the examples in RFC 5322, appendix A.
func TestAddressesOfRFC5322(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []Address
	}{
		{`"Joe Q. Public" <john.q.public@example.com>`, []Address{{Name: "Joe Q. Public", Local: "john.q.public", Domain: "example.com"}}},
		{`Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>`, []Address{
			{Name: "Mary Smith", Local: "mary", Domain: "x.test"}, {Local: "jdoe", Domain: "example.org"}, {Name: "Who?", Local: "one", Domain: "y.test"}}},
		{`<boss@nil.test>, "Giant; \"Big\" Box" <sysservices@example.net>`, []Address{
			{Local: "boss", Domain: "nil.test"}, {Name: `Giant; "Big" Box`, Local: "sysservices", Domain: "example.net"}}},
		{`Undisclosed recipients:;`, []Address{{Local: "Undisclosed recipients", Kind: GroupStart}, {Kind: GroupEnd}}},
		{`Pete(A nice \) chap) <pete(his account)@silly.test(his host)>`, []Address{{Name: "Pete", Local: "pete", Domain: "silly.test"}}},
		{`Mary Smith <@node.test,@there.test:mary@example.net>`, []Address{{Name: "Mary Smith", Route: "@node.test,@there.test", Local: "mary", Domain: "example.net"}}},
		{`ann@[192.0.2.1]`, []Address{{Local: "ann", Domain: "[192.0.2.1]"}}},
		{``, nil},
	} {
		got := ParseAddresses(c.in)
		same := len(got) == len(c.want)
		for i := 0; same && i < len(got); i++ {
			same = got[i] == c.want[i]
		}
		if !same {
			t.Errorf("%s:\ngot  %+v\nwant %+v", c.in, got, c.want)
		}
	}
}
