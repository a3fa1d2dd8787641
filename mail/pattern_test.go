package mail

import (
	"slices"
	"testing"
)

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		patterns  []string
		yes, no   []Address
		noDomains []string
	}{
		{[]string{"example.org"}, []Address{"ann@example.org", "Ann@example.org"}, []Address{"ann@sub.example.org", "ann@example.com", ""}, nil},
		{[]string{"@Example.Org."}, []Address{"ann@example.org"}, []Address{"ann@sub.example.org"}, nil},
		{[]string{".example.org"}, []Address{"ann@sub.example.org", "ann@a.b.example.org"}, []Address{"ann@example.org", "ann@badexample.org"}, nil},
		{[]string{"Ann@Example.org"}, []Address{"ann@example.org", "ANN@example.org"}, []Address{"bob@example.org"}, []string{"example.org"}},
		{[]string{"bücher.example"}, []Address{"ann@bücher.example", "ann@xn--bcher-kva.example"}, []Address{"ann@bucher.example"}, nil},
		{[]string{"xn--bcher-kva.example"}, []Address{"ann@bücher.example", "ann@xn--bcher-kva.example"}, nil, nil},
		{[]string{".bücher.example"}, []Address{"ann@a.xn--bcher-kva.example"}, []Address{"ann@bücher.example"}, nil},
		{[]string{"ann@bücher.example"}, []Address{"Ann@xn--bcher-kva.example"}, []Address{"bob@bücher.example"}, nil},
		{[]string{"a..b@example.org"}, []Address{"a..b@example.org", `"a..b"@example.org`}, []Address{"a.b@example.org"}, nil},
		{[]string{"<>"}, []Address{""}, []Address{"ann@example.org"}, nil},
		{[]string{"local"}, []Address{"ann@mail.example.org", "ann@localhost"}, []Address{"ann@local", "ann@example.org"}, nil},
		{[]string{"[192.0.2.1]"}, []Address{"ann@[192.0.2.1]"}, []Address{"ann@[192.0.2.2]"}, nil},
		{nil, nil, []Address{"ann@example.org", ""}, nil},
	} {
		p, err := ParsePatterns(c.patterns, "Mail.Example.Org.", "localhost")
		if err != nil {
			t.Errorf("%q: %v", c.patterns, err)
		}
		for _, a := range c.yes {
			if !p.Match(a) {
				t.Errorf("%q does not match %q", c.patterns, a)
			}
		}
		for _, a := range c.no {
			if p.Match(a) {
				t.Errorf("%q matches %q", c.patterns, a)
			}
		}
		for _, d := range c.noDomains {
			if p.MatchDomain(d) {
				t.Errorf("%q matches the domain %s", c.patterns, d)
			}
		}
		if p.Empty() != (len(c.patterns) == 0) {
			t.Errorf("%q: Empty = %v", c.patterns, p.Empty())
		}
	}
}

func TestMatchDomain(t *testing.T) {
	p, _ := ParsePatterns([]string{"bücher.example", ".example.org"})
	for d, want := range map[string]bool{
		"BÜCHER.example": true, "xn--bcher-kva.example.": true, "a.example.org": true, "example.org": false, "": false,
	} {
		if got := p.MatchDomain(d); got != want {
			t.Errorf("MatchDomain(%q) = %v", d, got)
		}
	}
}

func TestDomains(t *testing.T) {
	p, _ := ParsePatterns([]string{"b.example", ".b.example", "ann@c.example", "local", "<>"}, "a.example")
	if got := p.Domains(); !slices.Equal(got, []string{"a.example", "b.example"}) {
		t.Errorf("Domains = %q", got)
	}
}

func TestParsePattern(t *testing.T) {
	for in, want := range map[string]Pattern{
		"LOCAL": PatternLocal, "<>": PatternNull, "Example.org.": "example.org", "@example.org": "example.org",
		".Bücher.example": ".xn--bcher-kva.example", "Ann@example.org": "ann@example.org",
		"": "", ".": "", "a b": "", "*.example.org": "", "ann@": "", "a@b@c": "", "..example.org": "",
	} {
		got, err := ParsePattern(in)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("ParsePattern(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
	var p Pattern
	if err := p.UnmarshalText([]byte("x y")); err == nil {
		t.Error("UnmarshalText took a blank")
	}
	if _, err := ParsePatterns([]string{"example.org", "a b", "c d"}); err == nil {
		t.Error("ParsePatterns took blanks")
	}
}

func TestCovers(t *testing.T) {
	for _, c := range []struct {
		a, b Pattern
		want bool
	}{
		{"example.org", "example.org", true},
		{"example.org", "ann@example.org", true},
		{"example.org", "sub.example.org", false},
		{".example.org", "sub.example.org", true},
		{".example.org", "ann@sub.example.org", true},
		{".example.org", ".sub.example.org", true},
		{".example.org", "example.org", false},
		{"ann@example.org", "example.org", false},
		{PatternLocal, PatternLocal, true},
		{PatternLocal, "example.org", false},
		{"example.org", PatternLocal, false},
		{PatternNull, "example.org", false},
	} {
		if got := c.a.Covers(c.b); got != c.want {
			t.Errorf("%q covers %q: %v", c.a, c.b, got)
		}
	}
}
