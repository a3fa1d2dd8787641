package imap

import (
	"context"
	"strings"
	"testing"
	"time"

	"hoplite/imap/summary"
	"hoplite/imap/wire"
	"hoplite/maildrop"
)

// candidateMessage is the second of three messages, with UID 20, flags \Seen
// and $Work, and \Recent.
func candidateMessage(t *testing.T) *query {
	t.Helper()
	at := func(s string) int64 {
		d, err := time.Parse(time.RFC3339, s)
		must(t, err)
		return d.Unix()
	}
	s := snapshot(10, 20, 30)
	m := s.Messages[1]
	m.Flags, m.Keywords, m.Wire, m.ModSeq = maildrop.Seen, 1, 2000, 77
	m.Date, m.Saved = at("2026-03-05T12:00:00Z"), at("2026-03-10T12:00:00Z")
	s.Keywords = []string{"$Work", "", "other"}
	v := &view{Snapshot: s, saved: []uint32{20, 30}}
	v.claim(20)
	return &query{view: v, now: at("2026-03-05T13:00:00Z")}
}

// Each key that needs no file is evaluated for one message.
func TestSearchKeys(t *testing.T) {
	header := "Date: Sun, 1 Mar 2026 23:30:00 -0500\nFrom: Ann Example <ann@example.org>\nTo: bob@example.org, =?utf-8?q?J=C3=BCrgen?= <j@example.net>\n" +
		"Cc: carol@example.org\nBcc: dave@example.org\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= from here\nMessage-ID: <2@x>\nReferences: <1@x>\n\n"
	known := summary.OfHeader([]byte(header))
	q := candidateMessage(t)
	m := q.view.Messages[1]
	tests := []struct {
		key  string
		want bool
	}{
		{"ALL", true}, {"NOT ALL", false}, {"NOT NOT ALL", true},
		{"2", true}, {"1", false}, {"1:2", true}, {"3:*", false}, {"*", false}, {"1,3", false},
		{"UID 20", true}, {"UID 2", false}, {"UID 15:25", true}, {"UID 1:*", true}, {"$", true}, {"UID $", true}, {"NOT $", false},
		{"SEEN", true}, {"UNSEEN", false}, {"ANSWERED", false}, {"UNANSWERED", true}, {"DELETED", false}, {"UNDELETED", true},
		{"DRAFT", false}, {"UNDRAFT", true}, {"FLAGGED", false}, {"UNFLAGGED", true},
		{"KEYWORD $Work", true}, {"KEYWORD $work", true}, {"KEYWORD other", false}, {"KEYWORD none", false}, {"UNKEYWORD $Work", false}, {"UNKEYWORD none", true},
		{"RECENT", true}, {"OLD", false}, {"NEW", false},
		{"LARGER 1999", true}, {"LARGER 2000", false}, {"SMALLER 2001", true}, {"SMALLER 2000", false},
		{"BEFORE 6-Mar-2026", true}, {"BEFORE 5-Mar-2026", false}, {"ON 5-Mar-2026", true}, {"ON 4-Mar-2026", false},
		{"SINCE 5-Mar-2026", true}, {"SINCE 6-Mar-2026", false},
		{"SAVEDBEFORE 11-Mar-2026", true}, {"SAVEDON 10-Mar-2026", true}, {"SAVEDSINCE 11-Mar-2026", false}, {"SAVEDATESUPPORTED", true},
		// The day is taken in the time zone of the Date field.
		{"SENTON 1-Mar-2026", true}, {"SENTON 2-Mar-2026", false}, {"SENTBEFORE 2-Mar-2026", true}, {"SENTBEFORE 1-Mar-2026", false},
		{"SENTSINCE 1-Mar-2026", true}, {"SENTSINCE 2-Mar-2026", false},
		{"YOUNGER 3600", true}, {"YOUNGER 3599", false}, {"OLDER 3600", true}, {"OLDER 3601", false}, {"YOUNGER 9223372036854775807", true},
		{"MODSEQ 77", true}, {"MODSEQ 78", false}, {`MODSEQ "/flags/\\seen" all 77`, true},
		{"FROM ann", true}, {"FROM EXAMPLE", true}, {"FROM bob", false}, {"TO bob", true}, {"TO jürgen", true}, {"TO carol", false},
		{"CC carol", true}, {"BCC dave", true}, {"BCC carol", false},
		{"SUBJECT grüße", true}, {"SUBJECT GRÜSSE", false}, {`SUBJECT "e from"`, true}, {"HEADER Subject here", true}, {"HEADER to example.net", true},
		{"THREADID " + threadID(m, known), true}, {"THREADID x", false}, {"EMAILID " + emailID(m), true}, {"EMAILID x", false},
		{"OR SEEN DELETED", true}, {"OR DELETED SEEN", true}, {"OR DELETED DRAFT", false}, {"NOT OR DELETED DRAFT", true},
		{"(SEEN 2)", true}, {"(SEEN 1)", false}, {"SEEN LARGER 1 FROM ann", true}, {"SEEN LARGER 1 FROM bob", false},
		{"OR (DELETED FROM ann) (SEEN (2 NOT DELETED))", true},
		{`TEXT ""`, true}, {`BODY ""`, true}, {`NOT TEXT ""`, false},
	}
	d := newDialect(extensions)
	for _, tc := range tests {
		p := wire.NewParser([]byte("CHARSET UTF-8 "+quoteUTF8(tc.key)), wire.AllForms)
		args := p.Search()
		if p.End() != nil {
			t.Fatalf("%s: %v", tc.key, p.Err())
		}
		q.charset = args.Charset
		root, err := q.compile(&d.keys, &args.Key)
		must(t, err)
		c := candidate{q: q, ctx: context.Background(), msg: m, number: 2, known: known}
		if got, err := c.match(root); got != tc.want || err != nil {
			t.Errorf("%s: got %v %v, want %v", tc.key, got, err, tc.want)
		}
	}
}

// quoteUTF8 quotes the non-ASCII words of a command.
func quoteUTF8(s string) string {
	words := strings.Split(s, " ")
	for i, w := range words {
		for _, c := range []byte(w) {
			if c >= 0x80 {
				words[i] = `"` + w + `"`
				break
			}
		}
	}
	return strings.Join(words, " ")
}

// A message without a Date field is neither before nor after any day.
func TestSentWithoutDate(t *testing.T) {
	d := newDialect(extensions)
	for _, key := range []string{"SENTBEFORE 1-Jan-2100", "SENTON 5-Mar-2026", "SENTSINCE 1-Jan-1970"} {
		p := wire.NewParser([]byte(key), wire.AllForms)
		args := p.Search()
		q := candidateMessage(t)
		root, err := q.compile(&d.keys, &args.Key)
		must(t, err)
		c := candidate{q: q, msg: q.view.Messages[1], known: summary.OfHeader([]byte("Subject: x\n\n"))}
		if got, err := c.match(root); got || err != nil {
			t.Errorf("%s: %v %v", key, got, err)
		}
	}
}

func TestSearchKeyErrors(t *testing.T) {
	d := newDialect(extensions)
	for key, want := range map[string]string{`KEYWORD \Foo`: `Unknown flag \Foo`, `NOT (ALL KEYWORD \Recent)`: `Unknown flag \Recent`} {
		p := wire.NewParser([]byte(key), wire.AllForms)
		args := p.Search()
		_, err := candidateMessage(t).compile(&d.keys, &args.Key)
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", key, err, want)
		}
	}
}

// Keys that need no file are evaluated first. The need of a query is the
// highest need of its keys.
func TestQueryNeeds(t *testing.T) {
	tests := []struct {
		keys  string
		need  need
		first need
	}{
		{"ALL", needIndex, needIndex},
		{"SEEN LARGER 5", needIndex, needIndex},
		{"FROM x SEEN", needHeader, needIndex},
		{"TEXT x FROM y", needFile, needHeader},
		{"BODY x SEEN FROM y", needFile, needIndex},
		{"OR TEXT x SEEN", needFile, needIndex},
		{`BODY "" SEEN`, needIndex, needIndex},
		{"SENTON 1-Jan-2000 UID 5", needHeader, needIndex},
	}
	d := newDialect(extensions)
	for _, tc := range tests {
		p := wire.NewParser([]byte(tc.keys), wire.AllForms)
		args := p.Search()
		root, err := candidateMessage(t).compile(&d.keys, &args.Key)
		must(t, err)
		first := root.need
		if len(root.kids) > 0 {
			first = root.kids[0].need
		}
		if root.need != tc.need || first != tc.first {
			t.Errorf("%s: needs %d, first %d", tc.keys, root.need, first)
		}
	}
}

// TEXT, BODY and HEADER read the message.
func TestSearchTexts(t *testing.T) {
	long := strings.Repeat("filler\n", 20_000)
	messages := []string{
		"Subject: plain\nX-Mark: red\n\nneedle here\n",
		"Subject: needle\n\nnothing\n",
		"Subject: base64\nContent-Transfer-Encoding: base64\n\nbmVlZGxl\n",
		"Subject: latin\nContent-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\nGr=FC=DFe\n",
		"Subject: attached\nContent-Type: message/rfc822\n\nSubject: needle\n\nx\n",
		"Subject: image\nContent-Type: image/png\n\nneedle\n",
		"Subject: unknown\nContent-Transfer-Encoding: x-unknown\n\nneedle\n",
		"Subject: late\n\n" + long + "NEEDLE\n",
		"Subject: mixed\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\nContent-Type: text/html\n\n<p>needle\n--b--\n",
	}
	tests := []struct{ keys, want string }{
		{"TEXT needle", "1 2 3 5 8 9"},
		{"BODY needle", "1 3 5 8 9"},
		{"NOT BODY needle", "2 4 6 7"},
		{"TEXT NEEDLE", "1 2 3 5 8 9"},
		{"BODY {7+}\r\ngrüße", "4"},
		{"CHARSET UTF-8 BODY {7+}\r\ngrüße", "4"},
		{"TEXT x-mark", "1"},
		{"HEADER X-Mark red", "1"},
		{`HEADER X-Mark ""`, "1"},
		{`HEADER Subject ""`, "1 2 3 4 5 6 7 8 9"},
		{"HEADER X-Mark blue", ""},
		{"BODY needle BODY here", "1"},
		{"OR BODY here TEXT image", "1 6"},
		{"BODY filler BODY needle", "8"},
		{"SUBJECT mixed TEXT html", "9"},
	}
	d := open(t, Config{}, maildrop.Config{})
	c := d.login(t)
	for _, m := range messages {
		c.put("INBOX", "", m)
	}
	c.ok("SELECT INBOX")
	for _, tc := range tests {
		got := strings.TrimPrefix(strings.TrimPrefix(c.ok("SEARCH %s", strings.ReplaceAll(tc.keys, "\r\n", "\n"))[0], "* SEARCH"), " ")
		if got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.keys, got, tc.want)
		}
	}
}
