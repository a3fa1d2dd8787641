package imap

import (
	"slices"
	"strings"
	"testing"

	"hoplite/imap/wire"
	"hoplite/maildrop"
)

func TestMergeNames(t *testing.T) {
	folders := []maildrop.FolderInfo{{Name: "b", Exists: true}, {Name: "INBOX", Exists: true}, {Name: "a", HasChildren: true}, {Name: "a/x", Exists: true}, {Name: "a-b", Exists: true}}
	got := mergeNames(folders, []string{"b", "gone/far/away", "a/y"})
	want := []struct {
		name                      string
		exists, subscribed, above bool
	}{
		{"INBOX", true, false, false}, {"a", false, false, true}, {"a/x", true, false, false}, {"a/y", false, true, false}, {"a-b", true, false, false},
		{"b", true, true, false}, {"gone", false, false, true}, {"gone/far", false, false, true}, {"gone/far/away", false, true, false},
	}
	if len(got) != len(want) {
		t.Fatalf("%d names: %v", len(got), got)
	}
	for i, w := range want {
		if g := got[i]; g.Name != w.name || g.Exists != w.exists || g.subscribed != w.subscribed || g.above != w.above {
			t.Errorf("%d: got %+v, want %+v", i, g, w)
		}
	}
}

func TestCompareNames(t *testing.T) {
	sorted := []string{"INBOX", "A", "A/b", "A/b/c", "A/d", "A b", "A-b", "INBOX/x", "a"}
	for i, a := range sorted {
		for j, b := range sorted {
			got := compareNames(a, b)
			if i < j && got >= 0 || i > j && got <= 0 || i == j && got != 0 {
				t.Errorf("%s, %s: %d", a, b, got)
			}
		}
	}
}

func TestHidesSubscribed(t *testing.T) {
	names := mergeNames([]maildrop.FolderInfo{{Name: "INBOX", Exists: true}, {Name: "a", Exists: true}, {Name: "b", Exists: true}, {Name: "b/c", Exists: true}},
		[]string{"a", "b/c", "INBOX/sub"})
	tests := []struct {
		name, pattern string
		want          bool
	}{
		{"a", "%", false}, {"b", "%", true}, {"b", "*", false}, {"b/c", "%", false}, {"INBOX", "%", true}, {"INBOX", "*", false},
	}
	for _, tc := range tests {
		p, err := newPatterns(&naming{separator: "/"}, "", []string{tc.pattern})
		must(t, err)
		i := slices.IndexFunc(names, func(n listed) bool { return n.Name == tc.name })
		if got := hidesSubscribed(names, i, p); got != tc.want {
			t.Errorf("%s, %s: got %v", tc.name, tc.pattern, got)
		}
	}
}

func TestListAttributes(t *testing.T) {
	plain := wire.List{}
	extended := wire.List{Extended: true}
	children := wire.List{Extended: true, ReturnChildren: true}
	use := wire.List{Extended: true, ReturnSpecialUse: true}
	subscribed := wire.List{Extended: true, Subscribed: true}
	folder := func(exists, children bool, use string, sub bool) listed {
		return listed{FolderInfo: maildrop.FolderInfo{Name: "x", Exists: exists, HasChildren: children, SpecialUse: use}, subscribed: sub}
	}
	tests := []struct {
		list   wire.List
		folder listed
		want   string
	}{
		{plain, folder(true, false, "", false), `\HasNoChildren`},
		{plain, folder(true, true, "", false), `\HasChildren`},
		{plain, folder(false, true, "", false), `\Noselect \HasChildren`},
		{plain, folder(true, false, `\Sent`, true), `\HasNoChildren \Sent`},
		{extended, folder(true, true, `\Sent`, true), ``},
		{extended, folder(false, true, "", false), `\NonExistent`},
		{children, folder(true, true, `\Sent`, false), `\HasChildren`},
		{use, folder(true, true, `\Sent`, false), `\Sent`},
		{subscribed, folder(true, false, "", true), `\Subscribed`},
		{subscribed, folder(false, false, "", true), `\NonExistent \Subscribed`},
		{wire.List{Extended: true, ReturnSubscribed: true}, folder(true, false, "", true), `\Subscribed`},
		{wire.List{Extended: true, SpecialUse: true}, folder(true, false, `\Junk`, false), `\Junk`},
	}
	for _, tc := range tests {
		if got := strings.Join(attributes(&tc.list, &tc.folder), " "); got != tc.want {
			t.Errorf("%+v %+v: got %s, want %s", tc.list, tc.folder, got, tc.want)
		}
	}
}

func TestListSelects(t *testing.T) {
	tests := []struct {
		name      string
		list      wire.List
		folder    listed
		childInfo bool
		want      bool
	}{
		{"a folder", wire.List{}, listed{FolderInfo: maildrop.FolderInfo{Exists: true}}, false, true},
		{"a parent", wire.List{}, listed{FolderInfo: maildrop.FolderInfo{HasChildren: true}}, false, true},
		{"a name that is only subscribed", wire.List{}, listed{subscribed: true}, false, false},
		{"subscribed", wire.List{Subscribed: true}, listed{subscribed: true}, false, true},
		{"not subscribed", wire.List{Subscribed: true}, listed{FolderInfo: maildrop.FolderInfo{Exists: true}}, false, false},
		{"above a subscribed one", wire.List{Subscribed: true, Recursive: true}, listed{}, true, true},
		{"no special use", wire.List{SpecialUse: true}, listed{FolderInfo: maildrop.FolderInfo{Exists: true}}, false, false},
		{"special use", wire.List{SpecialUse: true}, listed{FolderInfo: maildrop.FolderInfo{Exists: true, SpecialUse: `\All`}}, false, true},
	}
	for _, tc := range tests {
		if got := wanted(&tc.list, &tc.folder, tc.childInfo); got != tc.want {
			t.Errorf("%s: got %v", tc.name, got)
		}
	}
}

// The box contains nested folders, subscriptions and a special use.
func TestListResponses(t *testing.T) {
	tests := []struct {
		command string
		want    []string
	}{
		{`LIST "" ""`, []string{`LIST (\Noselect) "." ""`}},
		{`LIST "" %`, []string{`LIST (\HasNoChildren) "." INBOX`, `LIST (\HasChildren) "." A`, `LIST (\HasNoChildren \Sent) "." Out`}},
		{`LIST "A." *`, []string{`LIST (\HasNoChildren) "." A.b`, `LIST (\HasChildren) "." A.c`, `LIST (\HasNoChildren) "." A.c.d`}},
		{`LIST "" none`, nil},
		{`LIST "" &`, nil}, // cannot be a name (RFC 9051, 6.3.9)
		{`LIST (SUBSCRIBED) "" *`, []string{`LIST (\Subscribed) "." A.b`, `LIST (\NonExistent \Subscribed) "." Old.gone`}},
		{`LIST (SUBSCRIBED RECURSIVEMATCH) "" %`, []string{`LIST () "." A (CHILDINFO ("SUBSCRIBED"))`, `LIST (\NonExistent) "." Old (CHILDINFO ("SUBSCRIBED"))`}},
		{`LIST (SPECIAL-USE) "" *`, []string{`LIST (\Sent) "." Out`}},
		{`LIST "" (INBOX Out) RETURN (SPECIAL-USE CHILDREN SUBSCRIBED)`, []string{`LIST (\HasNoChildren) "." INBOX`, `LIST (\HasNoChildren \Sent) "." Out`}},
		{`LIST "" Out RETURN (STATUS (MESSAGES UIDNEXT))`, []string{`LIST () "." Out`, `STATUS Out (MESSAGES 0 UIDNEXT 1)`}},
		{`LSUB "" *`, []string{`LSUB () "." A.b`, `LSUB () "." Old.gone`}},
		{`LSUB "" %`, []string{`LSUB (\Noselect) "." A`, `LSUB (\Noselect) "." Old`}},
		{"NAMESPACE", []string{`NAMESPACE (("" ".")) NIL NIL`}},
	}
	d := open(t, Config{}, maildrop.Config{})
	c := d.login(t)
	for _, name := range []string{"A", "A.b", "A.c", "A.c.d"} {
		c.ok("CREATE %s", name)
	}
	c.ok(`CREATE Out (USE (\Sent))`)
	c.ok("SUBSCRIBE A.b")
	c.ok("SUBSCRIBE Old.gone")
	for _, tc := range tests {
		got := c.ok("%s", tc.command)
		want := []string{}
		for _, l := range tc.want {
			want = append(want, "* "+l)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s:\ngot  %q\nwant %q", tc.command, got, want)
		}
	}
}
