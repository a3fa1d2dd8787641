package alias

import (
	"slices"
	"strings"
	"testing"

	"hoplite/mail"
)

func TestSet(t *testing.T) {
	const file = "# staff\ninfo@example.org ann@example.org,\n# holidays\n  bob@example.org\n\nroot ann@example.org\n"
	for _, c := range []struct {
		name, text, pattern string
		to                  []string
		want                string
	}{
		{"the first alias", "", "root", []string{"ann@example.org"}, "root\tann@example.org\n"},
		{"another alias", file, "sales@example.org", []string{"ann@example.org", "bob@example.org"}, file + "sales@example.org\tann@example.org, bob@example.org\n"},
		{"without a final line end", "root ann@example.org", "x", []string{"y"}, "root ann@example.org\nx\ty\n"},
		{"changed in place", file, "INFO@Example.org", []string{"eve@example.org"}, "# staff\nINFO@Example.org\teve@example.org\n# holidays\n\nroot ann@example.org\n"},
		{"removed", file, "info@example.org", nil, "# staff\n# holidays\n\nroot ann@example.org\n"},
		{"removed, the last", file, "root", nil, strings.Replace(file, "root ann@example.org\n", "", 1)},
		{"removed, not there", file, "sales@example.org", nil, file},
		{"domain in U-labels", "@bücher.example ann\n", "@xn--bcher-kva.example", nil, ""},
		{"quoted", "\"a b\"@example.org ann\n", "\"a b\"@example.org", []string{"bob"}, "\"a b\"@example.org\tbob\n"},
		{"a broken line stays", "\"open\nroot ann\n", "root", []string{"bob"}, "\"open\nroot\tbob\n"},
		{"defined twice", "root ann\nroot bob\n", "root", []string{"eve"}, "root\teve\n"},
	} {
		if got := Set(c.text, c.pattern, c.to); got != c.want {
			t.Errorf("%s:\n%q, want\n%q", c.name, got, c.want)
		}
	}
}

func TestLookup(t *testing.T) {
	table := table(t, testAliases)()
	for pattern, want := range map[string]string{
		"Root": "ann@example.org", "@EXAMPLE.com": "@example.org", "info@bücher.example": "ida@xn--bcher-kva.example", "nobody": "",
	} {
		to, line, ok := table.Lookup(pattern)
		if strings.Join(to, " ") != want || ok != (want != "") || ok != (line > 0) {
			t.Errorf("%s: %q, line %d, %v", pattern, to, line, ok)
		}
	}
}

func TestCheckText(t *testing.T) {
	for _, bad := range []string{"a\x00@b.example", "a\n@b.example", "a\x7f", "a\u0085", "a\u2028", "\u2029a", "a\xff@b.example"} {
		if CheckText(bad) == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
	for _, good := range []string{"ann@example.org", "größe@bücher.example", "@example.org", "\"a b\"@example.org"} {
		if err := CheckText(good); err != nil {
			t.Error(err)
		}
	}
}

// What Set writes is what Parse reads, and no other alias changes.
func FuzzSet(f *testing.F) {
	f.Add(testAliases, "info@example.org", "x@y.example")
	f.Add("a b\n c\n#d\n e\n", "a", "z")
	f.Add("a b", "q", "z")
	f.Fuzz(func(t *testing.T, text, pattern, to string) {
		before, err := Parse(strings.NewReader(text), "aliases")
		if err != nil {
			return
		}
		one, err := Parse(strings.NewReader(pattern+"\t"+to+"\n"), "one")
		if err != nil || len(one.entries) != 1 || strings.TrimSpace(pattern) != pattern || strings.ContainsAny(pattern+to, "\r\n,#") {
			return
		}
		got, _, ok := one.Lookup(pattern)
		if !ok || len(got) != 1 || got[0] != to {
			return // pattern or to is not a single word
		}
		after, err := Parse(strings.NewReader(Set(text, pattern, []string{to})), "aliases")
		if err != nil {
			t.Fatalf("%q with %q: %v", text, pattern, err)
		}
		if list, _, _ := after.Lookup(pattern); !slices.Equal(list, []string{to}) {
			t.Fatalf("%q leads to %q, want %q", pattern, list, to)
		}
		for key, e := range before.entries {
			if key != mail.Key(pattern) && !slices.Equal(after.entries[key].to, e.to) {
				t.Fatalf("%q changed from %q to %q", key, e.to, after.entries[key].to)
			}
		}
	})
}
