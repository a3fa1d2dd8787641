package maildir

import (
	"bytes"
	"errors"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"hoplite/internal/handles"
)

func testDir(t testing.TB) (*Dir, string) {
	t.Helper()
	path := t.TempDir()
	root, err := os.OpenRoot(path)
	must(t, err)
	d, err := OpenDir(handles.Share(), root, ".")
	must(t, err)
	t.Cleanup(func() { d.Close(); root.Close() })
	return d, path
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestFolderNames(t *testing.T) {
	for _, tc := range []struct{ name, dir string }{
		{"INBOX", "."},
		{"Sent", ".Sent"},
		{"Lists/Go/dev", ".Lists.Go.dev"},
		{"INBOX/x", ".INBOX.x"},
		{"Prüfung", ".Pr&APw-fung"},
		{"台北", ".&U,BTFw-"},
		{"a & b", ".a &- b"},
		{"~peter/mail", ".~peter.mail"},
		{"😀", ".&2D3eAA-"},
		{strings.Repeat("x", 254), "." + strings.Repeat("x", 254)},
		{strings.Repeat("x/", 126) + "yz", "." + strings.Repeat("x.", 126) + "yz"},
		{strings.Repeat("ü", 94), "." + EncodeUTF7(strings.Repeat("ü", 94))},
	} {
		dir, err := FolderDir(tc.name)
		if err != nil || dir != tc.dir {
			t.Errorf("FolderDir(%q) = %q, %v, want %q", tc.name, dir, err, tc.dir)
		}
		if name, ok := FolderName(tc.dir); !ok || name != tc.name {
			t.Errorf("FolderName(%q) = %q, %v, want %q", tc.dir, name, ok, tc.name)
		}
	}
	if dir, err := FolderDir("inbox"); err != nil || dir != "." {
		t.Errorf("inbox is %q, %v", dir, err)
	}
}

func TestImpossibleFolderNames(t *testing.T) {
	for _, name := range []string{
		"", "/", "a/", "/a", "a//b", "..", ".", "../x", "a/../../b", "a.b", "a\x00b", "a\nb", "\xff",
		strings.Repeat("x", 255), strings.Repeat("x/", 127) + "xy", strings.Repeat("ü", 95), strings.Repeat("x", 1<<20), "\u0085",
	} {
		if dir, err := FolderDir(name); err == nil {
			t.Errorf("%q became %q", name, dir)
		}
	}
	for _, dir := range []string{"", "..", "...", "cur", ".a..b", ".&", ".&AGE-", ".&AC4ALw-x", ".a&ACY-", ".Pr&APw", ".\xff"} {
		if name, ok := FolderName(dir); ok {
			t.Errorf("directory %q became folder %q", dir, name)
		}
	}
}

func TestInfo(t *testing.T) {
	for _, tc := range []struct {
		text string
		want Info
		out  string
	}{
		{"", Info{}, ":2,"},
		{":2,", Info{}, ":2,"},
		{":2,SF", Info{Flags: Seen | Flagged}, ":2,FS"},
		{":2,DFRST", Info{Flags: Draft | Flagged | Answered | Seen | Deleted}, ":2,DFRST"},
		{":2,PSac", Info{Flags: Seen, Letters: 5, Other: "P"}, ":2,PSac"},
		{":2,S,x=1", Info{Flags: Seen, More: ",x=1"}, ":2,S,x=1"},
		{":1,xyz", Info{}, ":2,"},
	} {
		got := ParseInfo(tc.text)
		if got != tc.want || got.String() != tc.out {
			t.Errorf("%q is %+v and %q, want %+v and %q", tc.text, got, got.String(), tc.want, tc.out)
		}
	}
}

func TestNames(t *testing.T) {
	base := WithSizes("1700000000.M5P1.host", 10, 12)
	if s, w := Sizes(base); s != 10 || w != 12 {
		t.Errorf("sizes of %s: %d, %d", base, s, w)
	}
	if s, w := Sizes("1700000000.M5P1.host,S=x,W=-1"); s != -1 || w != -1 {
		t.Errorf("bad sizes are %d, %d", s, w)
	}
	want := []string{"9.M5P1.h", "10.M2P1.h", "10.M10P1.h", "11.x", "11.y"}
	got := slices.Clone(want)
	slices.Reverse(got)
	SortArrival(got, strings.Clone)
	if !slices.Equal(got, want) {
		t.Errorf("order of arrival %v, want %v", got, want)
	}
	seen := map[string]bool{}
	for range 1000 {
		if n := Unique(); seen[n] || strings.ContainsAny(n, "/:,") {
			t.Fatalf("name %q", n)
		} else {
			seen[n] = true
		}
	}
}

const list3 = "3 V1275660208 N25022 G3085f01b7f11094c501100008c4a11c1 H0000000000000001234 Zkept\n" +
	"1 S10 W12 :a.b,S=10\n" +
	"25006 :1276528487.M364837P9451.kurkku,S=1355,W=1394\n" +
	"25017 W2481 Pold-uidl G0123 :1276533073.M242911P3632.kurkku\n"

func TestUIDList(t *testing.T) {
	l, err := ParseUIDList(list3)
	must(t, err)
	want := &UIDList{
		Validity: 1275660208, Next: 25022, GUID: "3085f01b7f11094c501100008c4a11c1", ModSeq: 1234, Other: []string{"Zkept"},
		Entries: []Entry{{1, "S10 W12", "a.b,S=10"}, {25006, "", "1276528487.M364837P9451.kurkku,S=1355,W=1394"}, {25017, "W2481 Pold-uidl G0123", "1276533073.M242911P3632.kurkku"}},
	}
	if !reflect.DeepEqual(l, want) {
		t.Errorf("got  %+v\nwant %+v", l, want)
	}
	if e, ok := l.Find(25017); !ok || e.Key('P') != "old-uidl" || e.Key('X') != "" {
		t.Errorf("entry %+v", e)
	}
	if got := string(l.Bytes()); got != list3 {
		t.Errorf("written %q", got)
	}
	if at := ModSeqOffset([]byte(list3)); list3[at:at+19] != ModSeqText(1234) {
		t.Errorf("offset %d", at)
	}
}

func TestUIDListForms(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		next       uint32
		entries    int
		bad        bool
	}{
		{"Courier's", "1 1256463523 3\n1 1256463521.M1.host\n2 1256463522.M2.host:2,S\n", 3, 2, false},
		{"next too low", "3 V1 N1\n5 :a\n9 :b\n", 10, 2, false},
		{"no messages", "3 V1 N7 G3085f01b7f11094c501100008c4a11c1\n", 7, 0, false},
		{"empty", "", 0, 0, true},
		{"other version", "4 V1 N1\n", 0, 0, true},
		{"no validity", "3 N1 Pu\n", 1, 0, true},
		{"not ascending", "3 V1 N1\n5 :a\n5 :b\n", 6, 1, true},
		{"no name", "3 V1 N1\n5 :\n", 1, 0, true},
		{"a path", "3 V1 N1\n5 :../x\n", 1, 0, true},
		{"half a line", "3 V1 N1\n5 :a\n6 :b", 6, 1, true},
		{"UID 0", "3 V1 N1\n0 :a\n", 1, 0, true},
		{"UID too large", "3 V1 N1\n4294967295 :a\n", 1, 0, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l, err := ParseUIDList(tc.text)
			if (err != nil) != tc.bad || err != nil && !errors.Is(err, ErrUIDList) {
				t.Errorf("error %v", err)
			}
			if l.Next != tc.next || len(l.Entries) != tc.entries {
				t.Errorf("next %d, %d entries; want %d, %d", l.Next, len(l.Entries), tc.next, tc.entries)
			}
		})
	}
}

func TestKeywords(t *testing.T) {
	k := ParseKeywords("0 $Forwarded\n2 work\n99 x\n2 twice\nrubbish\n3 a b\n")
	if want := (Keywords{0: "$Forwarded", 2: "work"}); k != want {
		t.Errorf("got %q", k)
	}
	if got := string(k.Bytes()); got != "0 $Forwarded\n2 work\n" {
		t.Errorf("written %q", got)
	}
}

func TestSubscriptions(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		want       []string
	}{
		{"new form", "V\t2\n\nSent\nA\tB\nPr&APw-fung\n", []string{"Sent", "A/B", "Prüfung"}},
		{"old form", "Sent\nA.B\nPr&APw-fung\n", []string{"Sent", "A/B", "Prüfung"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := ParseSubscriptions(tc.text, ".")
			if !slices.Equal(s.Names, tc.want) {
				t.Errorf("names %q", s.Names)
			}
			if got := string(s.Bytes()); got != tc.text {
				t.Errorf("written %q", got)
			}
		})
	}
	if got := string(Subscriptions{Names: []string{"x/y"}}.Bytes()); got != "V\t2\n\nx\ty\n" {
		t.Errorf("a new file is %q", got)
	}
}

// However the text is split, it is stored with LF and sent with CRLF line
// endings.
func TestLineEnds(t *testing.T) {
	for _, tc := range []struct {
		name, in, disk, wire string
	}{
		{"CRLF", "a\r\n\r\nb\r\n", "a\n\nb\n", "a\r\n\r\nb\r\n"},
		{"LF", "a\n\nb\n", "a\n\nb\n", "a\r\n\r\nb\r\n"},
		{"lone CR", "a\rb\r\r\nc\r", "a\rb\nc\r", "a\rb\r\nc\r"},
		{"no end", "a", "a", "a"},
		{"empty", "", "", ""},
	} {
		for size := 1; size <= len(tc.in)+1; size++ {
			var b bytes.Buffer
			w := NewLFWriter(&b)
			for p := []byte(tc.in); len(p) > 0; p = p[min(size, len(p)):] {
				w.Write(p[:min(size, len(p))])
			}
			must(t, w.Flush())
			if b.String() != tc.disk || w.Size != int64(len(tc.disk)) {
				t.Errorf("%s by %d: stored %q, counted %d", tc.name, size, b.String(), w.Size)
			}
			if w.Wire != int64(len(tc.wire)) {
				t.Errorf("%s by %d: counted %d on the wire", tc.name, size, w.Wire)
			}
			got, err := io.ReadAll(&limited{NewCRLFReader(&limited{strings.NewReader(tc.disk), size}), size})
			if err != nil || string(got) != tc.wire {
				t.Errorf("%s by %d: read %q, %v", tc.name, size, got, err)
			}
			var out bytes.Buffer
			if n, err := NewCRLFReader(&limited{strings.NewReader(tc.disk), size}).WriteTo(&out); err != nil || out.String() != tc.wire || n != int64(out.Len()) {
				t.Errorf("%s by %d: wrote %q, %d, %v", tc.name, size, out.String(), n, err)
			}
			if s, n, err := WireSize(&limited{strings.NewReader(tc.disk), size}); err != nil || s != int64(len(tc.disk)) || n != int64(len(tc.wire)) {
				t.Errorf("%s by %d: measured %d, %d, %v", tc.name, size, s, n, err)
			}
		}
	}
}

// limited reads a few octets at a time.
type limited struct {
	r io.Reader
	n int
}

func (l *limited) Read(p []byte) (int, error) { return l.r.Read(p[:min(l.n, len(p))]) }

func TestDirFollowsNoLinks(t *testing.T) {
	d, path := testDir(t)
	must(t, os.Symlink("/etc", path+"/etc"))
	must(t, os.Symlink("/etc/passwd", path+"/passwd"))
	if _, err := d.Sub("etc"); err == nil {
		t.Error("followed a link to a directory")
	}
	if _, err := d.Open("passwd"); err == nil {
		t.Error("followed a link to a file")
	}
	if _, err := d.Append("passwd", 0o600); err == nil {
		t.Error("followed a link for writing")
	}
	for _, name := range []string{"", ".", "..", "../x", "a/b", "a\x00"} {
		if _, err := d.Open(name); err == nil {
			t.Errorf("opened %q", name)
		}
		if err := d.Rename("passwd", d, name); err == nil {
			t.Errorf("renamed to %q", name)
		}
	}
	if files, err := d.Files(); err != nil || len(files) != 0 {
		t.Errorf("files %v, %v", files, err)
	}
}

func TestUIDValidityGrows(t *testing.T) {
	d, path := testDir(t)
	var last uint32
	for range 5 {
		v, err := NextUIDValidity(d)
		if err != nil || v <= last {
			t.Fatalf("%d after %d, %v", v, last, err)
		}
		last = v
	}
	must(t, os.WriteFile(path+"/dovecot-uidvalidity.ffffff00", nil, 0o444))
	if v, err := NextUIDValidity(d); err != nil || v != 0xffffff01 {
		t.Errorf("%x, %v", v, err)
	}
}

func FuzzUIDList(f *testing.F) {
	f.Add(list3)
	f.Add("1 1256463523 3\n1 1256463521.M1.host\n")
	f.Fuzz(func(t *testing.T, text string) {
		l, err := ParseUIDList(text)
		for i, e := range l.Entries {
			if i > 0 && e.UID <= l.Entries[i-1].UID || e.UID >= l.Next || checkName(e.Base) != nil {
				t.Errorf("entry %d: %+v, next %d", i, e, l.Next)
			}
		}
		if err != nil {
			return
		}
		again, err := ParseUIDList(string(l.Bytes()))
		if err != nil || !reflect.DeepEqual(again.Entries, l.Entries) {
			t.Errorf("%q is not read back: %v", l.Bytes(), err)
		}
	})
}

func FuzzFolderName(f *testing.F) {
	f.Add("Lists/Prüfung")
	f.Add(".&APw-")
	f.Fuzz(func(t *testing.T, s string) {
		if dir, err := FolderDir(s); err == nil {
			if strings.ContainsAny(dir, "/\x00") || dir != "." && strings.HasPrefix(dir, "..") {
				t.Errorf("%q became %q", s, dir)
			}
			if name, ok := FolderName(dir); !ok || name != CanonicalFolder(s) {
				t.Errorf("%q became %q and %q", s, dir, name)
			}
		}
		if name, ok := FolderName(s); ok {
			if dir, err := FolderDir(name); err != nil || dir != s {
				t.Errorf("directory %q became %q and %q", s, name, dir)
			}
		}
	})
}

func FuzzSideFiles(f *testing.F) {
	f.Add("V\t2\n\nA\tB\n")
	f.Add("0 $Label1\n")
	f.Add(":2,FSab,x")
	f.Fuzz(func(t *testing.T, s string) {
		subs := ParseSubscriptions(s, ".")
		if again := ParseSubscriptions(string(subs.Bytes()), "."); len(subs.Names) > 0 && len(again.Names) > len(subs.Names) {
			t.Errorf("%q grew to %q", subs.Names, again.Names)
		}
		if k := ParseKeywords(s); ParseKeywords(string(k.Bytes())) != k {
			t.Errorf("keywords %q are not read back", k)
		}
		if in := ParseInfo(s); ParseInfo(in.String()) != in {
			t.Errorf("info %+v is not read back", in)
		}
		base, _ := Split(s)
		Sizes(base)
		SortArrival([]string{s, base}, strings.Clone)
	})
}
