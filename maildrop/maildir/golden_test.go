package maildir

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
)

// golden reads a file written by the first version.
func golden(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "golden", name))
	must(t, err)
	return string(text)
}

func TestGoldenUIDList(t *testing.T) {
	for _, tc := range []struct {
		file string
		want UIDList
	}{
		{"dovecot-uidlist", UIDList{
			Validity: 1796039826, Next: 6, GUID: "fb450a0d91a94051d1787dee98a8749f", ModSeq: 1001,
			Entries: []Entry{
				{1, "", "1796039823.M615083P8409Q1.vm,S=14,W=17"},
				{2, "", "1796039823.M619049P8409Q2.vm,S=14,W=17"},
				{3, "", "1796039823.M626497P8409Q3.vm,S=14,W=17"},
				{4, "", "1796039823.M641503P8409Q4.vm,S=14,W=17"},
				{5, "", "1796039823.M663155P8409Q5.vm,S=14,W=17"},
			},
		}},
		{"dovecot-uidlist-copies", UIDList{
			Validity: 1796039823, Next: 4, GUID: "3e135f948553e08171a6ff92fec23c79", ModSeq: 2000,
			Entries: []Entry{
				{1, "G1796039823.M615083P8409Q1.vm,S=14,W=17", "1796039823.M675260P8409Q6.vm,S=14,W=17"},
				{2, "G1796039823.M619049P8409Q2.vm,S=14,W=17", "1796039823.M678116P8409Q7.vm,S=14,W=17"},
				{3, "", "1796039823.M641503P8409Q4.vm,S=14,W=17"},
			},
		}},
	} {
		t.Run(tc.file, func(t *testing.T) {
			text := golden(t, tc.file)
			l, err := ParseUIDList(text)
			if err != nil || !reflect.DeepEqual(*l, tc.want) {
				t.Fatalf("got %+v, %v", l, err)
			}
			// The header's N is out of date after lines are appended. Otherwise
			// the file is written as it was read.
			l.Next = 1
			if got := string(l.Bytes()); got != text {
				t.Errorf("wrote\n%s\nwant\n%s", got, text)
			}
			if off := ModSeqOffset([]byte(text)); text[off:off+19] != ModSeqText(tc.want.ModSeq) {
				t.Errorf("bound at %d", off)
			}
		})
	}
}

func TestGoldenKeywords(t *testing.T) {
	text := golden(t, "dovecot-keywords")
	k := ParseKeywords(text)
	if k != (Keywords{"$Label1", "work", "NonJunk"}) || string(k.Bytes()) != text {
		t.Errorf("got %q, wrote %q", k, k.Bytes())
	}
}

func TestGoldenSubscriptions(t *testing.T) {
	for _, tc := range []struct {
		file string
		want []string
	}{
		{"subscriptions", []string{"Lists/Go", "Entwürfe", "Gone/Away & more"}},
		{"subscriptions-old", []string{"Sent", "Lists/Go", "Entwürfe"}},
	} {
		text := golden(t, tc.file)
		s := ParseSubscriptions(text, ".")
		if !slices.Equal(s.Names, tc.want) || string(s.Bytes()) != text {
			t.Errorf("%s: got %q, wrote %q", tc.file, s.Names, s.Bytes())
		}
	}
}

// A box continues after the value in its dovecot-uidvalidity file.
func TestGoldenUIDValidity(t *testing.T) {
	d, path := testDir(t)
	must(t, os.WriteFile(filepath.Join(path, uidValidityFile), []byte(golden(t, uidValidityFile)), 0o600))
	must(t, os.WriteFile(filepath.Join(path, uidValidityFile+".6b0d6492"), nil, 0o400))
	v, err := NextUIDValidity(d)
	if err != nil || v != 0x6b0d6493 {
		t.Errorf("got %08x, %v", v, err)
	}
	text, err := os.ReadFile(filepath.Join(path, uidValidityFile))
	if err != nil || string(text) != "6b0d6493" {
		t.Errorf("the file now has %q, %v", text, err)
	}
}
