package mail

import (
	"errors"
	"strings"
	"testing"
)

func TestParseAddress(t *testing.T) {
	for _, c := range []struct {
		in, want string
		err      error
	}{
		{"ann@example.org", "ann@example.org", nil},
		{"Ann@EXAMPLE.org", "Ann@example.org", nil},
		{`"ann"@example.org`, "ann@example.org", nil},
		{`"a b"@example.org`, `"a b"@example.org`, nil},
		{`"a\"b\\c"@example.org`, `"a\"b\\c"@example.org`, nil},
		{`"x> SIZE=9"@example.org`, `"x> SIZE=9"@example.org`, nil},
		{`"a@b"@example.org`, `"a@b"@example.org`, nil},
		{"ann@[192.0.2.1]", "ann@[192.0.2.1]", nil},
		{"ann@[IPv6:2001:db8::1]", "ann@[ipv6:2001:db8::1]", nil},
		{"ann@bücher.example", "ann@bücher.example", nil},
		{"用户@example.org", "用户@example.org", nil},
		{"ann@_dmarc.example.org", "ann@_dmarc.example.org", nil},
		{"ann@b@example.org", "", ErrDomain},
		{"ann", "", ErrAddressSyntax},
		{"@example.org", "", ErrAddressSyntax},
		{"a..b@example.org", "a..b@example.org", nil},
		{"a.@example.org", "a.@example.org", nil},
		{".a@example.org", ".a@example.org", nil},
		{`"a..b"@example.org`, `"a..b"@example.org`, nil},
		{".@example.org", "", ErrAddressSyntax},
		{"a\u202eb@example.org", "", ErrAddressSyntax},        // changes the direction of text
		{"a\u200bb@example.org", "", ErrAddressSyntax},        // zero width
		{"a\u0085b@example.org", "", ErrAddressSyntax},        // C1 control character
		{"a\u200cb@example.org", "a\u200cb@example.org", nil}, // needed in Persian
		{"a b@example.org", "", ErrAddressSyntax},
		{"a\x00b@example.org", "", ErrAddressSyntax},
		{"\"a\rb\"@example.org", "", ErrAddressSyntax},
		{"\"a\xffb\"@example.org", "", ErrAddressSyntax},
		{`""@example.org`, "", ErrAddressSyntax},
		{`"a"b@example.org`, "", ErrAddressSyntax},
		{`"a`, "", ErrAddressSyntax},
		{"ann@example.org.", "ann@example.org", nil},
		{"ann@bu\u0308cher.example", "ann@bücher.example", nil}, // normalised to NFC
		{"ann@example.org..", "", ErrDomain},
		{"ann@.", "", ErrDomain},
		{"ann@-bad-.example", "", ErrDomain},
		{"ann@exa mple.org", "", ErrDomain},
		{"ann@[192.0.2.1", "", ErrDomain},
		{"ann@[300.0.2.1]", "", ErrDomain},
		{"ann@[2001:db8::1]", "", ErrDomain},
		{"ann@example．org", "", ErrDomain}, // full-width dot
		{strings.Repeat("a", 65) + "@example.org", "", ErrAddressLong},
		{strings.Repeat("a", 300), "", ErrAddressLong},
	} {
		got, err := ParseAddress(c.in)
		if string(got) != c.want || !errors.Is(err, c.err) {
			t.Errorf("ParseAddress(%q) = %q, %v; want %q, %v", c.in, got, err, c.want, c.err)
		}
	}
}

func TestAddressParts(t *testing.T) {
	a, err := ParseAddress(`"Ann \"B\"@x"@BÜCHER.example`)
	if err != nil {
		t.Fatal(err)
	}
	if got := a.Local(); got != `Ann "B"@x` {
		t.Errorf("Local = %q", got)
	}
	if got := a.Domain(); got != "bücher.example" {
		t.Errorf("Domain = %q", got)
	}
	if got := a.Key(); got != `"ann \"b\"@x"@xn--bcher-kva.example` {
		t.Errorf("Key = %q", got)
	}
	if !a.NeedsUTF8() {
		t.Error("NeedsUTF8 = false")
	}
	if null := Address(""); null.Key() != "" || null.Domain() != "" || null.Local() != "" {
		t.Error("the null path has parts")
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"ann@example.org", `"a b\"c"@[192.0.2.1]`, "ü@bücher.example", `"@`, "a@[IPv6:::1]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAddress(s)
		if err != nil {
			return
		}
		if strings.ContainsAny(string(a), "\r\n\x00") {
			t.Fatalf("%q became %q", s, a)
		}
		b, err := ParseAddress(string(a))
		if err != nil || a != b {
			t.Fatalf("%q is %q, and that again %q, %v", s, a, b, err)
		}
	})
}

func TestKey(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"ann@example.org", "ann@example.org"},
		{"Ann@Example.ORG.", "ann@example.org"},
		{"ann@BÜCHER.example", "ann@xn--bcher-kva.example"},
		{"ann@bu\u0308cher.example", "ann@xn--bcher-kva.example"},
		{"ÄNN@example.org", "änn@example.org"},
		{"A\u0308nn@example.org", "änn@example.org"},
		{`"a..b"@example.org`, "a..b@example.org"}, // one mailbox, two spellings
		{"a..b@example.org", "a..b@example.org"},
		{`"Ann"@example.org`, "ann@example.org"},
		{`"a b"@Example.org`, `"a b"@example.org`},
		{`"a@b"@example.org`, `"a@b"@example.org`},
		{"Ann", "ann"},
		{"", ""},
		{"@", "@"},
		{"a@b@C", "a@b@c"},
	} {
		if got := Key(c.in); got != c.want {
			t.Errorf("Key(%q) = %q, want %q", c.in, got, c.want)
		}
	}
	if got := Fold("Ann@BÜCHER.example."); got != "ann@bücher.example" {
		t.Errorf("Fold = %q", got)
	}
}

func TestASCII(t *testing.T) {
	for _, c := range []struct {
		in, want Address
		ok       bool
	}{
		{"Ann@example.org", "Ann@example.org", true},
		{"Ann@bücher.example", "Ann@xn--bcher-kva.example", true},
		{"änn@bücher.example", "änn@bücher.example", false},
		{"", "", true},
	} {
		if got, ok := c.in.ASCII(); got != c.want || ok != c.ok {
			t.Errorf("%q.ASCII() = %q, %v", c.in, got, ok)
		}
	}
}

func TestParseDomain(t *testing.T) {
	for in, want := range map[string]string{
		"Mail.Example.Org.": "mail.example.org", "bücher.example": "xn--bcher-kva.example",
		"[192.0.2.1]": "[192.0.2.1]", "localhost": "localhost", "": "", ".": "", "a b": "", "example．org": "",
	} {
		got, err := ParseDomain(in)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("ParseDomain(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
}

// Comparing lower-case ASCII addresses, which nearly all are, does not
// allocate.
func TestAddressAllocations(t *testing.T) {
	p, err := NewPatterns([]Pattern{"example.net", ".example.com", "bob@example.org"})
	if err != nil {
		t.Fatal(err)
	}
	for name, do := range map[string]func(){
		"parse": func() { ParseAddress("ann@example.org") },
		"key":   func() { Address("ann@example.org").Key() },
		"match": func() { p.Match("ann@mail.example.org") },
	} {
		if n := testing.AllocsPerRun(100, do); n > 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

func FuzzKey(f *testing.F) {
	for _, s := range []string{"ann@example.org", "İ@x", `"A"@B.`, "a@b@c", `"a@b"@c`, "ß@ẞ.example", "\xff@\xff", `"..A"@x`, "@.", "\x80@B.."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if k := Key(s); Key(k) != k {
			t.Fatalf("Key(%q) = %q, and of that %q", s, k, Key(k))
		}
		a, err := ParseAddress(s)
		if err != nil {
			return
		}
		if Key(s) != a.Key() {
			t.Fatalf("%q has the keys %q and, parsed, %q", s, Key(s), a.Key())
		}
		if up, err := ParseAddress(strings.ToUpper(s)); err == nil && isASCII(s) && up.Key() != a.Key() {
			t.Fatalf("%q and %q differ", a.Key(), up.Key())
		}
	})
}
