package maildrop

import (
	"os"
	"testing"
)

func TestParseQuota(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		want       Quota
		ok         bool
	}{
		{"both limits", "1000S,10C\n500 5\n-100 -1\n", Quota{400, 4, 1000, 10}, true},
		{"one limit", "1000S\n0 0\n", Quota{SizeLimit: 1000}, true},
		{"no sums", "1000S\n", Quota{SizeLimit: 1000}, false},
		{"below zero", "1000S\n-1 0\n", Quota{Size: -1, SizeLimit: 1000}, false},
		{"rubbish", "1000S\nabc\n", Quota{SizeLimit: 1000}, false},
		{"bad limit", "xS\n1 1\n", Quota{}, false},
		{"empty", "", Quota{}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got, _, ok := parseQuota(tc.text); got != tc.want || ok != tc.ok {
				t.Errorf("got %+v, %v, want %+v, %v", got, ok, tc.want, tc.ok)
			}
		})
	}
}

// A limit in another server's maildirsize applies if none is configured.
// Changes made by other programs are detected, and an invalid file is replaced.
func TestForeignMaildirsize(t *testing.T) {
	s := testStore(t, Config{})
	f := testFolder(t, s, "INBOX")
	put(t, f, "Subject: a\n\nx\n", 0)
	file := boxDir(s) + "/maildirsize"
	must(t, os.WriteFile(file, []byte("40S\n14 1\n"), 0o600))
	put(t, f, "Subject: b\n\nx\n", 0)
	n, err := f.NewMessage()
	must(t, err)
	n.Write([]byte("Subject: c\n\nx\n"))
	if _, _, err := f.Append(n); err != ErrQuota {
		t.Errorf("over the limit: %v", err)
	}
	n.Discard()
	must(t, os.WriteFile(file, []byte("1000S\nrubbish\n"), 0o600))
	if q, err := f.box.Quota(); err != nil || q != (Quota{28, 2, 1000, 0}) {
		t.Errorf("quota %+v, %v", q, err)
	}
}

func FuzzQuota(f *testing.F) {
	f.Add("1000S,10C\n500 5\n-100 -1\n")
	f.Fuzz(func(t *testing.T, text string) {
		if q, lines, ok := parseQuota(text); ok && (lines == 0 || q.Size < 0 || q.Messages < 0) {
			t.Errorf("%+v from %d lines", q, lines)
		}
	})
}
