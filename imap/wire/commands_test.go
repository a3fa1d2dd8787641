package wire

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

// parse calls one of the parser's methods on a complete text.
func parse[T any](in string, read func(*Parser) T) (T, error) {
	p := NewParser([]byte(in), AllForms)
	got := read(p)
	return got, p.End()
}

// check compares the result of a method with the expected value, or its error
// with the expected text.
func check[T any](t *testing.T, in string, read func(*Parser) T, want T, bad string) {
	t.Helper()
	got, err := parse(in, read)
	switch {
	case bad != "":
		if err == nil || err.Error() != bad {
			t.Errorf("%q: error %v, want %q", in, err, bad)
		}
	case err != nil:
		t.Errorf("%q: %v", in, err)
	case !reflect.DeepEqual(got, want):
		t.Errorf("%q:\ngot  %+v\nwant %+v", in, got, want)
	}
}

func TestAppendArguments(t *testing.T) {
	at := time.Date(1996, 7, 17, 2, 44, 25, 0, time.FixedZone("", -7*3600))
	tests := []struct {
		in   string
		want Append
		bad  string
	}{
		{"", Append{}, ""},
		{`(\Seen $x) `, Append{Flags: []string{`\Seen`, "$x"}}, ""},
		{`() `, Append{}, ""},
		{`"17-Jul-1996 02:44:25 -0700" `, Append{Date: at}, ""},
		{`(\Seen) "17-Jul-1996 02:44:25 -0700" `, Append{Flags: []string{`\Seen`}, Date: at}, ""},
		{"UTF8 (", Append{UTF8: true}, ""},
		{`(\Seen) UTF8 (`, Append{Flags: []string{`\Seen`}, UTF8: true}, ""},
		{`(\Seen)`, Append{}, `Expected " " before ""`},
		{`"yesterday" `, Append{}, `Invalid date "yesterday"`},
		{"UTF8 x", Append{}, `Expected "(" before "x"`},
	}
	for _, tc := range tests {
		got, err := parse(tc.in, (*Parser).Append)
		if tc.bad == "" && err == nil && got.Date.Equal(tc.want.Date) {
			got.Date, tc.want.Date = time.Time{}, time.Time{}
		}
		if tc.bad != "" && (err == nil || err.Error() != tc.bad) || tc.bad == "" && (err != nil || !reflect.DeepEqual(got, tc.want)) {
			t.Errorf("%q: got %+v %v, want %+v %s", tc.in, got, err, tc.want, tc.bad)
		}
	}
}

func TestSelectArguments(t *testing.T) {
	tests := []struct {
		in   string
		want Select
		bad  string
	}{
		{"INBOX", Select{Mailbox: "INBOX"}, ""},
		{`"a b"`, Select{Mailbox: "a b"}, ""},
		{"x (CONDSTORE)", Select{Mailbox: "x", CondStore: true}, ""},
		{"x (qresync (7 20))", Select{Mailbox: "x", QResync: &QResyncState{Validity: 7, ModSeq: 20}}, ""},
		{"x (QRESYNC (7 20 1:5))", Select{Mailbox: "x", QResync: &QResyncState{Validity: 7, ModSeq: 20, Known: []Range{{1, 5}}}}, ""},
		{"x (QRESYNC (7 20 1:5 (1 2)))", Select{Mailbox: "x", QResync: &QResyncState{7, 20, []Range{{1, 5}}, []Range{{1, 1}}, []Range{{2, 2}}}}, ""},
		{"x (QRESYNC (7 20 (1:2 2:3)))", Select{Mailbox: "x", QResync: &QResyncState{7, 20, nil, []Range{{1, 2}}, []Range{{2, 3}}}}, ""},
		{"x (CONDSTORE QRESYNC (7 20))", Select{Mailbox: "x", CondStore: true, QResync: &QResyncState{Validity: 7, ModSeq: 20}}, ""},
		{"", Select{}, `Expected a string before ""`},
		{"x y", Select{}, `Expected "(" before "y"`},
		{"x ()", Select{}, `Expected an atom before ")"`},
		{"x (FOO)", Select{}, `Unknown SELECT parameter "FOO"`},
		{"x (QRESYNC 7)", Select{}, `Expected "(" before "7)"`},
		{"x (QRESYNC (7 20 1:*))", Select{}, `Expected a number before "*))"`},
	}
	for _, tc := range tests {
		check(t, tc.in, (*Parser).Select, tc.want, tc.bad)
	}
}

func TestListArguments(t *testing.T) {
	tests := []struct {
		in   string
		want List
		bad  string
	}{
		{`"" *`, List{Patterns: []string{"*"}}, ""},
		{`ref "a%"`, List{Reference: "ref", Patterns: []string{"a%"}}, ""},
		{`"" ""`, List{Patterns: []string{""}}, ""},
		{`"" (a "b c" %)`, List{Extended: true, Patterns: []string{"a", "b c", "%"}}, ""},
		{`() "" *`, List{Extended: true, Patterns: []string{"*"}}, ""},
		{`(SUBSCRIBED REMOTE RECURSIVEMATCH SPECIAL-USE) "" *`, List{Extended: true, Patterns: []string{"*"}, Subscribed: true, Remote: true, Recursive: true, SpecialUse: true}, ""},
		{`"" * RETURN (SUBSCRIBED CHILDREN SPECIAL-USE)`, List{Extended: true, Patterns: []string{"*"}, ReturnSubscribed: true, ReturnChildren: true, ReturnSpecialUse: true}, ""},
		{`"" * RETURN ()`, List{Extended: true, Patterns: []string{"*"}}, ""},
		{`"" * return (status (messages size))`, List{Extended: true, Patterns: []string{"*"}, Status: []string{"MESSAGES", "SIZE"}}, ""},
		{`(RECURSIVEMATCH) "" *`, List{}, "RECURSIVEMATCH needs another selection option"},
		{`(FOO) "" *`, List{}, `Unknown LIST option "FOO"`},
		{`"" * RETURN (FOO)`, List{}, `Unknown LIST return option "FOO"`},
		{`"" * FOO`, List{}, `Unexpected "FOO"`},
		{`"" ()`, List{}, `Expected a pattern before ")"`},
		{`""`, List{}, `Expected " " before ""`},
	}
	for _, tc := range tests {
		check(t, tc.in, (*Parser).List, tc.want, tc.bad)
	}
}

func TestCreateArguments(t *testing.T) {
	tests := []struct {
		in   string
		want Create
		bad  string
	}{
		{"x", Create{Mailbox: "x"}, ""},
		{`x (USE (\Sent \Drafts))`, Create{Mailbox: "x", Use: []string{`\Sent`, `\Drafts`}}, ""},
		{"x (USE ())", Create{Mailbox: "x"}, ""},
		{"x (FOO y)", Create{}, `Unknown CREATE parameter "FOO"`},
		{"x (USE)", Create{}, `Expected " " before ")"`},
	}
	for _, tc := range tests {
		check(t, tc.in, (*Parser).Create, tc.want, tc.bad)
	}
}

func TestIDArguments(t *testing.T) {
	many := "(" + strings.TrimSuffix(strings.Repeat(`"a" NIL `, maxParams+1), " ") + ")"
	tests := []struct {
		in   string
		want [][2]string
		bad  string
	}{
		{"NIL", nil, ""},
		{"()", nil, ""},
		{`("name" "x" "version" NIL)`, [][2]string{{"name", "x"}, {"version", ""}}, ""},
		{`("name")`, nil, `Expected " " before ")"`},
		{`("` + strings.Repeat("n", maxParamName+1) + `" "x")`, nil, "ID parameter too long, or too many parameters"},
		{`("n" "` + strings.Repeat("x", maxParamValue+1) + `")`, nil, "ID parameter too long, or too many parameters"},
		{many, nil, "ID parameter too long, or too many parameters"},
		{"(name x)", nil, `Expected a string before "name x)"`},
		{"x", nil, "Expected a string or NIL"},
	}
	for _, tc := range tests {
		check(t, tc.in, (*Parser).ID, tc.want, tc.bad)
	}
}

func TestStoreArguments(t *testing.T) {
	one := Set{Ranges: []Range{{1, 1}}}
	tests := []struct {
		in   string
		want Store
		bad  string
	}{
		{`1 FLAGS (\Seen)`, Store{Set: one, Flags: []string{`\Seen`}}, ""},
		{`1 +FLAGS \Seen`, Store{Set: one, Op: Add, Flags: []string{`\Seen`}}, ""},
		{`1 -flags.silent (\Seen x)`, Store{Set: one, Op: Remove, Silent: true, Flags: []string{`\Seen`, "x"}}, ""},
		{`1 FLAGS.SILENT \Seen x y`, Store{Set: one, Silent: true, Flags: []string{`\Seen`, "x", "y"}}, ""},
		{"1 FLAGS ()", Store{Set: one}, ""},
		{"1 (UNCHANGEDSINCE 0) FLAGS x", Store{Set: one, Flags: []string{"x"}, Conditional: true}, ""},
		{"$ (UNCHANGEDSINCE 12) +FLAGS (x)", Store{Set: Set{Saved: true}, Op: Add, Flags: []string{"x"}, Conditional: true, UnchangedSince: 12}, ""},
		{"1 FOO x", Store{}, `Unknown STORE item "FOO"`},
		{"1 (FOO 1) FLAGS x", Store{}, `Unknown STORE modifier "FOO"`},
		{"1 FLAGS", Store{}, `Expected " " before ""`},
		{"1 FLAGS x ", Store{}, `Expected an atom before ""`},
		{`1 FLAGS \`, Store{}, `Expected an atom before ""`},
	}
	for _, tc := range tests {
		check(t, tc.in, (*Parser).Store, tc.want, tc.bad)
	}
}

func TestSortArguments(t *testing.T) {
	all := Key{Op: KeyAll}
	tests := []struct {
		in   string
		want Search
		bad  string
	}{
		{"(DATE) UTF-8 ALL", Search{Charset: "UTF-8", Key: all, Sort: []SortKey{{"DATE", false}}}, ""},
		{"(reverse date subject) us-ascii ALL", Search{Charset: "US-ASCII", Key: all, Sort: []SortKey{{"DATE", true}, {"SUBJECT", false}}}, ""},
		{"RETURN (MIN) (SIZE) UTF-8 ALL", Search{Return: ReturnOptions{Given: true, Min: true}, Charset: "UTF-8", Key: all, Sort: []SortKey{{"SIZE", false}}}, ""},
		{"(REVERSE) UTF-8 ALL", Search{}, "SORT needs a criterion"},
		{"(DATE REVERSE) UTF-8 ALL", Search{}, "SORT needs a criterion"},
		{"() UTF-8 ALL", Search{}, `Expected an atom before ") UTF-8 ALL"`},
		{"(DATE) UTF-8", Search{}, `Expected " " before ""`},
	}
	for _, tc := range tests {
		check(t, tc.in, (*Parser).Sort, tc.want, tc.bad)
	}
}

func TestThreadArguments(t *testing.T) {
	check(t, "refs utf-8 ALL", (*Parser).Thread, Search{Algorithm: "REFS", Charset: "UTF-8", Key: Key{Op: KeyAll}}, "")
	check(t, "REFS UTF-8", (*Parser).Thread, Search{}, `Expected " " before ""`)
	check(t, "REFS", (*Parser).Thread, Search{}, `Expected " " before ""`)
}

// Each row is a key and its parsed form.
func TestSearchArguments(t *testing.T) {
	day := time.Date(1994, 2, 1, 0, 0, 0, 0, time.UTC)
	one := Set{Ranges: []Range{{1, 1}}}
	tests := []struct {
		in   string
		want Key
	}{
		{"ALL", Key{Op: KeyAll}}, {"NEW", Key{Op: KeyNew}}, {"OLD", Key{Op: KeyRecent, Not: true}}, {"RECENT", Key{Op: KeyRecent}},
		{"seen", Key{Op: KeyFlag, Str: `\Seen`}}, {"UNDRAFT", Key{Op: KeyFlag, Str: `\Draft`, Not: true}},
		{"KEYWORD $x", Key{Op: KeyFlag, Str: "$x"}}, {"UNKEYWORD $x", Key{Op: KeyFlag, Str: "$x", Not: true}},
		{"1", Key{Op: KeySeq, Set: one}}, {"UID 1", Key{Op: KeyUID, Set: one}}, {"$", Key{Op: KeySeq, Set: Set{Saved: true}}},
		{"BEFORE 1-Feb-1994", Key{Op: KeyBefore, Date: day}}, {`SENTON "1-Feb-1994"`, Key{Op: KeySentOn, Date: day}}, {"SAVEDSINCE 01-Feb-1994", Key{Op: KeySavedSince, Date: day}},
		{"FROM ann", Key{Op: KeyHeader, Field: "From", Str: "ann"}}, {`HEADER X-A "b c"`, Key{Op: KeyHeader, Field: "X-A", Str: "b c"}},
		{"BODY x", Key{Op: KeyBody, Str: "x"}}, {"TEXT {1+}\r\nx", Key{Op: KeyText, Str: "x"}},
		{"LARGER 0", Key{Op: KeyLarger}}, {"SMALLER 9", Key{Op: KeySmaller, Num: 9}}, {"YOUNGER 1", Key{Op: KeyYounger, Num: 1}}, {"OLDER 2", Key{Op: KeyOlder, Num: 2}},
		{"MODSEQ 5", Key{Op: KeyModSeq, Num: 5}}, {`MODSEQ "/flags/\\Seen" priv 5`, Key{Op: KeyModSeq, Num: 5}},
		{"EMAILID M1", Key{Op: KeyEmailID, Str: "M1"}}, {"THREADID T1", Key{Op: KeyThreadID, Str: "T1"}}, {"SAVEDATESUPPORTED", Key{Op: KeySaveDateSupported}},
		{"NOT ALL", Key{Op: KeyAnd, Not: true, Kids: []Key{{Op: KeyAll}}}},
		{"OR ALL NEW", Key{Op: KeyOr, Kids: []Key{{Op: KeyAll}, {Op: KeyNew}}}},
		{"(ALL NEW)", Key{Op: KeyAnd, Kids: []Key{{Op: KeyAll}, {Op: KeyNew}}}},
		{"ALL NEW", Key{Op: KeyAnd, Kids: []Key{{Op: KeyAll}, {Op: KeyNew}}}},
		{"OR (ALL) NOT NEW", Key{Op: KeyOr, Kids: []Key{{Op: KeyAnd, Kids: []Key{{Op: KeyAll}}}, {Op: KeyAnd, Not: true, Kids: []Key{{Op: KeyNew}}}}}},
	}
	for _, tc := range tests {
		check(t, tc.in, func(p *Parser) Key { return p.Search().Key }, tc.want, "")
	}
	returns := []struct {
		in   string
		want ReturnOptions
	}{
		{"ALL", ReturnOptions{}},
		{"RETURN () ALL", ReturnOptions{Given: true, All: true}},
		{"return (min MAX) ALL", ReturnOptions{Given: true, Min: true, Max: true}},
		{"RETURN (SAVE) ALL", ReturnOptions{Given: true, Save: true}},
		{"RETURN (ALL COUNT SAVE) ALL", ReturnOptions{Given: true, All: true, Count: true, Save: true}},
	}
	for _, tc := range returns {
		check(t, tc.in, func(p *Parser) ReturnOptions { return p.Search().Return }, tc.want, "")
	}
	for in, want := range map[string]bool{"MODSEQ 1": true, "ALL": false, "OR ALL NOT (NEW MODSEQ 1)": true} {
		check(t, in, func(p *Parser) bool { return p.Search().ModSeq }, want, "")
	}
}

// A form is a syntax error if and only if it is not in the grammar.
func TestGrammar(t *testing.T) {
	tests := []struct {
		form Grammar
		in   string
		read func(*Parser)
	}{
		{Condstore, "x (CONDSTORE)", func(p *Parser) { p.Select() }},
		{Condstore, "1 FLAGS (CHANGEDSINCE 1)", func(p *Parser) { p.Fetch() }},
		{Condstore, "1 (UNCHANGEDSINCE 1) FLAGS x", func(p *Parser) { p.Store() }},
		{QResync, "x (QRESYNC (1 2))", func(p *Parser) { p.Select() }},
		{QResync, "1 FLAGS (CHANGEDSINCE 1 VANISHED)", func(p *Parser) { p.Fetch() }},
		{ESearch, "RETURN (ALL) ALL", func(p *Parser) { p.Search() }},
		{ESort, "RETURN (ALL) (DATE) UTF-8 ALL", func(p *Parser) { p.Sort() }},
		{SearchRes, "$", func(p *Parser) { p.Set() }},
		{SearchRes, "RETURN (SAVE) ALL", func(p *Parser) { p.Search() }},
		{ListExtended, `"" (a b)`, func(p *Parser) { p.List() }},
		{ListExtended, `() "" a`, func(p *Parser) { p.List() }},
		{ListExtended, `"" a RETURN ()`, func(p *Parser) { p.List() }},
		{ListStatus, `"" a RETURN (STATUS (MESSAGES))`, func(p *Parser) { p.List() }},
		{SpecialUse, `(SPECIAL-USE) "" a`, func(p *Parser) { p.List() }},
		{SpecialUse, `"" a RETURN (SPECIAL-USE)`, func(p *Parser) { p.List() }},
		{CreateSpecialUse, `x (USE (\Sent))`, func(p *Parser) { p.Create() }},
		{UTF8Accept, "UTF8 (", func(p *Parser) { p.Append() }},
		{InitialResponse, " x", func(p *Parser) { p.Initial() }},
	}
	for _, tc := range tests {
		for _, g := range []struct {
			grammar Grammar
			ok      bool
		}{{AllForms, true}, {AllForms &^ tc.form, false}} {
			p := NewParser([]byte(tc.in), g.grammar)
			tc.read(p)
			if err := p.End(); (err == nil) != g.ok {
				t.Errorf("%q with grammar %b: %v", tc.in, g.grammar, err)
			}
		}
	}
}

func TestInitialResponse(t *testing.T) {
	tests := []struct {
		in, text string
		ok, bad  bool
	}{
		{"", "", false, false}, {" =", "", true, false}, {" YQ==", "YQ==", true, false}, {" ", "", true, true}, {" a b", "a", true, true},
	}
	for _, tc := range tests {
		p := NewParser([]byte(tc.in), AllForms)
		text, ok := p.Initial()
		if err := p.End(); text != tc.text || ok != tc.ok || (err != nil) != tc.bad {
			t.Errorf("%q: %q %v %v", tc.in, text, ok, err)
		}
	}
}

func TestNumbers(t *testing.T) {
	tests := []struct {
		in  string
		n   uint64
		bad string
	}{
		{"0", 0, ""}, {"42", 42, ""}, {"9223372036854775807", 1<<63 - 1, ""}, {"00000000000000000001", 1, ""},
		{"9223372036854775808", 0, "Number too large"}, {"99999999999999999999", 0, "Number too large"}, {"999999999999999999999", 0, "Number too large"},
		{"-1", 0, `Expected a number before "-1"`}, {"", 0, `Expected a number before ""`}, {"1x", 0, `Unexpected "x" at the end`},
	}
	for _, tc := range tests {
		check(t, tc.in, (*Parser).Number64, tc.n, tc.bad)
	}
	check(t, "4294967295", (*Parser).Number, 1<<32-1, "")
	check(t, "4294967296", (*Parser).Number, 0, "Number too large")
}

func TestDates(t *testing.T) {
	instants := map[string]int64{ // 0 means an error
		`"17-Jul-1996 02:44:25 -0700"`: 837596665, `" 7-Jul-1996 02:44:25 +0000"`: 836707465, `"7-Jul-1996 02:44:25 +0000"`: 836707465,
		`"17-Jul-1996"`: 0, `"32-Jul-1996 02:44:25 +0000"`: 0, "17-Jul-1996": 0, `""`: 0,
	}
	for in, want := range instants {
		p := NewParser([]byte(in), AllForms)
		got := p.DateTime()
		if err := p.End(); (err != nil) != (want == 0) || err == nil && got.Unix() != want {
			t.Errorf("%s: %d %v, want %d", in, got.Unix(), err, want)
		}
	}
	for in, ok := range map[string]bool{"1-Feb-1994": true, `"01-Feb-1994"`: true, "1-feb-1994": true, "30-Feb-1994": false, "1994-02-01": false, "": false} {
		p := NewParser([]byte(in), AllForms)
		p.Date()
		if err := p.End(); (err == nil) != ok {
			t.Errorf("%s: %v", in, err)
		}
	}
}

// After an error nothing more is read, and the first error is kept.
func TestFirstErrorStays(t *testing.T) {
	p := NewParser([]byte("( 1 2"), AllForms)
	p.Number()
	first := p.Err()
	if n := p.Number(); n != 0 || p.Atom() != "" || p.AString() != "" || p.More() || len(p.Set().Ranges) > 1 {
		t.Error("reading goes on")
	}
	p.Fail("another")
	if p.Err() != first || p.End() != first || first == nil {
		t.Errorf("error %v, then %v", first, p.Err())
	}
}

func TestCut(t *testing.T) {
	tests := []struct {
		it           Item
		size, off, n int64
	}{
		{Item{}, 10, 0, 10},
		{Item{Partial: true, Off: 0, Len: 4}, 10, 0, 4},
		{Item{Partial: true, Off: 8, Len: 4}, 10, 8, 2},
		{Item{Partial: true, Off: 10, Len: 4}, 10, 10, 0},
		{Item{Partial: true, Off: 1 << 62, Len: 1<<32 - 1}, 10, 10, 0},
		{Item{Partial: true, Off: 0, Len: 1<<32 - 1}, 1 << 40, 0, 1<<32 - 1},
	}
	for _, tc := range tests {
		if off, n := tc.it.Cut(tc.size); off != tc.off || n != tc.n {
			t.Errorf("%+v of %d: %d, %d", tc.it, tc.size, off, n)
		}
	}
}

func TestItemOf(t *testing.T) {
	for k, want := range map[ItemKind]string{ItemUID: "UID", ItemFlags: "FLAGS", ItemModSeq: "MODSEQ", ItemSize: "RFC822.SIZE", ItemBody: "BODY"} {
		if it := ItemOf(k); it.Kind != k || it.Label != want {
			t.Errorf("%d: %+v", k, it)
		}
	}
}

func TestAppendNumbers(t *testing.T) {
	tests := []struct {
		in   []uint32
		want string
	}{
		{nil, ""}, {[]uint32{5}, "5"}, {[]uint32{1, 2, 3}, "1:3"}, {[]uint32{1, 3, 4, 9}, "1,3:4,9"}, {[]uint32{3, 1}, "3,1"}, {[]uint32{1<<32 - 2, 1<<32 - 1}, "4294967294:4294967295"},
	}
	for _, tc := range tests {
		if got := string(AppendNumbers(nil, tc.in)); got != tc.want {
			t.Errorf("%v: %s", tc.in, got)
		}
	}
}

// Every part of a command has a limit.
func TestBounds(t *testing.T) {
	tests := []struct {
		name, in string
		read     func(*Parser)
	}{
		{"ranges", strings.Repeat("1,", maxRanges) + "1", func(p *Parser) { p.Set() }},
		{"flags in a list", "(" + strings.Repeat("a ", maxItems) + "a)", func(p *Parser) { p.Flags() }},
		{"flags without one", "1 FLAGS " + strings.Repeat("a ", maxItems+1) + "a", func(p *Parser) { p.Store() }},
		{"words", strings.Repeat("a ", maxItems+1) + "a", func(p *Parser) { p.Words() }},
		{"items", "1 (" + strings.Repeat("UID ", maxItems) + "UID)", func(p *Parser) { p.Fetch() }},
		{"parts", "1 BODY[" + strings.Repeat("1.", maxPath) + "1]", func(p *Parser) { p.Fetch() }},
		{"keys", strings.Repeat("ALL ", maxKeys) + "ALL", func(p *Parser) { p.Search() }},
	}
	for _, tc := range tests {
		p := NewParser([]byte(tc.in), AllForms)
		tc.read(p)
		if err := p.End(); err == nil {
			t.Errorf("%s: no error", tc.name)
		}
	}
}
