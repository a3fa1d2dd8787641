package maildir

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// TestNamesOfOthers reads the file names that other delivery agents and servers
// write. The base name identifies the message, so it must not change with flags.
func TestNamesOfOthers(t *testing.T) {
	for _, c := range []struct {
		name, file, base string
		flags            Flags
		letters          uint32
		size, wire       int64
	}{
		{"Postfix", "1700000000.V801I2a3b4M123456.mx", "1700000000.V801I2a3b4M123456.mx", 0, 0, -1, -1},
		{"Dovecot", "1700000000.M123456P789.mx,S=1042,W=1070:2,RS", "1700000000.M123456P789.mx,S=1042,W=1070", Answered | Seen, 0, 1042, 1070},
		{"Dovecot with keywords", "1700000000.M1P1.mx,S=10,W=12:2,Sac", "1700000000.M1P1.mx,S=10,W=12", Seen, 1 | 1<<2, 10, 12},
		{"Courier", "1700000000.M123P789V801I2.mx,S=1042:2,S", "1700000000.M123P789V801I2.mx,S=1042", Seen, 0, 1042, -1},
		{"Courier with a flag it invented", "1700000000.M1P1.mx:2,PS", "1700000000.M1P1.mx", Seen, 0, -1, -1},
		{"qmail", "1700000000.12345.mx", "1700000000.12345.mx", 0, 0, -1, -1},
		{"mutt", "1700000000.R123456.mx:2,DT", "1700000000.R123456.mx", Draft | Deleted, 0, -1, -1},
		{"flags out of order", "a:2,TSDRF", "a", Deleted | Seen | Draft | Answered | Flagged, 0, -1, -1},
		{"a flag twice", "a:2,SS", "a", Seen, 0, -1, -1},
		{"lower-case s is a keyword", "a:2,s", "a", 0, 1 << 18, -1, -1},
		{"experimental info has no flags", "a:1,S", "a", 0, 0, -1, -1},
		{"info without a comma", "a:2S", "a", 0, 0, -1, -1},
		{"text after a second comma has no flags", "a:2,S,F", "a", Seen, 0, -1, -1},
		{"the size in another order", "a,W=12,S=10:2,", "a,W=12,S=10", 0, 0, 10, 12},
		{"a size that is not a number", "a,S=1x,W=:2,", "a,S=1x,W=", 0, 0, -1, -1},
		{"a size beyond 63 bits", "a,S=99999999999999999999", "a,S=99999999999999999999", 0, 0, -1, -1},
	} {
		base, info := Split(c.file)
		in := ParseInfo(info)
		size, wire := Sizes(base)
		if base != c.base || in.Flags != c.flags || in.Letters != c.letters || size != c.size || wire != c.wire {
			t.Errorf("%s: base %s, flags %b, letters %b, sizes %d and %d", c.name, base, in.Flags, in.Letters, size, wire)
		}
		if Base(base+in.String()) != base || ParseInfo(in.String()) != in {
			t.Errorf("%s: renamed to %s", c.name, base+in.String())
		}
	}
}

// TestUIDListsInPractice reads the lists that other servers and accidents leave.
// A UID that is read wrongly makes a client show the wrong message.
func TestUIDListsInPractice(t *testing.T) {
	const head = "3 V1700000000 N10 G3085f01b7f11094c501100008c4a11c1\n"
	for _, c := range []struct {
		name, text string
		uids       []uint32
		next       uint32
		bad        bool
	}{
		{"Dovecot's", head + "1 :a\n4 W12 S10 :b,S=10\n9 :c\n", []uint32{1, 4, 9}, 10, false},
		{"keys in another order", "3 G3085f01b7f11094c501100008c4a11c1 N10 V1700000000\n1 :a\n", []uint32{1}, 10, false},
		{"a key that we do not know", head + "1 Zfoo Ybar :a\n", []uint32{1}, 10, false},
		{"names with flags, as Dovecot writes when it repairs", head + "1 :a:2,S\n", []uint32{1}, 10, false},
		{"a name with a space", head + "1 :a b\n", []uint32{1}, 10, false},
		{"a GUID that is none", "3 V1 N10 Gxyz\n1 :a\n", []uint32{1}, 10, false},
		{"the first lines of a copy that was cut", head + "1 :a\n4 :b\n9 :", []uint32{1, 4}, 10, true},
		{"cut after the header", strings.TrimSuffix(head, "\n"), nil, 10, false},
		{"zeros after a power cut", head + "1 :a\n" + strings.Repeat("\x00", 40) + "\n", []uint32{1}, 10, true},
		{"zeros only", strings.Repeat("\x00", 64), nil, 0, true},
		{"the same UID twice", head + "4 :a\n4 :b\n", []uint32{4}, 10, true},
		{"UIDs that go back", head + "4 :a\n3 :b\n", []uint32{4}, 10, true},
		{"a UID above the next one, after an append", head + "12 :a\n", []uint32{12}, 13, false},
		{"an empty line", head + "1 :a\n\n2 :b\n", []uint32{1}, 10, true},
		{"Windows line endings are part of the name", head + "1 :a\r\n", []uint32{1}, 10, false},
		{"a negative UID", head + "-1 :a\n", nil, 10, true},
		{"a UID with a sign", head + "+1 :a\n", nil, 10, true},
		{"no space before the name", head + "1:a\n", nil, 10, true},
		{"a name that leaves the folder", head + "1 :../../etc/passwd\n", nil, 10, true},
		{"a dot as the name", head + "1 :.\n", nil, 10, true},
		{"a UIDVALIDITY of 0", "3 V0 N1\n", nil, 1, true},
		{"a UIDNEXT of 0", "3 V1 N0\n", nil, 0, true},
		{"a UIDVALIDITY beyond 32 bits", "3 V4294967296 N1\n", nil, 0, true},
		{"a version that does not exist", "2 V1 N1\n1 :a\n", nil, 0, true},
	} {
		l, err := ParseUIDList(c.text)
		var got []uint32
		for _, e := range l.Entries {
			got = append(got, e.UID)
		}
		if !slices.Equal(got, c.uids) || (err != nil) != c.bad || err != nil && !errors.Is(err, ErrUIDList) {
			t.Errorf("%s: UIDs %v, next %d, %v", c.name, got, l.Next, err)
		}
		if !c.bad && l.Next != c.next {
			t.Errorf("%s: next %d, want %d", c.name, l.Next, c.next)
		}
	}
}

// TestUIDListKeepsWhatItDoesNotKnow checks that keys of other programs survive a
// rewrite.
func TestUIDListKeepsWhatItDoesNotKnow(t *testing.T) {
	const text = "3 V7 N10 G3085f01b7f11094c501100008c4a11c1 Xone Yt=2\n1 Pold-uidl O3 :a\n4 W12 S10 :b,S=10\n"
	l, err := ParseUIDList(text)
	must(t, err)
	if got := string(l.Bytes()); got != text {
		t.Errorf("written as %q", got)
	}
	for key, want := range map[byte]string{'P': "old-uidl", 'O': "3", 'W': ""} {
		if got := l.Entries[0].Key(key); got != want {
			t.Errorf("key %c is %q", key, got)
		}
	}
	if e, ok := l.Find(4); !ok || e.Base != "b,S=10" || e.Key('S') != "10" {
		t.Errorf("UID 4 is %+v, %v", e, ok)
	}
	for _, uid := range []uint32{0, 2, 5, 1<<32 - 1} {
		if e, ok := l.Find(uid); ok {
			t.Errorf("UID %d is %+v", uid, e)
		}
	}
	if (&UIDList{Validity: 1, Next: 1}).Bytes() == nil || ModSeqOffset([]byte(text)) != -1 {
		t.Error("a list without a modification sequence has one")
	}
}

// TestModSeqInPlace checks that the bound in the header can be raised without
// rewriting the list.
func TestModSeqInPlace(t *testing.T) {
	l := UIDList{Validity: 7, Next: 10, GUID: "3085f01b7f11094c501100008c4a11c1", ModSeq: 5, Other: []string{"Xone"}, Entries: []Entry{{UID: 1, Base: "a"}}}
	text := l.Bytes()
	at := ModSeqOffset(text)
	if at < 0 {
		t.Fatalf("no offset in %q", text)
	}
	copy(text[at:], ModSeqText(1<<62))
	again, err := ParseUIDList(string(text))
	if err != nil || again.ModSeq != 1<<62 || len(again.Entries) != 1 || again.Next != 10 {
		t.Errorf("%+v, %v", again, err)
	}
	for name, head := range map[string]string{"of another width": "3 V7 N10 H5\n", "absent": "3 V7 N10\n", "in a name": "3 V7 N10\n1 :a H0000000000000000005\n", "of an empty file": ""} {
		if at := ModSeqOffset([]byte(head)); at != -1 {
			t.Errorf("a bound %s is at %d", name, at)
		}
	}
}

// TestSubscriptionsInPractice reads the lists of other servers.
func TestSubscriptionsInPractice(t *testing.T) {
	for _, c := range []struct {
		name, text, separator string
		want                  []string
	}{
		{"Dovecot's newer format", "V\t2\n\nSent\nLists\tGo\tdev\n", ".", []string{"Sent", "Lists/Go/dev"}},
		{"the older one, with dots", "Sent\nLists.Go.dev\n", ".", []string{"Sent", "Lists/Go/dev"}},
		{"the older one, with slashes", "Sent\nLists/Go\n", "/", []string{"Sent", "Lists/Go"}},
		{"a tab in a name", "V\t2\n\na\x01tb\n", ".", []string{"a\tb"}},
		{"Windows line endings", "V\t2\n\nSent\r\nDrafts\r\n", ".", []string{"Sent", "Drafts"}},
		{"empty lines", "V\t2\n\n\nSent\n\n", ".", []string{"Sent"}},
		{"a name twice", "Sent\nSent\n", ".", []string{"Sent"}},
		{"inbox by another spelling", "inbox\nINBOX\n", ".", []string{"INBOX"}},
		{"a name in UTF-8, as Dovecot may store it", "Pr\u00fcfung\n", ".", []string{"Pr\u00fcfung"}},
		{"no line ending at the end", "Sent\nDrafts", ".", []string{"Sent", "Drafts"}},
		{"an empty file", "", ".", nil},
		{"a header alone", "V\t2\n\n", ".", nil},
	} {
		s := ParseSubscriptions(c.text, c.separator)
		if !slices.Equal(s.Names, c.want) {
			t.Errorf("%s: %q, want %q", c.name, s.Names, c.want)
		}
		if again := ParseSubscriptions(string(s.Bytes()), c.separator); !slices.Equal(again.Names, s.Names) && !strings.Contains(c.text, "\x01") {
			t.Errorf("%s: written and read again: %q", c.name, again.Names)
		}
	}
}

// TestKeywordFiles reads dovecot-keywords. A wrong letter gives all messages a
// wrong label.
func TestKeywordFiles(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"Dovecot's", "0 $Forwarded\n1 Junk\n", "0 $Forwarded\n1 Junk\n"},
		{"gaps stay", "0 a\n5 b\n", "0 a\n5 b\n"},
		{"any order", "5 b\n0 a\n", "0 a\n5 b\n"},
		{"the first of two names for a letter", "0 a\n0 b\n", "0 a\n"},
		{"more letters than there are", "25 z\n26 no\n99 no\n", "25 z\n"},
		{"a negative number", "-1 a\n0 b\n", "0 b\n"},
		{"no name", "0\n1 \n2 c\n", "2 c\n"},
		{"a name that is none", "0 a b\n1 \\Seen\n2 c\n", "2 c\n"},
		{"Windows line endings", "0 a\r\n1 b\r\n", "0 a\n1 b\n"},
		{"zeros after a power cut", strings.Repeat("\x00", 20), ""},
	} {
		k := ParseKeywords(c.text)
		if got := string(k.Bytes()); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestModifiedUTF7 checks names that clients and other servers encode. Two names
// on disk must never look the same.
func TestModifiedUTF7(t *testing.T) {
	for _, c := range []struct{ plain, encoded string }{
		{"Sent", "Sent"}, {"a&b", "a&-b"}, {"&", "&-"}, {"Entw\u00fcrfe", "Entw&APw-rfe"}, {"\u65e5\u672c\u8a9e", "&ZeVnLIqe-"},
		{"\u00fc\u00fc", "&APwA,A-"}, {"a\u00fc&\u00fcb", "a&APw-&-&APw-b"}, {"\U0001f600x", "&2D3eAA-x"}, {"", ""},
	} {
		if got := EncodeUTF7(c.plain); got != c.encoded {
			t.Errorf("%q is encoded as %q, want %q", c.plain, got, c.encoded)
		}
		if got, err := DecodeUTF7(c.encoded); err != nil || got != c.plain {
			t.Errorf("%q is decoded as %q, %v", c.encoded, got, err)
		}
	}
	for name, bad := range map[string]string{
		"8-bit text": "Entw\u00fcrfe", "no end": "a&APw", "an encoded letter": "&AGE-", "an encoded ampersand": "&ACY-", "bits left over": "&APx-",
		"an odd number of octets": "&AP-", "half a surrogate": "&2D0-", "the slash of RFC 2152": "&ZeV/-", "two pieces where one is enough": "&APw-&APw-", "a control character": "a\x01",
	} {
		if got, err := DecodeUTF7(bad); !errors.Is(err, ErrUTF7) {
			t.Errorf("%s: %q is decoded as %q, %v", name, bad, got, err)
		}
	}
}

// TestCourierInPractice reads what a Courier server leaves behind when its
// mailboxes are taken over.
func TestCourierInPractice(t *testing.T) {
	sizes := ParseCourierSizes("/2 100 1256463523\n1.M1.h,S=10:2,S 10 7:1256463523\n2.M2.h 20 8:1256463523\n3.M3.h 30 0:0\nno numbers\n\n")
	for base, want := range map[string]string{"1.M1.h,S=10": "UID7-1256463523", "2.M2.h": "UID8-1256463523", "3.M3.h": "3.M3.h"} {
		if sizes[base] != want {
			t.Errorf("UIDL of %s is %q, want %q", base, sizes[base], want)
		}
	}
	if len(sizes) != 3 {
		t.Errorf("%d messages: %q", len(sizes), sizes)
	}
	for name, text := range map[string]string{"empty": "", "without a header": "a 1 1:1\n", "cut": "/2 1"} {
		if got := ParseCourierSizes(text); len(got) > 0 {
			t.Errorf("%s: %q", name, got)
		}
	}
	keywords, byBase := ParseCourierKeywords("$Label1\nwork\n\n1.M1.h:0 1\n2.M2.h:1\n3.M3.h:\n")
	if !slices.Equal(keywords, []string{"$Label1", "work"}) || !slices.Equal(byBase["1.M1.h"], []int{0, 1}) || !slices.Equal(byBase["2.M2.h"], []int{1}) || len(byBase["3.M3.h"]) > 0 {
		t.Errorf("keywords %q, %v", keywords, byBase)
	}
	if keywords, byBase := ParseCourierKeywords(""); len(keywords) > 0 || len(byBase) > 0 {
		t.Errorf("nothing became %q, %v", keywords, byBase)
	}
}
