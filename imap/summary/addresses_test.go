package summary

import "testing"

// TestAddressesToSearch checks that SEARCH finds an address however its field
// is written, and that ordinary fields are not parsed for that.
func TestAddressesToSearch(t *testing.T) {
	for _, c := range []struct{ name, field, want string }{
		{"ordinary", "Ann <ann@example.org>", ""},
		{"comments around the @", "ann (work) @ (x) example.org", "\nann@example.org"},
		{"spaces around the @", "ann @ example.org", "\nann@example.org"},
		{"spaces around a dot", "ann . b@example . org", "\nann.b@example.org"},
		{"a needless quote", `"ann"@example.org`, "\nann@example.org"},
		{"only the odd one of two", "Ann @ example.org, bob@example.org", "\nann@example.org"},
		{"an odd name only", "Ann @ home <ann@example.org>", "\nann@home"},
		{"no address", "undisclosed-recipients:;", ""},
		{"empty", "", ""},
	} {
		if got := string(appendAddresses(nil, c.field)); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
