package mail

import (
	"strconv"
	"strings"
	"testing"
)

func TestLookupCode(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string // codes that must be explained, in order
	}{
		{"452", []string{"452"}},
		{"5.7.1", []string{"5.7.1"}},
		{"4.99.1", []string{"4.99.1"}},
		{"550 5.1.1 <ann@example.org>: no such user", []string{"550", "5.1.1"}},
		{"host mx.example.org[192.0.2.1] said: 554-5.4.6 loop", []string{"554", "5.4.6"}},
		{"smtp; 452 4.2.2.", []string{"452", "4.2.2"}},
		{"nothing at 192.0.2.1", nil},
	} {
		var got []string
		for _, m := range LookupCode(c.text) {
			got = append(got, m.Code)
			if m.Title == "" || m.Next == "" {
				t.Errorf("%q: %s has no title or no next step", c.text, m.Code)
			}
		}
		if strings.Join(got, " ") != strings.Join(c.want, " ") {
			t.Errorf("LookupCode(%q) = %v, want %v", c.text, got, c.want)
		}
	}
}

// The table explains every code defined by RFC 5321 and the login and TLS
// extensions exactly once.
func TestMeaningsComplete(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range Meanings() {
		if seen[m.Code] {
			t.Errorf("%s stands twice", m.Code)
		}
		seen[m.Code] = true
	}
	for _, code := range []int{211, 214, 220, 221, 250, 251, 252, 354, 421, 450, 451, 452, 500, 501, 502, 503, 504,
		550, 551, 552, 553, 554, 555, 235, 334, 454, 455, 521, 530, 534, 535, 538, 556} {
		if !seen[strconv.Itoa(code)] {
			t.Errorf("%d is missing", code)
		}
	}
}
