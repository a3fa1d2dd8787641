package received

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

// wholeCase is one value of testdata/whole.txt with all its fields.
type wholeCase struct {
	name, value string
	fields      map[string]string
}

func wholeCases(t testing.TB) []wholeCase {
	t.Helper()
	raw, err := os.ReadFile("testdata/whole.txt")
	if err != nil {
		t.Fatal(err)
	}
	var cases []wholeCase
	for _, block := range strings.Split(string(raw), "\n== ")[1:] {
		name, rest, _ := strings.Cut(block, "\n")
		c := wholeCase{name: name, fields: map[string]string{}}
		for line := range strings.Lines(strings.TrimRight(rest, "\n")) {
			line = strings.TrimRight(line, "\n")
			field, value, ok := strings.Cut(line, " = ")
			switch {
			case c.value == "" || line[0] == ' ' || line[0] == '\t':
				c.value += line + "\r\n"
			case !ok:
				t.Fatalf("%s: %q is not a field", name, line)
			default:
				c.fields[field] = value
			}
		}
		cases = append(cases, c)
	}
	return cases
}

// TestWhole parses values written by current servers: every field must be
// right, and no others may be set.
func TestWhole(t *testing.T) {
	for _, c := range wholeCases(t) {
		t.Run(c.name, func(t *testing.T) {
			h := Parse([]byte(c.value))
			js, err := json.Marshal(h.JSON())
			if err != nil {
				t.Fatal(err)
			}
			var all map[string]any
			if err := json.Unmarshal(js, &all); err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for name, v := range all {
				if s, ok := v.(string); ok {
					got[name] = s
				}
			}
			if d := h.Defects.List(); len(d) > 0 {
				got["defects"] = strings.Join(d, " ")
			}
			for name, want := range c.fields {
				if got[name] != want {
					t.Errorf("%s: %q, want %q", name, got[name], want)
				}
				delete(got, name)
			}
			for name, v := range got {
				t.Errorf("%s: %q, want none", name, v)
			}
		})
	}
}

// TestWholeRefolded parses the same values on one line, with tabs, and folded
// after every word. White space must not change any field.
func TestWholeRefolded(t *testing.T) {
	for _, c := range wholeCases(t) {
		want := Parse([]byte(c.value))
		words := strings.Fields(c.value)
		for _, between := range []string{" ", "\t", "\r\n\t", "\n  "} {
			h := Parse([]byte(strings.Join(words, between)))
			got, all := h.JSON(), want.JSON()
			if got.With = strings.Join(strings.Fields(got.With), " "); got.With != all.With && c.fields["with"] != "" {
				t.Errorf("%s, %q between words: with %q, want %q", c.name, between, got.With, all.With)
			}
			if got.FromIP != all.FromIP || got.From != all.From || got.FromRDNS != all.FromRDNS || got.By != all.By || got.ID != all.ID || got.For != all.For || got.Date != all.Date || got.TLSCipher != all.TLSCipher || got.MTA != all.MTA || !slices.Equal(got.Defects, all.Defects) {
				t.Errorf("%s, %q between words:\ngot  %+v\nwant %+v", c.name, between, got, all)
			}
		}
	}
}
