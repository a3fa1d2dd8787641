package wire

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
)

// TestMetadataArguments reads the examples of RFC 5464, and names that a
// mailbox cannot have.
func TestMetadataArguments(t *testing.T) {
	const all = math.MaxInt64
	entry := func(n int) string { return "/private/" + strings.Repeat("x", n-len("/private/")) }
	for _, c := range []struct {
		name, in string
		want     GetMetadata
		bad      string
	}{
		{"an entry of the server", `"" /shared/comment`, GetMetadata{MaxSize: all, Entries: []string{"/shared/comment"}}, ""},
		{"an entry of a mailbox", `"INBOX" /private/comment`, GetMetadata{Mailbox: "INBOX", MaxSize: all, Entries: []string{"/private/comment"}}, ""},
		{"two entries", `"INBOX" (/shared/comment /private/comment)`, GetMetadata{Mailbox: "INBOX", MaxSize: all, Entries: []string{"/shared/comment", "/private/comment"}}, ""},
		{"values up to a size", `(MAXSIZE 1024) "INBOX" (/shared/comment)`, GetMetadata{Mailbox: "INBOX", MaxSize: 1024, Entries: []string{"/shared/comment"}}, ""},
		{"no value at all, only sizes", `(MAXSIZE 0) INBOX /shared/a`, GetMetadata{Mailbox: "INBOX", Entries: []string{"/shared/a"}}, ""},
		{"the children of an entry", `(DEPTH 1) "INBOX" (/private/filters/values)`, GetMetadata{Mailbox: "INBOX", MaxSize: all, Depth: 1, Entries: []string{"/private/filters/values"}}, ""},
		{"everything below an entry", `(depth infinity) INBOX /private/a`, GetMetadata{Mailbox: "INBOX", MaxSize: all, Depth: Infinity, Entries: []string{"/private/a"}}, ""},
		{"only the entry itself", `(DEPTH 0) INBOX /private/a`, GetMetadata{Mailbox: "INBOX", MaxSize: all, Entries: []string{"/private/a"}}, ""},
		{"both options", `(MAXSIZE 5 DEPTH 1) INBOX /private/a`, GetMetadata{Mailbox: "INBOX", MaxSize: 5, Depth: 1, Entries: []string{"/private/a"}}, ""},
		{"names ignore case", `INBOX /Shared/COMMENT`, GetMetadata{Mailbox: "INBOX", MaxSize: all, Entries: []string{"/shared/comment"}}, ""},
		{"a vendor's entry", `INBOX /shared/vendor/kolab/folder-type`, GetMetadata{Mailbox: "INBOX", MaxSize: all, Entries: []string{"/shared/vendor/kolab/folder-type"}}, ""},
		{"the longest name", `INBOX ` + entry(maxEntry), GetMetadata{Mailbox: "INBOX", MaxSize: all, Entries: []string{entry(maxEntry)}}, ""},
		{"one octet longer", `INBOX ` + entry(maxEntry+1), GetMetadata{}, "Entry name too long"},
		{"a depth between", `(DEPTH 2) INBOX /private/a`, GetMetadata{}, `Unknown depth "2"`},
		{"an unknown option", `(MINSIZE 2) INBOX /private/a`, GetMetadata{}, `Unknown GETMETADATA option "MINSIZE"`},
		{"a size above 32 bits", `(MAXSIZE 4294967296) INBOX /private/a`, GetMetadata{}, "Number too large"},
		{"no options in the list", `() INBOX /private/a`, GetMetadata{}, `Expected an atom before ") INBOX /private/a"`},
		{"options after the mailbox", `INBOX (DEPTH 1) /private/a`, GetMetadata{}, "Invalid entry name"},
		{"no entry", `INBOX`, GetMetadata{}, `Expected " " before ""`},
		{"neither private nor shared", `INBOX /public/a`, GetMetadata{}, "Invalid entry name"},
		{"without its slash", `INBOX private/a`, GetMetadata{}, "Invalid entry name"},
		{"the root of private entries", `INBOX /private/`, GetMetadata{}, "Invalid entry name"},
		{"a slash at the end", `INBOX /private/a/`, GetMetadata{}, "Invalid entry name"},
		{"two slashes", `INBOX /private/a//b`, GetMetadata{}, "Invalid entry name"},
		{"a wildcard", `INBOX "/private/a*"`, GetMetadata{}, "Invalid entry name"},
		{"another wildcard", `INBOX "/private/%"`, GetMetadata{}, "Invalid entry name"},
		{"UTF-8", "INBOX \"/private/\u00fc\"", GetMetadata{}, "Invalid entry name"},
		{"a line ending in a literal", "INBOX {12+}\r\n/private/a\r\n", GetMetadata{}, "Invalid entry name"},
	} {
		t.Run(c.name, func(t *testing.T) { check(t, c.in, (*Parser).GetMetadata, c.want, c.bad) })
	}
}

// TestMetadataValues reads the arguments of SETMETADATA. An empty value is not
// the same as NIL, which removes the entry.
func TestMetadataValues(t *testing.T) {
	one := func(v []byte) SetMetadata {
		return SetMetadata{Mailbox: "INBOX", Values: []EntryValue{{"/private/comment", v}}}
	}
	for _, c := range []struct {
		name, in string
		want     SetMetadata
		bad      string
	}{
		{"a literal of two lines", "INBOX (/private/comment {33}\r\nMy new comment across\r\ntwo lines.)", one([]byte("My new comment across\r\ntwo lines.")), ""},
		{"removal", `INBOX (/private/comment NIL)`, one(nil), ""},
		{"the word in quotes", `INBOX (/private/comment "NIL")`, one([]byte("NIL")), ""},
		{"an empty value", `INBOX (/private/comment "")`, one([]byte{}), ""},
		{"NULs in a literal8", "INBOX (/private/comment ~{3+}\r\na\x00b)", one([]byte("a\x00b")), ""},
		{"an empty literal8", "INBOX (/private/comment ~{0+}\r\n)", one([]byte{}), ""},
		{"NULs in another literal", "INBOX (/private/comment {3+}\r\na\x00b)", SetMetadata{}, "NUL in a literal"},
		{"two entries", `INBOX (/private/comment "My new comment" /shared/comment "This one is for you!")`,
			SetMetadata{Mailbox: "INBOX", Values: []EntryValue{{"/private/comment", []byte("My new comment")}, {"/shared/comment", []byte("This one is for you!")}}}, ""},
		{"an atom as a value", `INBOX (/private/comment hello)`, SetMetadata{}, "Expected a string or NIL"},
		{"no value", `INBOX (/private/comment)`, SetMetadata{}, `Expected " " before ")"`},
		{"no entry", `INBOX ()`, SetMetadata{}, `Expected a string before ")"`},
		{"without parentheses", `INBOX /private/comment "x"`, SetMetadata{}, `Expected "(" before "/private/comment \"x\""`},
	} {
		t.Run(c.name, func(t *testing.T) { check(t, c.in, (*Parser).SetMetadata, c.want, c.bad) })
	}
}

// TestSearchOfSeveralMailboxes reads ESEARCH (RFC 7377) and its mailbox filters.
func TestSearchOfSeveralMailboxes(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     []MailboxFilter
		bad      string
	}{
		{"the selected mailbox by default", "UNSEEN", nil, ""},
		{"the selected mailbox by name", "IN (selected) UNSEEN", []MailboxFilter{{Kind: Selected}}, ""},
		{"the example of the RFC", `IN (mailboxes "folder1" subtree "folder2") unseen`, []MailboxFilter{{Mailboxes, []string{"folder1"}}, {Subtree, []string{"folder2"}}}, ""},
		{"several names", `IN (subtree-one (lists "Old mail")) ALL`, []MailboxFilter{{SubtreeOne, []string{"lists", "Old mail"}}}, ""},
		{"filters without names", "IN (personal inboxes subscribed) ALL", []MailboxFilter{{Kind: Personal}, {Kind: Inboxes}, {Kind: Subscribed}}, ""},
		{"a search for the atom in", `IN (personal) SUBJECT in`, []MailboxFilter{{Kind: Personal}}, ""},
		{"no filter", "IN () ALL", nil, `Expected an atom before ") ALL"`},
		{"a filter of RFC 5465 for NOTIFY only", "IN (selected-delayed) ALL", nil, `Unknown mailbox filter "SELECTED-DELAYED"`},
		{"names where none belong", "IN (personal INBOX) ALL", nil, `Unknown mailbox filter "INBOX"`},
		{"no name", "IN (mailboxes) ALL", nil, `Expected " " before ") ALL"`},
		{"no names in the list", "IN (mailboxes ()) ALL", nil, `Expected a string before ")) ALL"`},
		{"no key", "IN (personal)", nil, `Expected " " before ""`},
		{"notifications", "IN (personal) RETURN (UPDATE) ALL", nil, "UPDATE needs SEARCH"},
	} {
		t.Run(c.name, func(t *testing.T) {
			check(t, c.in, func(p *Parser) []MailboxFilter { return p.MultiSearch().In }, c.want, c.bad)
		})
	}
	for in, want := range map[string]ReturnOptions{
		"IN (personal) ALL":                      {All: true},
		"IN (personal) RETURN () ALL":            {Given: true, All: true},
		"IN (personal) RETURN (COUNT) ALL":       {Given: true, Count: true},
		"IN (personal) RETURN (MIN MAX) SEEN":    {Given: true, Min: true, Max: true},
		"RETURN (COUNT) CHARSET utf-8 SUBJECT x": {Given: true, Count: true},
	} {
		check(t, in, func(p *Parser) ReturnOptions { return p.MultiSearch().Return }, want, "")
	}
}

// TestReturnOptionsOfExtensions reads the options of RFC 5267, RFC 6203 and RFC
// 9394, and combinations they forbid.
func TestReturnOptionsOfExtensions(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     ReturnOptions
		bad      string
	}{
		{"a page", "RETURN (PARTIAL 23500:24000) UNDELETED UNKEYWORD $Junk", ReturnOptions{Given: true, Partial: Page{23500, 24000, false}}, ""},
		{"the last page and the count", "RETURN (PARTIAL -1:-100 COUNT) UNDELETED", ReturnOptions{Given: true, Count: true, Partial: Page{1, 100, true}}, ""},
		{"a page in reverse is the same page", "RETURN (PARTIAL 100:1) ALL", ReturnOptions{Given: true, Partial: Page{1, 100, false}}, ""},
		{"a page of one", "RETURN (PARTIAL 5:5) ALL", ReturnOptions{Given: true, Partial: Page{5, 5, false}}, ""},
		{"updates with a count", "RETURN (UPDATE COUNT) DELETED KEYWORD $Junk", ReturnOptions{Given: true, Count: true, Update: true}, ""},
		{"a hint that the search will be repeated", "RETURN (CONTEXT COUNT) UNDELETED", ReturnOptions{Given: true, Count: true}, ""},
		{"relevancy", "RETURN (RELEVANCY ALL) FUZZY TEXT \"Bill\"", ReturnOptions{Given: true, All: true, Relevancy: true}, ""},
		{"relevancy below NOT and OR", "RETURN (RELEVANCY ALL) OR NOT FUZZY TEXT x ALL", ReturnOptions{Given: true, All: true, Relevancy: true}, ""},
		{"relevancy of an exact search", "RETURN (RELEVANCY) TEXT x", ReturnOptions{}, "RELEVANCY needs FUZZY"},
		{"two pages", "RETURN (PARTIAL 1:500 PARTIAL 501:1000) ALL", ReturnOptions{}, "PARTIAL given twice"},
		{"a page and everything", "RETURN (ALL PARTIAL 1:500) ALL", ReturnOptions{}, "ALL and PARTIAL exclude each other"},
		{"a page and everything, in the other order", "RETURN (PARTIAL 1:500 ALL) ALL", ReturnOptions{}, "ALL and PARTIAL exclude each other"},
		{"a page from the middle to the end", "RETURN (PARTIAL 1:*) ALL", ReturnOptions{}, `Expected a number before "*) ALL"`},
		{"a page that counts from 0", "RETURN (PARTIAL 0:10) ALL", ReturnOptions{}, "Numbers begin at 1"},
		{"a page from one end to the other", "RETURN (PARTIAL 1:-10) ALL", ReturnOptions{}, `Expected a number before "-10) ALL"`},
		{"a page from the end to the beginning", "RETURN (PARTIAL -1:10) ALL", ReturnOptions{}, `Expected "-" before "10) ALL"`},
		{"no page", "RETURN (PARTIAL) ALL", ReturnOptions{}, `Expected " " before ") ALL"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			check(t, c.in, func(p *Parser) ReturnOptions { return p.Search().Return }, c.want, c.bad)
		})
	}
	check(t, "RETURN (UPDATE) (DATE) UTF-8 ALL", (*Parser).Sort, Search{}, "UPDATE is not supported")
}

// TestPages checks the results that a page selects. A page may lie partly or
// completely outside the results.
func TestPages(t *testing.T) {
	for _, c := range []struct {
		name     string
		page     Page
		n        int
		from, to int
		text     string
	}{
		{"the first", Page{1, 100, false}, 250, 0, 100, "1:100"},
		{"a middle one", Page{101, 200, false}, 250, 100, 200, "101:200"},
		{"one that the results end in", Page{201, 300, false}, 250, 200, 250, "201:300"},
		{"one after the results", Page{301, 400, false}, 250, 250, 250, "301:400"},
		{"one of no results", Page{1, 100, false}, 0, 0, 0, "1:100"},
		{"a single result", Page{7, 7, false}, 7, 6, 7, "7:7"},
		{"from the end", Page{1, 100, true}, 250, 150, 250, "-1:-100"},
		{"from the end, before that", Page{101, 200, true}, 250, 50, 150, "-101:-200"},
		{"from the end, the results begin in it", Page{201, 300, true}, 250, 0, 50, "-201:-300"},
		{"from the end, before the first result", Page{301, 400, true}, 250, 0, 0, "-301:-400"},
		{"the largest number", Page{math.MaxUint32, math.MaxUint32, false}, 1, 1, 1, "4294967295:4294967295"},
	} {
		if from, to := c.page.Of(c.n); from != c.from || to != c.to {
			t.Errorf("%s: [%d, %d), want [%d, %d)", c.name, from, to, c.from, c.to)
		}
		if text := string(c.page.Append([]byte(nil))); text != c.text {
			t.Errorf("%s: %s, want %s", c.name, text, c.text)
		}
	}
	if from, to := (Page{}).Of(5); from != 0 || to != 0 || (Page{}).Given() {
		t.Errorf("no page: [%d, %d)", from, to)
	}
}

// TestComposedMessages reads APPEND with CATENATE (RFC 4469): the client
// describes a message as parts, of which only the new text is sent.
func TestComposedMessages(t *testing.T) {
	const url = "/Drafts;UIDVALIDITY=385759045/;UID=20/;section=HEADER"
	check(t, `(\Seen \Draft $MDNSent) CATENATE (`, (*Parser).Append, Append{Flags: []string{`\Seen`, `\Draft`, "$MDNSent"}, Parts: true}, "")
	check(t, "CATENATE URL", (*Parser).Append, Append{}, `Expected "(" before "URL"`)
	check(t, "CATENATED (", (*Parser).Append, Append{}, `Unexpected "CATENATED (" at the end`)
	for _, c := range []struct {
		name, in string
		want     Part
		bad      string
	}{
		{"a stored part", `URL "` + url + `"`, Part{URL: url}, ""},
		{"its address as a literal", "URL ", Part{URL: "literal", Literal: true}, ""},
		{"a text", "text ", Part{Literal: true}, ""},
		{"a text with UTF-8 in its header", "UTF8 (", Part{Literal: true, UTF8: true}, ""},
		{"a text in quotes", `TEXT "hello"`, Part{}, `Unexpected "\"hello\"" at the end`},
		{"another kind", "BINARY x", Part{}, `Unknown part "BINARY"`},
		{"no address", "URL", Part{}, `Expected " " before ""`},
		{"nothing", ")", Part{}, `Expected an atom before ")"`},
	} {
		t.Run(c.name, func(t *testing.T) { check(t, c.in, (*Parser).Part, c.want, c.bad) })
	}
	for in, want := range map[string]bool{")": false, " ": true} {
		check(t, in, (*Parser).MorePart, want, "")
	}
	check(t, "", (*Parser).MorePart, false, `Expected " " before ""`)

	in := "A003 APPEND Drafts CATENATE (URL \"" + url + "\" TEXT {3+}\r\nabc URL {4+}\r\n/x/y TEXT {2}\r\nde)\r\nA004 NOOP\r\n"
	want := []string{"A003 APPEND Drafts CATENATE (URL \"" + url + "\" TEXT ", "<abc>", " URL ", "</x/y>", " TEXT ", "<de>", ")", "A004 NOOP", "!EOF"}
	if got, _ := commands(strings.NewReader(in)); !reflect.DeepEqual(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

// TestGrammarOfExtensions checks that a form is a syntax error unless the
// extension that defines it is announced.
func TestGrammarOfExtensions(t *testing.T) {
	for _, c := range []struct {
		form Grammar
		in   string
		read func(*Parser)
	}{
		{Catenate, "CATENATE (", func(p *Parser) { p.Append() }},
		{UTF8Accept, "UTF8 (", func(p *Parser) { p.Part() }},
		{ListMetadata, `"" % RETURN (METADATA (/private/color))`, func(p *Parser) { p.List() }},
		{Context, "RETURN (CONTEXT COUNT) ALL", func(p *Parser) { p.Search() }},
		{Context, "RETURN (UPDATE COUNT) ALL", func(p *Parser) { p.Search() }},
		{Fuzzy, "RETURN (RELEVANCY ALL) FUZZY TEXT x", func(p *Parser) { p.Search() }},
		{Partial, "RETURN (PARTIAL 1:2) ALL", func(p *Parser) { p.Search() }},
		{Partial, "1:* UID (PARTIAL -1:-2)", func(p *Parser) { p.Fetch() }},
	} {
		for _, g := range []Grammar{AllForms, AllForms &^ c.form} {
			p := NewParser([]byte(c.in), g)
			c.read(p)
			err := p.End()
			if want := g&c.form != 0; (err == nil) != want || !want && !strings.HasSuffix(err.Error(), " is not supported") {
				t.Errorf("%q with grammar %b: %v", c.in, g, err)
			}
		}
	}
}

// TestSections reads the part numbers of the example in RFC 9051, 6.4.5.1, and
// the text that a URL names in the same notation.
func TestSections(t *testing.T) {
	for _, c := range []struct {
		in     string
		path   []int
		text   SectionText
		fields []string
		bad    string
	}{
		{in: ""},
		{in: "HEADER", text: Header},
		{in: "TEXT", text: Text},
		{in: "1", path: []int{1}},
		{in: "3.HEADER", path: []int{3}, text: Header},
		{in: "3.TEXT", path: []int{3}, text: Text},
		{in: "4.1.MIME", path: []int{4, 1}, text: MIME},
		{in: "4.2.HEADER", path: []int{4, 2}, text: Header},
		{in: "4.2.2.1", path: []int{4, 2, 2, 1}},
		{in: "HEADER.FIELDS (DATE FROM)", text: HeaderFields, fields: []string{"DATE", "FROM"}},
		{in: "4.2.header.fields.not (received)", path: []int{4, 2}, text: HeaderFieldsNot, fields: []string{"received"}},
		{in: "1073741824", path: []int{1 << 30}},
		{in: "1073741825", bad: "Invalid section"},
		{in: "1.0", bad: "Invalid section"},
		{in: "MIME", bad: "MIME needs a part number"},
		{in: "HEADER.1", bad: `Unknown section "HEADER.1"`},
		{in: "HEADER.FIELDS", bad: `Expected " " before "]"`},
		{in: "HEADER.FIELDS ()", bad: `Expected a string before ")]"`},
		{in: "1..2", bad: `Unknown section ".2"`},
		{in: ".1", bad: `Unknown section ".1"`},
		{in: "1]", bad: `Unexpected "]" at the end`},
		{in: "1 ", bad: "Invalid section"},
	} {
		it, err := Section(c.in)
		if c.bad != "" {
			if err == nil || err.Error() != c.bad {
				t.Errorf("%q: %v, want %s", c.in, err, c.bad)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(it.Path, c.path) || it.Text != c.text || !reflect.DeepEqual(it.Fields, c.fields) || !it.Peek {
			t.Errorf("%q: %+v, %v", c.in, it, err)
		}
	}
}

// TestItemsThatMarkAsSeen checks the items that set \Seen: those that return
// content, unless the client asks for a peek (RFC 9051, 6.4.5).
func TestItemsThatMarkAsSeen(t *testing.T) {
	for in, want := range map[string]bool{
		"BODY[]": true, "BODY[TEXT]": true, "BODY[1]<0.100>": true, "BODY[HEADER]": true, "BODY[1.MIME]": true,
		"RFC822": true, "RFC822.TEXT": true, "BINARY[1]": true,
		"BODY.PEEK[]": false, "BODY.PEEK[HEADER.FIELDS (From)]": false, "RFC822.HEADER": false,
		"BINARY.PEEK[1]": false, "BINARY.SIZE[1]": false,
	} {
		f, err := parse("1 "+in, (*Parser).Fetch)
		if err != nil || len(f.Items) != 1 || f.Items[0].Peek == want {
			t.Errorf("%s: %+v, %v", in, f.Items, err)
		}
	}
}

// TestFetchModifiers reads what follows the items of a FETCH, and items that
// look like others.
func TestFetchModifiers(t *testing.T) {
	one := Set{Ranges: []Range{{1, Star}}}
	flags := []Item{ItemOf(ItemFlags)}
	for _, c := range []struct {
		name, in string
		want     Fetch
		bad      string
	}{
		{"changes", "1:* FLAGS (CHANGEDSINCE 12345)", Fetch{Set: one, Items: flags, ChangedSince: 12345}, ""},
		{"changes and expunged messages", "1:* (FLAGS) (VANISHED CHANGEDSINCE 1)", Fetch{Set: one, Items: flags, ChangedSince: 1, Vanished: true}, ""},
		{"a page", "1:* FLAGS (PARTIAL -1:-30)", Fetch{Set: one, Items: flags, Partial: Page{1, 30, true}}, ""},
		{"the largest MODSEQ", "1:* FLAGS (CHANGEDSINCE 9223372036854775807)", Fetch{Set: one, Items: flags, ChangedSince: math.MaxInt64}, ""},
		{"one above it", "1:* FLAGS (CHANGEDSINCE 9223372036854775808)", Fetch{}, "Number too large"},
		{"changes since 0", "1:* FLAGS (CHANGEDSINCE 0)", Fetch{}, "CHANGEDSINCE must not be 0"},
		{"the modifier of STORE", "1:* FLAGS (UNCHANGEDSINCE 5)", Fetch{}, `Unknown FETCH modifier "UNCHANGEDSINCE"`},
		{"no modifier", "1:* FLAGS ()", Fetch{}, `Expected an atom before ")"`},
		{"no items", "1:* ()", Fetch{}, `Unknown FETCH item ")"`},
		{"two items without parentheses", "1:* FLAGS UID", Fetch{}, `Expected "(" before "UID"`},
		{"another preview", "1:* (PREVIEW (FULL))", Fetch{}, `Unknown PREVIEW modifier "FULL"`},
		{"a section of the structure", "1:* BODYSTRUCTURE[1]", Fetch{}, `Unknown FETCH item "BODYSTRUCTURE[1]"`},
		{"a text of a decoded part", "1:* BINARY[1.HEADER]", Fetch{}, `Expected "]" before "HEADER]"`},
		{"a piece of a size", "1:* BINARY.SIZE[1]<0.1>", Fetch{}, `Expected " " before "<0.1>"`},
		{"a piece beyond 32 bits", "1:* BODY[]<0.4294967296>", Fetch{}, "Number too large"},
	} {
		t.Run(c.name, func(t *testing.T) { check(t, c.in, (*Parser).Fetch, c.want, c.bad) })
	}
}

// TestDateTimes reads dates as clients write them, at their limits.
func TestDateTimes(t *testing.T) {
	for _, c := range []struct {
		in   string
		want string // in RFC 3339; empty if the date is invalid
	}{
		{`" 5-Feb-1994 21:52:25 -0800"`, "1994-02-05T21:52:25-08:00"},
		{`"05-Feb-1994 21:52:25 -0800"`, "1994-02-05T21:52:25-08:00"},
		{`"5-feb-1994 21:52:25 +0545"`, "1994-02-05T21:52:25+05:45"},
		{`"29-Feb-2024 23:59:59 +0000"`, "2024-02-29T23:59:59Z"},
		{`"29-Feb-2023 00:00:00 +0000"`, ""},
		{`"31-Apr-2024 00:00:00 +0000"`, ""},
		{`"01-Jan-2024 24:00:00 +0000"`, ""},
		{`"01-Jan-2024 10:60:00 +0000"`, ""},
		{`"01-Jan-2024 10:00:00 +9900"`, ""},
		{`"01-Jan-2024 10:00:00"`, ""},
		{`"01-Jan-2024 10:00:00 GMT"`, ""},
		{`"01-Jan-24 10:00:00 +0000"`, ""},
		{`"Mon, 1 Jan 2024 10:00:00 +0000"`, ""},
		{`01-Jan-2024`, ""},
	} {
		got, err := parse(c.in, (*Parser).DateTime)
		if text := got.Format("2006-01-02T15:04:05Z07:00"); (err == nil) != (c.want != "") || err == nil && text != c.want {
			t.Errorf("%s: %s, %v, want %q", c.in, text, err, c.want)
		}
	}
}

// brokenConn accepts some octets and then fails, as a connection does after the
// client has disappeared.
type brokenConn struct {
	left, calls int
}

var errBroken = errors.New("broken pipe")

func (c *brokenConn) Write(b []byte) (int, error) {
	c.calls++
	if c.left -= len(b); c.left < 0 {
		return 0, errBroken
	}
	return len(b), nil
}

// TestWriterAfterAnError checks that a long response to a client that has
// disappeared ends at the first error.
func TestWriterAfterAnError(t *testing.T) {
	for _, size := range []int{100, bufSize - 1, bufSize, 3 * bufSize} {
		c := &brokenConn{}
		w := NewWriter(c)
		text := strings.Repeat("x", size)
		for range 10 {
			w.Write([]byte(text))
			w.WriteString(text)
			w.Took(append(w.Room(10), text...))
		}
		if err := w.Flush(); err != errBroken || w.Err() != errBroken || c.calls != 1 {
			t.Errorf("pieces of %d octets: %v after %d attempts", size, err, c.calls)
		}
		if err := w.Flush(); err != errBroken || c.calls != 1 {
			t.Errorf("pieces of %d octets, again: %v after %d attempts", size, err, c.calls)
		}
	}
}

// holding is a layer that retains what is written until it is flushed.
type holding struct {
	held bytes.Buffer
	out  *bytes.Buffer
	err  error
}

func (h *holding) Write(b []byte) (int, error) { return h.held.Write(b) }

func (h *holding) Flush() error {
	h.held.WriteTo(h.out)
	return h.err
}

// TestLayers checks the switch to compression: the reply to COMPRESS is sent as
// it is, and every later reply passes through the layer and does not stay in it.
func TestLayers(t *testing.T) {
	var plain, packed bytes.Buffer
	w := NewWriter(&plain)
	w.WriteString("a OK compressed from here\r\n")
	w.Flush()
	layer := &holding{out: &packed}
	w.Through(layer)
	w.WriteString("b OK\r\n")
	if packed.Len() != 0 {
		t.Errorf("sent before the flush: %q", packed.String())
	}
	if err := w.Flush(); err != nil || packed.String() != "b OK\r\n" || plain.String() != "a OK compressed from here\r\n" {
		t.Errorf("%v, %q, then %q", err, plain.String(), packed.String())
	}
	layer.err = errBroken
	if err := w.Flush(); err != errBroken || w.Err() != errBroken {
		t.Errorf("a layer that fails: %v", err)
	}
}
