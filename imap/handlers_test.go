package imap

import (
	"fmt"
	"strings"
	"testing"

	"hoplite/maildrop"
)

// Each row runs a command, after some preparatory commands, on a box with three
// messages in INBOX and an empty mailbox Work. It compares the untagged
// responses ("…" matches anything) and the beginning of the tagged response.
func TestHandlers(t *testing.T) {
	tests := []struct {
		name     string
		prepare  string // commands, separated by "; "
		command  string
		untagged []string
		status   string
	}{
		{"create", "", "CREATE New", nil, "OK [MAILBOXID (F"},
		{"create with levels", "", "CREATE A.b.c", nil, "OK [MAILBOXID (F"},
		{"create for mailboxes below", "", "CREATE New.", nil, "OK [MAILBOXID (F"},
		{"create twice", "", "CREATE Work", nil, "NO [ALREADYEXISTS]"},
		{"create inbox", "", "CREATE inbox", nil, "NO [ALREADYEXISTS]"},
		{"create an impossible name", "", `CREATE "a/b"`, nil, "NO [CANNOT]"},
		{"create with a special use", "", `CREATE Out (USE (\Sent))`, nil, "OK"},
		{"create with two special uses", "", `CREATE Out (USE (\Sent \Junk))`, nil, "NO [USEATTR]"},
		{"create with an unknown special use", "", `CREATE Out (USE (\Foo))`, nil, "NO [USEATTR]"},
		{"create without a name", "", "CREATE", nil, "BAD"},
		{"create with too much", "", "CREATE a b", nil, "BAD"},

		{"delete", "", "DELETE Work", nil, "OK DELETE completed"},
		{"delete inbox", "", "DELETE INBOX", nil, "NO [CANNOT]"},
		{"delete what does not exist", "", "DELETE None", nil, "NO [NONEXISTENT]"},
		{"delete the selected mailbox", "SELECT Work", "DELETE Work", nil, "OK"},
		{"after that nothing is selected", "SELECT Work; DELETE Work", "CHECK", nil, "BAD No mailbox selected"},

		{"rename", "", "RENAME Work Play", nil, "OK RENAME completed"},
		{"rename to a level that does not exist", "", "RENAME Work A.b.c", nil, "OK"},
		{"rename to a name that exists", "CREATE Play", "RENAME Work Play", nil, "NO [ALREADYEXISTS]"},
		{"rename what does not exist", "", "RENAME None Play", nil, "NO [NONEXISTENT]"},
		{"rename to an impossible name", "", `RENAME Work "a/b"`, nil, "NO [CANNOT]"},

		{"subscribe", "", "SUBSCRIBE Work", nil, "OK"},
		{"subscribe to what does not exist", "", "SUBSCRIBE None", nil, "OK"},
		{"unsubscribe", "SUBSCRIBE Work", "UNSUBSCRIBE Work", nil, "OK"},
		{"subscribe to an impossible name", "", `SUBSCRIBE "a/b"`, nil, "NO [NONEXISTENT]"},

		{"status", "", "STATUS INBOX (MESSAGES UNSEEN UIDNEXT)", []string{"STATUS INBOX (MESSAGES 3 UNSEEN 2 UIDNEXT 4)"}, "OK STATUS completed"},
		{"status of an empty mailbox", "", "STATUS Work (MESSAGES SIZE RECENT DELETED)", []string{"STATUS Work (MESSAGES 0 SIZE 0 RECENT 0 DELETED 0)"}, "OK"},
		{"status in the order asked for", "", "STATUS Work (UNSEEN MESSAGES)", []string{"STATUS Work (UNSEEN 0 MESSAGES 0)"}, "OK"},
		{"status of what does not exist", "", "STATUS None (MESSAGES)", nil, "NO [NONEXISTENT]"},
		{"status of an unknown item", "", "STATUS INBOX (FOO)", nil, "BAD Unknown STATUS item FOO"},
		{"status without items", "", "STATUS INBOX ()", nil, "BAD"},
		{"list with an unknown status item", "", `LIST "" * RETURN (STATUS (FOO))`, nil, "BAD Unknown STATUS item FOO"},

		{"quota", "", "GETQUOTA account", []string{`QUOTA "account" ()`}, "OK GETQUOTA completed"},
		{"quota root", "", "GETQUOTAROOT INBOX", []string{`QUOTAROOT INBOX "account"`, `QUOTA "account" ()`}, "OK"},
		{"another quota root", "", "GETQUOTA other", nil, "NO [NONEXISTENT]"},
		{"quota root of what does not exist", "", "GETQUOTAROOT None", nil, "NO [NONEXISTENT]"},

		{"enable", "", "ENABLE CONDSTORE FOO utf8=accept", []string{"ENABLED CONDSTORE UTF8=ACCEPT"}, "OK ENABLE completed"},
		{"enable what does not exist", "", "ENABLE FOO", []string{"ENABLED"}, "OK"},
		{"enable rev2", "", "ENABLE imap4rev2", []string{"ENABLED IMAP4rev2"}, "OK"},
		{"enable with a mailbox selected", "SELECT INBOX", "ENABLE QRESYNC", []string{"OK [HIGHESTMODSEQ …] …", "ENABLED QRESYNC"}, "OK"},
		{"enable without a word", "", "ENABLE", nil, "BAD"},

		{"select what does not exist", "", "SELECT None", nil, "NO [NONEXISTENT]"},
		{"a failed select leaves nothing selected", "SELECT INBOX; -SELECT None", "CHECK", nil, "BAD No mailbox selected"},
		{"qresync without enable", "", "SELECT INBOX (QRESYNC (1 1))", nil, "BAD ENABLE QRESYNC first"},
		{"close", "SELECT INBOX; STORE 1 +FLAGS.SILENT (\\Deleted)", "CLOSE", nil, "OK CLOSE completed"},
		{"close expunges", "SELECT INBOX; STORE 1 +FLAGS.SILENT (\\Deleted); CLOSE", "STATUS INBOX (MESSAGES)", []string{"STATUS INBOX (MESSAGES 2)"}, "OK"},
		{"unselect does not", "SELECT INBOX; STORE 1 +FLAGS.SILENT (\\Deleted); UNSELECT", "STATUS INBOX (MESSAGES)", []string{"STATUS INBOX (MESSAGES 3)"}, "OK"},
		{"close after examine does not", "SELECT INBOX; STORE 1 +FLAGS.SILENT (\\Deleted); EXAMINE INBOX; CLOSE", "STATUS INBOX (MESSAGES)", []string{"STATUS INBOX (MESSAGES 3)"}, "OK"},

		{"fetch", "SELECT INBOX", "FETCH 2:3 UID", []string{"2 FETCH (UID 2)", "3 FETCH (UID 3)"}, "OK FETCH completed"},
		{"uid fetch", "SELECT INBOX", "UID FETCH 2 (FLAGS)", []string{`2 FETCH (UID 2 FLAGS (\Flagged \Recent))`}, "OK UID FETCH completed"},
		{"fetch a number that does not exist", "SELECT INBOX", "FETCH 4 UID", nil, "BAD No such message"},
		{"fetch a UID that does not exist", "SELECT INBOX", "UID FETCH 4 UID", nil, "OK"},
		{"fetch in an empty mailbox", "SELECT Work", "FETCH * UID", nil, "BAD The mailbox is empty"},
		{"fetch an unknown item", "SELECT INBOX", "FETCH 1 FOO", nil, "BAD Unknown FETCH item"},
		{"vanished without qresync", "SELECT INBOX", "UID FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED)", nil, "BAD VANISHED needs"},
		{"changed since", "SELECT INBOX; ENABLE CONDSTORE", "FETCH 1:3 UID (CHANGEDSINCE 99999)", nil, "OK"},
		{"changed since shows modseq", "SELECT INBOX; ENABLE CONDSTORE", "FETCH 3 UID (CHANGEDSINCE 1)", []string{"3 FETCH (UID 3 MODSEQ (…))"}, "OK"},

		{"store", "SELECT INBOX", `STORE 1 +FLAGS (\Answered)`, []string{`1 FETCH (FLAGS (\Answered \Seen \Recent))`}, "OK STORE completed"},
		{"store silently", "SELECT INBOX", `STORE 1 +FLAGS.SILENT (\Answered)`, nil, "OK"},
		{"store silently with condstore", "SELECT INBOX; ENABLE CONDSTORE", `STORE 1 +FLAGS.SILENT (\Answered)`, []string{"1 FETCH (MODSEQ (…))"}, "OK"},
		{"store what is set", "SELECT INBOX; ENABLE CONDSTORE", `STORE 1 +FLAGS.SILENT (\Seen)`, nil, "OK"},
		{"replace flags", "SELECT INBOX", `STORE 2 FLAGS (\Draft)`, []string{`2 FETCH (FLAGS (\Draft \Recent))`}, "OK"},
		{"remove a flag", "SELECT INBOX", `STORE 2 -FLAGS \Flagged`, []string{`2 FETCH (FLAGS (\Recent))`}, "OK"},
		{"uid store", "SELECT INBOX", `UID STORE 2 +FLAGS (\Seen)`, []string{`2 FETCH (UID 2 FLAGS (\Flagged \Seen \Recent))`}, "OK UID STORE completed"},
		{"a new keyword", "SELECT INBOX", "STORE 3 +FLAGS ($New)", []string{`FLAGS (… $New)`, "OK [PERMANENTFLAGS (…)] …", `3 FETCH (FLAGS (\Recent $New))`}, "OK"},
		{"store an unknown flag", "SELECT INBOX", `STORE 1 FLAGS (\Foo)`, nil, `BAD Unknown flag \Foo`},
		{"store \\Recent", "SELECT INBOX", `STORE 1 +FLAGS (\Recent)`, nil, `BAD Unknown flag \Recent`},
		{"store after examine", "EXAMINE INBOX", `STORE 1 +FLAGS (\Seen)`, nil, "NO [READ-ONLY]"},
		{"unchanged since", "SELECT INBOX; ENABLE CONDSTORE", `STORE 1 (UNCHANGEDSINCE 0) +FLAGS (\Answered)`, nil, "OK [MODIFIED 1] STORE completed"},
		{"unchanged since, by UID", "SELECT INBOX; ENABLE CONDSTORE", `UID STORE 1:2 (UNCHANGEDSINCE 0) +FLAGS (\Answered)`, nil, "OK [MODIFIED 1:2] UID STORE completed"},

		{"expunge nothing", "SELECT INBOX", "EXPUNGE", nil, "OK EXPUNGE completed"},
		{"expunge", `SELECT INBOX; STORE 1,3 +FLAGS.SILENT (\Deleted)`, "EXPUNGE", []string{"1 EXPUNGE", "2 EXPUNGE"}, "OK EXPUNGE completed"},
		{"expunge with qresync", `ENABLE QRESYNC; SELECT INBOX; STORE 1,3 +FLAGS.SILENT (\Deleted)`, "EXPUNGE", []string{"VANISHED 1,3"}, "OK [HIGHESTMODSEQ "},
		{"uid expunge", `SELECT INBOX; STORE 1,3 +FLAGS.SILENT (\Deleted)`, "UID EXPUNGE 2:3", []string{"3 EXPUNGE"}, "OK UID EXPUNGE completed"},
		{"expunge after examine", "EXAMINE INBOX", "EXPUNGE", nil, "NO [READ-ONLY]"},

		{"copy", "SELECT INBOX", "COPY 1:2 Work", nil, "OK [COPYUID … 1:2 1:2] COPY completed"},
		{"copy no message", "SELECT INBOX", "UID COPY 9 Work", nil, "OK UID COPY completed"},
		{"copy to what does not exist", "SELECT INBOX", "COPY 1 None", nil, "NO [TRYCREATE]"},
		{"copy after examine", "EXAMINE INBOX", "UID COPY 3 Work", nil, "OK [COPYUID … 3 1] UID COPY completed"},
		{"move", "SELECT INBOX", "MOVE 2 Work", []string{"OK [COPYUID … 2 1] Moved", "2 EXPUNGE"}, "OK MOVE completed"},
		{"uid move", "ENABLE QRESYNC; SELECT INBOX", "UID MOVE 1:2 Work", []string{"OK [COPYUID … 1:2 1:2] Moved", "VANISHED 1:2"}, "OK UID MOVE completed"},
		{"move after examine", "EXAMINE INBOX", "MOVE 1 Work", nil, "NO [READ-ONLY]"},

		{"append", "", "APPEND Work {3+}\nabc", nil, "OK [APPENDUID … 1] APPEND completed"},
		{"append two", "", "APPEND Work {3+}\nabc {3+}\ndef", nil, "OK [APPENDUID … 1:2] APPEND completed"},
		{"append to what does not exist", "", "APPEND None {3+}\nabc", nil, "NO [TRYCREATE]"},
		{"append nothing", "", "APPEND Work {0+}\n", nil, "NO Message is empty"},
		{"append with an unknown flag", "", "APPEND Work (\\Foo) {3+}\nabc", nil, `BAD Unknown flag \Foo`},
		{"append without a message", "", "APPEND Work", nil, "BAD"},
		{"append to the selected mailbox", "SELECT Work", "APPEND Work {3+}\nabc", []string{"1 EXISTS", "1 RECENT"}, "OK [APPENDUID"},
		{"replace", "SELECT INBOX", "REPLACE 2 INBOX {3+}\nabc", []string{"OK [APPENDUID … 4] Replacement stored", "2 EXPUNGE", "3 EXISTS", "…RECENT"}, "OK REPLACE completed"},
		{"replace what does not exist", "SELECT INBOX", "UID REPLACE 9 INBOX {3+}\nabc", nil, "NO [NONEXISTENT]"},
		{"replace after examine", "EXAMINE INBOX", "UID REPLACE 1 INBOX {3+}\nabc", nil, "NO [READ-ONLY]"},
		{"replace several", "SELECT INBOX", "UID REPLACE 1:2 INBOX {3+}\nabc", nil, "NO [NONEXISTENT]"},

		{"search", "SELECT INBOX", "SEARCH UNSEEN", []string{"SEARCH 2 3"}, "OK SEARCH completed"},
		{"uid search", "SELECT INBOX", "UID SEARCH SUBJECT two", []string{"SEARCH 2"}, "OK UID SEARCH completed"},
		{"search finds nothing", "SELECT INBOX", "SEARCH DRAFT", []string{"SEARCH"}, "OK"},
		{"search modseq", "SELECT INBOX; ENABLE CONDSTORE", "SEARCH 2 MODSEQ 1", []string{"SEARCH 2 (MODSEQ …)"}, "OK"},
		{"search with rev2", "ENABLE IMAP4rev2; SELECT INBOX", "SEARCH ALL", []string{`ESEARCH (TAG "…") ALL 1:3`}, "OK"},
		{"search return", "SELECT INBOX", "UID SEARCH RETURN (MIN MAX COUNT) ALL", []string{`ESEARCH (TAG "…") UID MIN 1 MAX 3 COUNT 3`}, "OK"},
		{"search with an unknown charset", "SELECT INBOX", "SEARCH CHARSET x-foo ALL", nil, "NO [BADCHARSET"},
		{"charset after utf8", "ENABLE UTF8=ACCEPT; SELECT INBOX", "SEARCH CHARSET UTF-8 ALL", nil, "BAD No CHARSET"},
		{"save", "SELECT INBOX; SEARCH RETURN (SAVE) UNSEEN", "FETCH $ UID", []string{"2 FETCH (UID 2)", "3 FETCH (UID 3)"}, "OK"},
		{"save the last", "SELECT INBOX; SEARCH RETURN (SAVE MAX) ALL", "UID SEARCH $", []string{"SEARCH 3"}, "OK"},
		{"a failed search saves nothing", "SELECT INBOX; SEARCH RETURN (SAVE) ALL; -SEARCH RETURN (SAVE) CHARSET x-foo ALL", "FETCH $ UID", nil, "OK"},
		{"sort", "SELECT INBOX", "SORT (SUBJECT) UTF-8 ALL", []string{"SORT 1 3 2"}, "OK SORT completed"},
		{"sort in reverse", "SELECT INBOX", "UID SORT (REVERSE SUBJECT) UTF-8 UNSEEN", []string{"SORT 2 3"}, "OK UID SORT completed"},
		{"sort return", "SELECT INBOX", "SORT RETURN (MIN COUNT) (SUBJECT) UTF-8 2:3", []string{`ESEARCH (TAG "…") MIN 3 COUNT 2`}, "OK"},
		{"sort by an unknown criterion", "SELECT INBOX", "SORT (FOO) UTF-8 ALL", nil, "BAD Unknown SORT criterion FOO"},
		{"thread", "SELECT INBOX", "THREAD REFERENCES UTF-8 ALL", []string{"THREAD (1)(2)(3)"}, "OK THREAD completed"},
		{"thread nothing", "SELECT INBOX", "UID THREAD REFS UTF-8 DRAFT", []string{"THREAD"}, "OK UID THREAD completed"},
		{"thread by an unknown algorithm", "SELECT INBOX", "THREAD FOO UTF-8 ALL", nil, "BAD Unknown threading algorithm"},

		{"id", "", `ID ("name" "x")`, []string{`ID ("name" "Hoplite" "version" "")`}, "OK ID completed"},
		{"noop with arguments", "", "NOOP x", nil, "BAD Unexpected"},
		{"logout", "", "LOGOUT", []string{"BYE Logging out"}, "OK LOGOUT completed"},
	}
	d := open(t, Config{}, maildrop.Config{})
	for i, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			c := d.box(t, fmt.Sprintf("box%d", i))
			c.put("INBOX", `\Seen`, "Subject: one\n\nx\n")
			c.put("INBOX", `\Flagged`, "Subject: two\n\nx\n")
			c.put("INBOX", "", "Subject: three\n\nx\n")
			c.ok("CREATE Work")
			for _, command := range strings.Split(tc.prepare, "; ") {
				if fails, ok := strings.CutPrefix(command, "-"); ok {
					c.do("%s", fails)
				} else if command != "" {
					c.ok("%s", command)
				}
			}
			untagged, status := c.do("%s", tc.command)
			if !like(status, tc.status+"…") {
				t.Errorf("status %q, want %q", status, tc.status)
			}
			if len(untagged) != len(tc.untagged) {
				t.Fatalf("untagged %q, want %q", untagged, tc.untagged)
			}
			for i, want := range tc.untagged {
				if !like(untagged[i], "* "+want) {
					t.Errorf("untagged %q, want %q", untagged[i], want)
				}
			}
		})
	}
}
