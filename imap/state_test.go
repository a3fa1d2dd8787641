package imap

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"testing"

	"hoplite/imap/wire"
	"hoplite/maildrop"
)

func TestParseFlags(t *testing.T) {
	tests := []struct {
		names    []string
		flags    maildrop.Flags
		keywords []string
		bad      bool
	}{
		{nil, 0, nil, false},
		{[]string{`\Seen`, `\ANSWERED`, `\flagged`, `\Deleted`, `\Draft`}, maildrop.Seen | maildrop.Answered | maildrop.Flagged | maildrop.Deleted | maildrop.Draft, nil, false},
		{[]string{`\Seen`, "$Junk", "label"}, maildrop.Seen, []string{"$Junk", "label"}, false},
		{[]string{`\Recent`}, 0, nil, true},
		{[]string{`\*`}, 0, nil, true},
	}
	for _, tc := range tests {
		flags, keywords, err := parseFlags(tc.names)
		if flags != tc.flags || !reflect.DeepEqual(keywords, tc.keywords) || (err != nil) != tc.bad {
			t.Errorf("%q: %v %q %v", tc.names, flags, keywords, err)
		}
	}
}

func TestFlagNames(t *testing.T) {
	if got := flagNames([]string{"$a", "", "b"}); got != `\Answered \Flagged \Deleted \Seen \Draft $a b` {
		t.Error(got)
	}
	for set, want := range map[maildrop.Flags]string{0: "", maildrop.Seen: `\Seen`, maildrop.Seen | maildrop.Flagged: `\Flagged \Seen`} {
		if got := flagTexts[set]; got != want {
			t.Errorf("%b: %q", set, got)
		}
	}
}

func TestSpecialUse(t *testing.T) {
	tests := []struct {
		in   []string
		want string
		no   bool
	}{
		{nil, "", false}, {[]string{`\sent`}, `\Sent`, false}, {[]string{`\Junk`}, `\Junk`, false},
		{[]string{`\Sent`, `\Junk`}, "", true}, {[]string{`\Foo`}, "", true},
	}
	for _, tc := range tests {
		if got, err := specialUse(tc.in); got != tc.want || (err != nil) != tc.no {
			t.Errorf("%q: %q %v", tc.in, got, err)
		}
	}
}

func TestQuotaResources(t *testing.T) {
	tests := []struct {
		q    maildrop.Quota
		want string
	}{
		{maildrop.Quota{Size: 5000, Messages: 3}, ""},
		{maildrop.Quota{Size: 5000, SizeLimit: 10_240}, "STORAGE 5 10"},
		{maildrop.Quota{Size: 0, SizeLimit: 1}, "STORAGE 0 1"},
		{maildrop.Quota{Messages: 3, MessagesLimit: 7}, "MESSAGE 3 7"},
		{maildrop.Quota{Size: 1025, SizeLimit: 2048, Messages: 3, MessagesLimit: 7}, "STORAGE 2 2 MESSAGE 3 7"},
	}
	for _, tc := range tests {
		if got := string(quotaResources(tc.q)); got != tc.want {
			t.Errorf("%+v: got %q, want %q", tc.q, got, tc.want)
		}
	}
}

func TestStatusItems(t *testing.T) {
	d := newDialect(extensions)
	snap := snapshot(1, 2, 4)
	snap.GUID = "guid"
	f := &figures{snap: snap, counts: maildrop.Counts{Messages: 3, Unseen: 2, Deleted: 1, Size: 70, DeletedSize: 40}, recent: 1, limit: 99}
	want := map[string]string{"MESSAGES": "3", "RECENT": "1", "UIDNEXT": "5", "UIDVALIDITY": "7", "UNSEEN": "2", "DELETED": "1", "SIZE": "70",
		"DELETED-STORAGE": "40", "HIGHESTMODSEQ": "4", "MAILBOXID": "(" + mailboxID(snap) + ")", "APPENDLIMIT": "99"}
	for name, item := range d.status {
		if got := string(item(nil, f)); got != want[name] {
			t.Errorf("%s: got %q, want %q", name, got, want[name])
		}
		delete(want, name)
	}
	if len(want) > 0 {
		t.Errorf("no rows for %v", want)
	}
	if got := string(d.status["HIGHESTMODSEQ"](nil, &figures{snap: &maildrop.Snapshot{}})); got != "1" {
		t.Errorf("HIGHESTMODSEQ of an empty mailbox is %s", got)
	}
}

// Each store error has its own text and response code; other errors are
// temporary.
func TestRefusal(t *testing.T) {
	tests := []struct {
		err  error
		code string
	}{
		{maildrop.ErrNoFolder, "NONEXISTENT"}, {maildrop.ErrFolderName, "NONEXISTENT"}, {maildrop.ErrGone, "NONEXISTENT"},
		{maildrop.ErrExists, "ALREADYEXISTS"}, {maildrop.ErrQuota, "OVERQUOTA"}, {maildrop.ErrNoMessage, "EXPUNGEISSUED"},
		{maildrop.ErrKeywords, "LIMIT"}, {maildrop.ErrKeywordName, "CANNOT"}, {maildrop.ErrInbox, "CANNOT"}, {maildrop.ErrAnnotations, "METADATA TOOMANY"}, {maildrop.ErrBusy, "INUSE"},
		{io.ErrNoProgress, "SERVERBUG"},
	}
	for _, tc := range tests {
		got := refusal(fmt.Errorf("store: %w", tc.err))
		if !like(string(got), "["+tc.code+"] …") {
			t.Errorf("%v: %s", tc.err, got)
		}
	}
}

func TestCallOK(t *testing.T) {
	tests := []struct {
		c    call
		want string
	}{
		{call{tag: "a", name: "NOOP"}, "a OK NOOP completed\r\n"},
		{call{tag: "a", name: "FETCH", uid: true}, "a OK UID FETCH completed\r\n"},
		{call{tag: "a", name: "SELECT", code: "[READ-ONLY]"}, "a OK [READ-ONLY] SELECT completed\r\n"},
	}
	for _, tc := range tests {
		var out bytes.Buffer
		tc.c.out = output{wire.NewWriter(&out)}
		tc.c.ok()
		tc.c.out.Flush()
		if out.String() != tc.want || !tc.c.completed {
			t.Errorf("got %q, want %q", out.String(), tc.want)
		}
	}
}

func TestDecodeBase64(t *testing.T) {
	for in, want := range map[string]string{"": "", "AGEAYg==": "\x00a\x00b", "!": "!", "YQ": "!"} {
		got, err := decodeBase64(in)
		var syntax *wire.SyntaxError
		if err != nil {
			if got = []byte("!"); !errors.As(err, &syntax) {
				t.Errorf("%q: %v is not answered with BAD", in, err)
			}
		}
		if string(got) != want || got == nil {
			t.Errorf("%q: %q", in, got)
		}
	}
}

func TestSavedPart(t *testing.T) {
	found := []int{2, 5, 7}
	tests := []struct {
		o     wire.ReturnOptions
		found []int
		want  []int
	}{
		{wire.ReturnOptions{Save: true}, found, found},
		{wire.ReturnOptions{Save: true, All: true, Min: true}, found, found},
		{wire.ReturnOptions{Save: true, Count: true, Max: true}, found, found},
		{wire.ReturnOptions{Save: true, Min: true}, found, []int{2}},
		{wire.ReturnOptions{Save: true, Max: true}, found, []int{7}},
		{wire.ReturnOptions{Save: true, Min: true, Max: true}, found, []int{2, 7}},
		{wire.ReturnOptions{Save: true, Min: true, Max: true}, []int{4}, []int{4}},
		{wire.ReturnOptions{Save: true, Min: true}, nil, nil},
	}
	for _, tc := range tests {
		if got := savedPart(tc.o, tc.found); !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%+v of %v: got %v, want %v", tc.o, tc.found, got, tc.want)
		}
	}
}

// The MODSEQ of an ESEARCH response is that of the messages in it (RFC 7162,
// 3.1.10).
func TestESearch(t *testing.T) {
	r := result{nums: []uint32{3, 4, 5, 9}, modseqs: []uint64{20, 90, 10, 30}}
	plain := result{nums: r.nums}
	tests := []struct {
		name string
		o    wire.ReturnOptions
		r    result
		uid  bool
		want string
	}{
		{"all", wire.ReturnOptions{Given: true, All: true}, plain, false, " ALL 3:5,9"},
		{"not given", wire.ReturnOptions{}, plain, true, " UID ALL 3:5,9"},
		{"min, max and count", wire.ReturnOptions{Given: true, Min: true, Max: true, Count: true}, plain, true, " UID MIN 3 MAX 9 COUNT 4"},
		{"nothing found", wire.ReturnOptions{Given: true, Min: true, Max: true, All: true, Count: true}, result{}, false, " COUNT 0"},
		{"nothing found, no count", wire.ReturnOptions{Given: true, All: true}, result{}, false, ""},
		{"modseq of all", wire.ReturnOptions{Given: true, All: true}, r, false, " ALL 3:5,9 MODSEQ 90"},
		{"modseq of the first", wire.ReturnOptions{Given: true, Min: true}, r, false, " MIN 3 MODSEQ 20"},
		{"modseq of the last", wire.ReturnOptions{Given: true, Max: true}, r, false, " MAX 9 MODSEQ 30"},
		{"modseq of both", wire.ReturnOptions{Given: true, Min: true, Max: true}, r, false, " MIN 3 MAX 9 MODSEQ 30"},
		{"modseq with count", wire.ReturnOptions{Given: true, Min: true, Count: true}, r, false, " MIN 3 COUNT 4 MODSEQ 90"},
		{"save alone", wire.ReturnOptions{Given: true, Save: true}, plain, false, "-"},
		{"save and min", wire.ReturnOptions{Given: true, Save: true, Min: true}, plain, false, " MIN 3"},
	}
	for _, tc := range tests {
		var out bytes.Buffer
		c := &call{tag: "t", uid: tc.uid, out: output{wire.NewWriter(&out)}}
		sendESearch(c, tc.o, tc.r)
		c.out.Flush()
		want := `* ESEARCH (TAG "t")` + tc.want + "\r\n"
		if tc.want == "-" {
			want = ""
		}
		if out.String() != want {
			t.Errorf("%s: got %q, want %q", tc.name, out.String(), want)
		}
	}
}
