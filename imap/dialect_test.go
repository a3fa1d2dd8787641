package imap

import (
	"slices"
	"strings"
	"testing"

	"hoplite/imap/wire"
	"hoplite/maildrop"
)

// In states in which a command is not valid, it is refused with BAD and has no
// other effect.
func TestCommandStates(t *testing.T) {
	const (
		loggedOut = "Log in first"
		loggedIn  = "Already logged in"
		unselects = "No mailbox selected"
	)
	tests := []struct {
		command string
		states  string // valid states: n(ot authenticated), a(uthenticated), s(elected)
	}{
		{"CAPABILITY", "nas"}, {"NOOP", "nas"}, {"ID NIL", "nas"},
		{"LOGIN x y", "n"}, {"AUTHENTICATE X", "n"}, {"STARTTLS", "n"},
		{"ENABLE X", "as"}, {"COMPRESS X", "as"}, {"GETMETADATA INBOX /private/comment", "as"}, {"SETMETADATA INBOX (/private/comment NIL)", "as"}, {"ESEARCH IN (personal) ALL", "as"}, {"SELECT INBOX", "as"}, {"EXAMINE INBOX", "as"}, {"CREATE x", "as"}, {"DELETE y", "as"}, {"RENAME y z", "as"},
		{"SUBSCRIBE INBOX", "as"}, {"UNSUBSCRIBE INBOX", "as"}, {`LIST "" *`, "as"}, {`LSUB "" *`, "as"}, {"NAMESPACE", "as"},
		{"STATUS INBOX (MESSAGES)", "as"}, {"GETQUOTA account", "as"}, {"GETQUOTAROOT INBOX", "as"},
		{"CHECK", "s"}, {"EXPUNGE", "s"}, {"SEARCH ALL", "s"}, {"SORT (DATE) UTF-8 ALL", "s"},
		{"THREAD REFS UTF-8 ALL", "s"}, {"FETCH 1 FLAGS", "s"}, {`STORE 1 FLAGS (\Seen)`, "s"}, {"COPY 1 INBOX", "s"}, {"MOVE 1 INBOX", "s"},
		{"UID SEARCH ALL", "s"}, {"UID SORT (DATE) UTF-8 ALL", "s"}, {"UID THREAD REFS UTF-8 ALL", "s"}, {"UID FETCH 1 FLAGS", "s"},
		{`UID STORE 1 FLAGS (\Seen)`, "s"}, {"UID COPY 1 INBOX", "s"}, {"UID MOVE 1 INBOX", "s"}, {"UID EXPUNGE 1", "s"}, {`CANCELUPDATE "x"`, "s"}, {"UIDBATCHES 500", "s"},
	}
	d := open(t, Config{}, maildrop.Config{})
	for _, state := range []byte("nas") {
		c := d.dial(t)
		if state != 'n' {
			c.ok(`LOGIN ann "secret word"`)
		}
		for _, tc := range tests {
			if state == 'n' && tc.command == "STARTTLS" {
				continue // run by TestClearText
			}
			if state == 's' {
				c.ok("SELECT INBOX")
			} else if state == 'a' {
				c.ok("EXAMINE INBOX")
				c.ok("UNSELECT")
			}
			c.ok("NOOP") // too many consecutive invalid commands would end the session
			_, status := c.do("%s", tc.command)
			want := ""
			switch {
			case strings.IndexByte(tc.states, state) >= 0:
			case state == 'n':
				want = loggedOut
			case tc.states == "n":
				want = loggedIn
			default:
				want = unselects
			}
			refused := strings.HasPrefix(status, "BAD "+loggedOut) || strings.HasPrefix(status, "BAD "+loggedIn) || strings.HasPrefix(status, "BAD "+unselects)
			if want == "" && refused || want != "" && status != "BAD "+want {
				t.Errorf("%s in state %c: %s", tc.command, state, status)
			}
		}
	}
	tested := map[string]bool{"LOGOUT": true, "APPEND": true, "REPLACE": true, "UID REPLACE": true, "IDLE": true, "CLOSE": true, "UNSELECT": true, "UNAUTHENTICATE": true}
	for _, tc := range tests {
		name, rest, _ := strings.Cut(tc.command, " ")
		if name == "UID" {
			form, _, _ := strings.Cut(rest, " ")
			name = "UID " + form
		}
		tested[name] = true
	}
	full := newDialect(extensions)
	for name := range full.commands {
		if !tested[name] {
			t.Errorf("%s is not tested", name)
		}
	}
	for name := range full.uid {
		if !tested["UID "+name] {
			t.Errorf("UID %s is not tested", name)
		}
	}
}

// An extension that is missing from the table is neither announced nor
// accepted.
func TestExtensionsCanBeRemoved(t *testing.T) {
	tests := []struct{ extension, command string }{
		{"ID", "ID NIL"},
		{"ENABLE", "ENABLE CONDSTORE"},
		{"NAMESPACE", "NAMESPACE"},
		{"COMPRESS=DEFLATE", "COMPRESS DEFLATE"},
		{"UNSELECT", "UNSELECT"},
		{"UIDPLUS", "UID EXPUNGE 1"},
		{"CATENATE", "APPEND INBOX CATENATE (URL x)"},
		{"MULTISEARCH", "ESEARCH IN (personal) ALL"},
		{"CONTEXT=SEARCH", "SEARCH RETURN (UPDATE) ALL"},
		{"CONTEXT=SEARCH", `CANCELUPDATE "x"`},
		{"SEARCH=FUZZY", "SEARCH FUZZY SUBJECT x"},
		{"SEARCH=FUZZY", "SEARCH RETURN (RELEVANCY) FUZZY SUBJECT x"},
		{"SEARCH=FUZZY", "SORT (RELEVANCY) UTF-8 FUZZY SUBJECT x"},
		{"METADATA", "GETMETADATA INBOX /private/comment"},
		{"METADATA", "SETMETADATA INBOX (/private/comment x)"},
		{"LIST-METADATA", `LIST "" * RETURN (METADATA (/private/comment))`},
		{"UNAUTHENTICATE", "UNAUTHENTICATE"},
		{"UIDBATCHES", "UIDBATCHES 500"},
		{"PARTIAL", "SEARCH RETURN (PARTIAL 1:2) ALL"},
		{"PARTIAL", "UID FETCH 1 FLAGS (PARTIAL 1:2)"},
		{"IDLE", "IDLE"},
		{"MOVE", "MOVE 1 INBOX"},
		{"MOVE", "UID MOVE 1 INBOX"},
		{"CONDSTORE", "SELECT INBOX (CONDSTORE)"},
		{"CONDSTORE", "FETCH 1 (MODSEQ)"},
		{"CONDSTORE", "FETCH 1 FLAGS (CHANGEDSINCE 1)"},
		{"CONDSTORE", `STORE 1 (UNCHANGEDSINCE 1) FLAGS (\Seen)`},
		{"CONDSTORE", "SEARCH MODSEQ 1"},
		{"CONDSTORE", "STATUS INBOX (HIGHESTMODSEQ)"},
		{"QRESYNC", "SELECT INBOX (QRESYNC (1 1))"},
		{"QRESYNC", "UID FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED)"},
		{"ESEARCH", "SEARCH RETURN (ALL) ALL"},
		{"SEARCHRES", "FETCH $ FLAGS"},
		{"SEARCHRES", "SEARCH RETURN (SAVE) ALL"},
		{"SORT", "SORT (DATE) UTF-8 ALL"},
		{"SORT", "UID SORT (DATE) UTF-8 ALL"},
		{"SORT=DISPLAY", "SORT (DISPLAYFROM) UTF-8 ALL"},
		{"ESORT", "SORT RETURN (ALL) (DATE) UTF-8 ALL"},
		{"THREAD=ORDEREDSUBJECT", "THREAD ORDEREDSUBJECT UTF-8 ALL"},
		{"THREAD=REFERENCES", "THREAD REFERENCES UTF-8 ALL"},
		{"THREAD=REFS", "UID THREAD REFS UTF-8 ALL"},
		{"WITHIN", "SEARCH YOUNGER 5"},
		{"LIST-EXTENDED", `LIST "" (a b)`},
		{"LIST-STATUS", `LIST "" * RETURN (STATUS (MESSAGES))`},
		{"SPECIAL-USE", `LIST "" * RETURN (SPECIAL-USE)`},
		{"CREATE-SPECIAL-USE", `CREATE x (USE (\Sent))`},
		{"STATUS=SIZE", "STATUS INBOX (SIZE)"},
		{"BINARY", "FETCH 1 (BINARY[1])"},
		{"BINARY", "FETCH 1 (BINARY.SIZE[1])"},
		{"PREVIEW", "FETCH 1 (PREVIEW)"},
		{"SAVEDATE", "FETCH 1 (SAVEDATE)"},
		{"SAVEDATE", "SEARCH SAVEDSINCE 1-Jan-2000"},
		{"OBJECTID", "FETCH 1 (EMAILID)"},
		{"OBJECTID", "FETCH 1 (THREADID)"},
		{"OBJECTID", "SEARCH EMAILID x"},
		{"OBJECTID", "STATUS INBOX (MAILBOXID)"},
		{"QUOTA", "GETQUOTA account"},
		{"QUOTA", "GETQUOTAROOT INBOX"},
		{"APPENDLIMIT", "STATUS INBOX (APPENDLIMIT)"},
	}
	for _, tc := range tests {
		t.Run(tc.extension+"/"+tc.command, func(t *testing.T) {
			full := newDialect(extensions)
			part := newDialect(slices.DeleteFunc(slices.Clone(extensions), func(e extension) bool { return e.name == tc.extension }))
			if part.has(tc.extension) || len(part.extensions) != len(full.extensions)-1 {
				t.Fatal("not removed")
			}
			if err := understands(full, tc.command); err != nil {
				t.Errorf("with the extension: %v", err)
			}
			if err := understands(part, tc.command); err == nil {
				t.Error("understood without the extension")
			}
		})
	}
}

// understands returns an error if a dialect does not accept a command or its
// arguments.
func understands(d *dialect, line string) error {
	c := &call{args: wire.NewParser([]byte("a "+line), d.grammar)}
	if _, err := d.find(c); err != nil {
		return err
	}
	v := view{Snapshot: snapshot(1)}
	q := &query{view: &v}
	search := func(s wire.Search) error {
		_, err := q.compile(&d.keys, &s.Key)
		for _, k := range s.Sort {
			if d.sortKeys[k.Name] == nil {
				return badf("no sort key %s", k.Name)
			}
		}
		if s.Algorithm != "" && d.threads[s.Algorithm] == nil {
			return badf("no algorithm %s", s.Algorithm)
		}
		return err
	}
	var err error
	switch c.args.More(); c.name {
	case "FETCH":
		f := c.args.Fetch()
		for _, it := range f.Items {
			if d.items[it.Kind].write == nil {
				err = badf("no item %s", it.Label)
			}
		}
	case "STORE":
		c.args.Store()
	case "SEARCH":
		err = search(c.args.Search())
	case "SORT":
		err = search(c.args.Sort())
	case "THREAD":
		err = search(c.args.Thread())
	case "SELECT":
		c.args.Select()
	case "LIST":
		c.args.List()
	case "APPEND":
		c.args.AString()
		c.args.SP()
		c.args.Append()
	case "CREATE":
		c.args.Create()
	case "STATUS":
		c.args.AString()
		c.args.SP()
		for _, it := range c.args.StatusItems() {
			if d.status[it] == nil {
				err = badf("no item %s", it)
			}
		}
	}
	if c.args.Err() != nil {
		return c.args.Err()
	}
	return err
}

// The dialect provides exactly the FETCH items and search keys that the parser
// accepts.
func TestDialectIsComplete(t *testing.T) {
	d := newDialect(extensions)
	for k, item := range d.items {
		if item.write == nil {
			t.Errorf("FETCH item %d has no row", k)
		}
	}
	for k, key := range d.keys {
		if key.match == nil {
			t.Errorf("search key %d has no row", k)
		}
	}
	if d.grammar != wire.AllForms {
		t.Errorf("grammar %b, want %b", d.grammar, wire.AllForms)
	}
	seen := map[string]bool{}
	for _, e := range extensions {
		if seen[e.name] {
			t.Errorf("%s has two rows", e.name)
		}
		seen[e.name] = true
	}
}

// Clients depend on these lists, so they must not change by accident.
func TestCapabilities(t *testing.T) {
	d := open(t, Config{AppendLimit: 1000}, maildrop.Config{})
	c := d.dial(t)
	early := c.ok("CAPABILITY")[0]
	if want := "* CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ID ENABLE STARTTLS AUTH="; !strings.HasPrefix(early, want) {
		t.Errorf("before login: %s", early)
	}
	if strings.Contains(early, "IDLE") || strings.Contains(early, "LOGINDISABLED") {
		t.Errorf("before login: %s", early)
	}
	c.ok(`LOGIN ann "secret word"`)
	want := "* CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ID ENABLE COMPRESS=DEFLATE CHILDREN NAMESPACE UNSELECT UIDPLUS MULTIAPPEND CATENATE IDLE MOVE " +
		"CONDSTORE QRESYNC ESEARCH SEARCHRES SORT SORT=DISPLAY ESORT THREAD=ORDEREDSUBJECT THREAD=REFERENCES THREAD=REFS I18NLEVEL=1 WITHIN " +
		"LIST-EXTENDED LIST-STATUS SPECIAL-USE CREATE-SPECIAL-USE STATUS=SIZE BINARY PREVIEW SAVEDATE OBJECTID " +
		"QUOTA QUOTA=RES-STORAGE QUOTA=RES-MESSAGE METADATA LIST-METADATA UTF8=ACCEPT REPLACE APPENDLIMIT=1000 UNAUTHENTICATE MULTISEARCH CONTEXT=SEARCH SEARCH=FUZZY PARTIAL INPROGRESS UIDONLY UIDBATCHES"
	if late := c.ok("CAPABILITY")[0]; late != want {
		t.Errorf("after login:\n%s\nwant\n%s", late, want)
	}
}

func TestFind(t *testing.T) {
	tests := []struct {
		line, tag, name string
		uid             bool
		bad             string
	}{
		{line: "a NOOP", tag: "a", name: "NOOP"},
		{line: "a noop", tag: "a", name: "NOOP"},
		{line: "A.1-x FETCH 1 FLAGS", tag: "A.1-x", name: "FETCH"},
		{line: "a uid fetch 1 FLAGS", tag: "a", name: "FETCH", uid: true},
		{line: "a UID NOOP", tag: "a", bad: "Unknown command"},
		{line: "a UID", tag: "a", bad: "Unknown command"},
		{line: "a FOO", tag: "a", bad: "Unknown command"},
		{line: "a", tag: "a", bad: "Missing command"},
		{line: "a  NOOP", tag: "a", bad: "Missing command"},
		{line: "", tag: "*", bad: "Missing tag"},
		{line: "+ NOOP", tag: "*", bad: "Missing tag"},
		{line: "* NOOP", tag: "*", bad: "Missing tag"},
	}
	d := newDialect(extensions)
	for _, tc := range tests {
		c := &call{tag: "*", args: wire.NewParser([]byte(tc.line), d.grammar)}
		_, err := d.find(c)
		if c.tag != tc.tag {
			t.Errorf("%q: tag %q", tc.line, c.tag)
		}
		if tc.bad != "" {
			if err == nil || err.Error() != tc.bad {
				t.Errorf("%q: error %v, want %q", tc.line, err, tc.bad)
			}
			continue
		}
		if err != nil || c.name != tc.name || c.uid != tc.uid {
			t.Errorf("%q: %s %v %v", tc.line, c.name, c.uid, err)
		}
	}
}
