package imap

import (
	"strings"
	"testing"
)

func TestPattern(t *testing.T) {
	tests := []struct {
		pattern, name string
		want          bool
	}{
		{"*", "a.b", true}, {"%", "a.b", false}, {"%", "a", true}, {"a.%", "a.b", true}, {"a.%", "a.b.c", false}, {"a%c", "abc", true},
		{"a*c", "a.b.c", true}, {"%.%", "a.b", true}, {"%.%", "a.b.c", false}, {"%*%", "a.b.c", true}, {"", "", true}, {"", "a", false},
		{"a", "ab", false}, {"ab", "a", false}, {"*a*a*a", "aa", false}, {"ä%", "äö", true},
		{strings.Repeat("%*", 200) + "x", strings.Repeat("a.", 100), false},
		{strings.Repeat("%a", 300), strings.Repeat("a", 240), false},
	}
	for _, tc := range tests {
		if got := newPattern(tc.pattern, ".").match(tc.name); got != tc.want {
			t.Errorf("%.20q of %.20q: got %v", tc.pattern, tc.name, got)
		}
	}
}
