//go:build unix

package maildir

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestReplace(t *testing.T) {
	d, path := testDir(t)
	for _, text := range []string{"first", "second", ""} {
		must(t, d.Replace("list", []byte(text)))
		got, err := d.ReadFile("list", 100)
		if err != nil || string(got) != text {
			t.Errorf("read %q, %v, want %q", got, err, text)
		}
		if entries, err := os.ReadDir(path); err != nil || len(entries) != 1 {
			t.Errorf("%d files, %v", len(entries), err)
		}
	}
	// A file left behind by a crash has the same name as the next temporary
	// file.
	must(t, os.WriteFile(filepath.Join(path, "list.tmp"), []byte("half"), 0o600))
	must(t, d.Replace("list", []byte("third")))
	if got, err := d.ReadFile("list", 100); err != nil || string(got) != "third" {
		t.Errorf("read %q, %v", got, err)
	}
	if _, err := d.ReadFile("list", 4); err == nil {
		t.Error("a file over the limit was read")
	}
}

func TestPlace(t *testing.T) {
	d, _ := testDir(t)
	must(t, d.Mkdir("tmp"))
	must(t, d.Mkdir("cur"))
	tmp, err := d.Sub("tmp")
	must(t, err)
	defer tmp.Close()
	cur, err := d.Sub("cur")
	must(t, err)
	defer cur.Close()
	date := time.Unix(1_000_000_000, 0)
	must(t, tmp.Place(strings.NewReader("text\n"), date, cur, "a:2,"))
	st, err := cur.Stat("a:2,")
	if err != nil || !st.MTime.Equal(date) || st.Size != 5 || !st.Mode.IsRegular() || st.Links != 1 {
		t.Errorf("placed %+v, %v", st, err)
	}
	broken := io.MultiReader(strings.NewReader("half"), &failing{})
	if err := tmp.Place(broken, date, cur, "b:2,"); !errors.Is(err, errRead) {
		t.Errorf("a broken source: %v", err)
	}
	for _, dir := range []*Dir{tmp, cur} {
		if names, err := dir.All(); err != nil || len(names) > 1 || slices.Contains(names, "b:2,") {
			t.Errorf("left %v, %v", names, err)
		}
	}
}

var errRead = errors.New("read failed")

type failing struct{}

func (*failing) Read([]byte) (int, error) { return 0, errRead }

func TestDirOperations(t *testing.T) {
	d, path := testDir(t)
	must(t, os.WriteFile(filepath.Join(path, "file"), []byte("hello"), 0o600))
	must(t, os.Symlink("file", filepath.Join(path, "link")))
	must(t, d.Mkdir("sub"))
	for _, tc := range []struct {
		what string
		list func() ([]string, error)
		want []string
	}{
		{"files", d.Files, []string{"file"}},
		{"all", d.All, []string{"file", "link"}},
		{"directories", d.Dirs, []string{"sub"}},
	} {
		got, err := tc.list()
		slices.Sort(got)
		if err != nil || !slices.Equal(got, tc.want) {
			t.Errorf("%s: %q, %v", tc.what, got, err)
		}
	}
	must(t, d.Link("file", d, "second"))
	if err := d.Link("file", d, "second"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a link over a file: %v", err)
	}
	st, err := d.Stat("second")
	if err != nil || st.Links != 2 {
		t.Errorf("%+v, %v", st, err)
	}
	w, err := d.Write("file")
	must(t, err)
	_, err = w.WriteAt([]byte("J"), 0)
	must(t, errors.Join(err, w.Close()))
	var b [3]byte
	if n, err := d.ReadHead("second", b[:]); err != nil || n != 3 || string(b[:]) != "Jel" {
		t.Errorf("head %q, %v", b[:n], err)
	}
	var whole [10]byte
	if n, err := d.ReadHead("second", whole[:]); err != nil || n != 5 {
		t.Errorf("head of %d octets, %v", n, err)
	}
	f, st, err := d.OpenStat("file")
	if err != nil || st.Size != 5 {
		t.Fatalf("%+v, %v", st, err)
	}
	f.Close()
	if _, err := d.ReadHead("sub", b[:]); err == nil {
		t.Error("the head of a directory was read")
	}
	if err := d.Rename("file", d, "../file"); err == nil {
		t.Error("a file left the directory")
	}
	must(t, d.RemoveDir("sub"))
	must(t, d.Sync())
	if d.Path() != path+"/." && d.Path() != path {
		t.Errorf("path %s", d.Path())
	}
	must(t, os.RemoveAll(path))
	if st, err := d.StatSelf(); err != nil || st.Links != 0 {
		t.Errorf("a removed directory: %+v, %v", st, err)
	}
}

func TestSizes(t *testing.T) {
	for _, tc := range []struct {
		base       string
		size, wire int64
	}{
		{"1.M1P1.h", -1, -1},
		{"1.M1P1.h,S=10", 10, -1},
		{"1.M1P1.h,S=10,W=12", 10, 12},
		{"1.M1P1.h,W=12,S=10", 10, 12},
		{"1.M1P1.h,S=-1,W=x", -1, -1},
		{"1.M1P1.h,Z=3,S=4,", 4, -1},
		{"1.M1P1.h,S=1,S=2", 1, -1},
	} {
		if size, wire := Sizes(tc.base); size != tc.size || wire != tc.wire {
			t.Errorf("%s: %d, %d", tc.base, size, wire)
		}
	}
	if size, wire := Sizes(WithSizes("x", 7, 9)); size != 7 || wire != 9 {
		t.Errorf("got back %d, %d", size, wire)
	}
}

func TestArrivalTime(t *testing.T) {
	for name, want := range map[string]int64{"1700000000.M1P1.h:2,S": 1_700_000_000, "x": 0, "": 0, "99999999999999999999.h": 1 << 40} {
		if got := ArrivalTime(name); got != want {
			t.Errorf("%q: %d", name, got)
		}
	}
	bases := []string{"2.M1.h", "1.M20.h", "1.M3.h", "1.x", "1.M3.a"}
	SortArrival(bases, strings.Clone)
	if want := []string{"1.x", "1.M3.a", "1.M3.h", "1.M20.h", "2.M1.h"}; !slices.Equal(bases, want) {
		t.Errorf("sorted %q", bases)
	}
}

func TestUniqueNames(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		name := Unique()
		if seen[name] || checkName(name) != nil || strings.ContainsAny(name, ":,") || ArrivalTime(name) < 1_600_000_000 {
			t.Fatalf("name %q", name)
		}
		seen[name] = true
	}
}

func TestCourierFiles(t *testing.T) {
	names := ParseCourierSizes("/2 9 77\na.h:2,S 10 3:77\nb.h 11 0:0\nbroken line\nc.h 12 x:77\nd.h 12 5\n")
	if len(names) != 2 || names["a.h"] != "UID3-77" || names["b.h"] != "b.h" {
		t.Errorf("names %q", names)
	}
	if names := ParseCourierSizes("a.h 10 3:77\n"); names != nil {
		t.Errorf("without a header: %q", names)
	}
	keywords, byBase := ParseCourierKeywords("$Label1\nwork\n\na.h:0 1\nb.h:1 7 x -1\nbroken\n")
	if !slices.Equal(keywords, []string{"$Label1", "work"}) || len(byBase) != 2 || !slices.Equal(byBase["a.h"], []int{0, 1}) || !slices.Equal(byBase["b.h"], []int{1}) {
		t.Errorf("keywords %q, %v", keywords, byBase)
	}
}

func TestValidKeyword(t *testing.T) {
	for name, want := range map[string]bool{
		"$Label1": true, "work": true, strings.Repeat("k", 128): true,
		"": false, `\Seen`: false, "two words": false, "a(b": false, "ü": false, strings.Repeat("k", 129): false,
	} {
		if got := ValidKeyword(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

// WireLen, WireSize, LFWriter and CRLFReader agree, even for texts longer than
// their buffers.
func TestWireSizesAgree(t *testing.T) {
	for _, text := range []string{
		"", "\n", "\r\n", "a", "a\nb\r\nc", "\r", "a\r\r\nb", "\n\n\r\n\n",
		strings.Repeat("a line of text\n", 10_000), strings.Repeat("a line of text\r\n", 10_000),
		strings.Repeat("x", 3*block) + "\n" + strings.Repeat("y", block-1) + "\r\n",
	} {
		size, wire, err := WireSize(strings.NewReader(text))
		if err != nil || size != int64(len(text)) || wire != WireLen([]byte(text)) {
			t.Errorf("%.20q: size %d, wire %d and %d, %v", text, size, wire, WireLen([]byte(text)), err)
		}
		c := NewCRLFReader(nil)
		c.Reset(strings.NewReader(text))
		sent, err := io.Copy(io.Discard, struct{ io.Reader }{c})
		if err != nil || sent != wire {
			t.Errorf("%.20q: read %d octets of %d, %v", text, sent, wire, err)
		}
		var file bytes.Buffer
		l := NewLFWriter(nil)
		l.Reset(&file)
		_, err = l.Write([]byte(text))
		if err = errors.Join(err, l.Flush()); err != nil || l.Size != int64(file.Len()) || l.Wire != WireLen(file.Bytes()) {
			t.Errorf("%.20q: stored %d octets, counted %d, %d on the wire, %v", text, file.Len(), l.Size, l.Wire, err)
		}
	}
	l := NewLFWriter(failingWriter{})
	if _, err := l.Write(bytes.Repeat([]byte("x"), 2*block)); !errors.Is(err, errRead) {
		t.Errorf("a full disk: %v", err)
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errRead }
