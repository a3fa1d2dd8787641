package imap

import (
	"errors"
	"testing"

	"hoplite/maildrop"
)

func TestNaming(t *testing.T) {
	dots := naming{separator: "."}
	slashes := naming{separator: "/"}
	courier := naming{separator: ".", prefix: "INBOX."}
	unicode := naming{separator: ".", utf8: true}
	tests := []struct {
		name         string
		n            naming
		wire, stored string // stored is "" for an invalid name
		encoded      string // if different from wire
	}{
		{"plain", dots, "Work", "Work", ""},
		{"levels", dots, "Work.2026.May", "Work/2026/May", ""},
		{"inbox", dots, "inBox", "INBOX", "INBOX"},
		{"below inbox", dots, "INBOX.x", "INBOX/x", ""},
		{"slash in a name", dots, "a/b", "", ""},
		{"space", dots, "a b", "a b", `"a b"`},
		{"quote", dots, `a"b`, `a"b`, `"a\"b"`},
		{"UTF-7", dots, "Entw&APw-rfe", "Entwürfe", ""},
		{"ampersand", dots, "a&-b", "a&b", ""},
		{"broken UTF-7", dots, "a&APw", "", ""},
		{"UTF-8 without being enabled", dots, "Entwürfe", "Entwürfe", "Entw&APw-rfe"},
		{"invalid UTF-8", dots, "a\xff", "", ""},
		{"slash separator", slashes, "Work/2026", "Work/2026", ""},
		{"dot with a slash separator", slashes, "a.b", "a.b", ""},
		{"prefix", courier, "INBOX.Work", "Work", ""},
		{"prefix in another case", courier, "inbox.Work.x", "Work/x", "INBOX.Work.x"},
		{"without the prefix", courier, "Work", "", ""},
		{"inbox with a prefix", courier, "INBOX", "INBOX", ""},
		{"UTF-8", unicode, "Entwürfe", "Entwürfe", `"Entwürfe"`},
		{"ampersand in UTF-8", unicode, "a&b", "a&b", ""},
		{"invalid UTF-8, enabled", unicode, "a\xff", "", ""},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			got, err := tc.n.folder(tc.wire)
			if tc.stored == "" {
				if !errors.Is(err, maildrop.ErrFolderName) {
					t.Errorf("got %q %v", got, err)
				}
				return
			}
			if got != tc.stored || err != nil {
				t.Fatalf("got %q %v, want %q", got, err, tc.stored)
			}
			want := tc.encoded
			if want == "" {
				want = tc.wire
			}
			if back := tc.n.encode(got); back != want {
				t.Errorf("encoded %s, want %s", back, want)
			}
		})
	}
}

func TestNewFolderName(t *testing.T) {
	n := naming{separator: ".", prefix: "INBOX."}
	for wire, want := range map[string]string{"INBOX.a.": "a", "INBOX.a": "a", "INBOX.a.b.": "a/b", "a": "!", "INBOX.": "INBOX", "inbox": "INBOX"} {
		got, err := n.newFolder(wire)
		if err != nil {
			got = "!"
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", wire, got, want)
		}
	}
}

func TestPatterns(t *testing.T) {
	dots := &naming{separator: "."}
	courier := &naming{separator: ".", prefix: "INBOX."}
	tests := []struct {
		n        *naming
		ref      string
		patterns []string
		yes, no  []string // stored names
	}{
		{dots, "", []string{"*"}, []string{"INBOX", "a", "a/b"}, nil},
		{dots, "", []string{"%"}, []string{"INBOX", "a"}, []string{"a/b"}},
		{dots, "", []string{"inbox"}, []string{"INBOX"}, []string{"a", "inboxes"}},
		{dots, "", []string{"iN%"}, []string{"INBOX"}, []string{"IN/a"}},
		{dots, "", []string{"inbox.%"}, []string{"INBOX/a"}, []string{"INBOX", "INBOX/a/b"}},
		{dots, "a.", []string{"%"}, []string{"a/b"}, []string{"a", "a/b/c", "INBOX"}},
		{dots, "", []string{"a", "b*"}, []string{"a", "b", "bb", "b/c"}, []string{"c", "a/b"}},
		{dots, "", []string{"Entw&APw-*"}, []string{"Entwürfe"}, []string{"Entw"}},
		{dots, "", []string{"a&", "b"}, []string{"b"}, []string{"a", "a&"}}, // the first cannot be a name
		{dots, "", nil, nil, []string{"INBOX", "a"}},
		{courier, "", []string{"*"}, []string{"INBOX", "a"}, nil},
		{courier, "", []string{"%"}, []string{"INBOX"}, []string{"a"}},
		{courier, "INBOX.", []string{"%"}, []string{"a"}, []string{"INBOX", "a/b"}},
		{courier, "", []string{"a"}, nil, []string{"a"}},
	}
	for _, tc := range tests {
		p, err := newPatterns(tc.n, tc.ref, tc.patterns)
		must(t, err)
		for _, name := range tc.yes {
			if !p.match(name) {
				t.Errorf("%q %q: %s does not match", tc.ref, tc.patterns, name)
			}
		}
		for _, name := range tc.no {
			if p.match(name) {
				t.Errorf("%q %q: %s matches", tc.ref, tc.patterns, name)
			}
		}
	}
}

func TestPatternLimits(t *testing.T) {
	n := &naming{separator: "."}
	if _, err := newPatterns(n, "", make([]string, maxPatterns+1)); err == nil {
		t.Error("too many patterns are accepted")
	}
	long := make([]byte, maxPattern+1)
	for i := range long {
		long[i] = 'x'
	}
	if _, err := newPatterns(n, "", []string{string(long)}); err == nil {
		t.Error("a pattern that is too long is accepted")
	}
	if _, err := newPatterns(n, "", []string{string(long[1:])}); err != nil {
		t.Error(err)
	}
}
