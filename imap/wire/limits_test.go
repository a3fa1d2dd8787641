package wire

import (
	"errors"
	"io"
	"strings"
	"testing"
)

// commandOf reads one command with the given limits.
func commandOf(in string, l Limits) (cmd string, asked int, err error) {
	r := NewReader(strings.NewReader(in))
	r.Limits = l
	r.Continue = func() error { asked++; return nil }
	b, _, err := r.Command()
	return string(b), asked, err
}

// TestReaderLimits checks each limit at its border. Above it the connection
// closes, unless the client still waits for permission to send.
func TestReaderLimits(t *testing.T) {
	l := Limits{Line: 100, Literals: 50, ID: 300}
	line := func(n int) string { return "a " + strings.Repeat("x", n-4) + "\r\n" }
	for _, c := range []struct {
		name, in string
		asked    int
		want     error // nil, ErrTooLong, or a TooBigError
	}{
		{"a line at its limit", line(100), 0, nil},
		{"a line above it", line(101), 0, ErrTooLong},
		{"a line without an end", strings.Repeat("x", 101), 0, ErrTooLong},
		{"a literal at the limit", "a LOGIN {50}\r\n" + strings.Repeat("x", 50) + "\r\n", 1, nil},
		{"a literal above it, announced", "a LOGIN {51}\r\n", 0, &TooBigError{}},
		{"a literal above it, being sent", "a LOGIN {51+}\r\n" + strings.Repeat("x", 51), 0, ErrTooLong},
		{"two literals that exceed it together", "a LOGIN {30}\r\n" + strings.Repeat("x", 30) + " {21}\r\n", 1, &TooBigError{}},
		{"two literals at the limit together", "a LOGIN {30}\r\n" + strings.Repeat("x", 30) + " {20}\r\n" + strings.Repeat("y", 20) + "\r\n", 2, nil},
		{"empty literals count as text", "a LOGIN" + strings.Repeat(" {0+}\r\n", 20) + "\r\n", 0, ErrTooLong},
		{"ID may be longer", "a ID (" + strings.Repeat("x", 200) + ")\r\n", 0, nil},
		{"ID in lower case", "a id (" + strings.Repeat("x", 200) + ")\r\n", 0, nil},
		{"ID with a literal", "a ID (\"name\" {200+}\r\n" + strings.Repeat("x", 200) + ")\r\n", 0, nil},
		{"ID has a limit too", "a ID (" + strings.Repeat("x", 300) + ")\r\n", 0, ErrTooLong},
		{"a command that only begins like ID", "a IDLE " + strings.Repeat("x", 200) + "\r\n", 0, ErrTooLong},
		{"ID as an argument", "a LOGIN ID " + strings.Repeat("x", 200) + "\r\n", 0, ErrTooLong},
		{"ID without a tag", "ID (" + strings.Repeat("x", 200) + ")\r\n", 0, ErrTooLong},
	} {
		_, asked, err := commandOf(c.in, l)
		var big *TooBigError
		_, wantBig := c.want.(*TooBigError)
		if wantBig && !errors.As(err, &big) || !wantBig && !errors.Is(err, c.want) || asked != c.asked {
			t.Errorf("%s: %v, asked %d times, want %v, %d", c.name, err, asked, c.want, c.asked)
		}
	}
	if Anonymous.Line > LoggedIn.Line || Anonymous.Literals > LoggedIn.Literals {
		t.Error("clients may send more before login than after it")
	}
}

// TestLimitsStartAgain checks that the limits apply to each command, not to the
// connection.
func TestLimitsStartAgain(t *testing.T) {
	one := "a LOGIN {40+}\r\n" + strings.Repeat("x", 40) + "\r\n"
	r := NewReader(strings.NewReader(strings.Repeat(one, 10)))
	r.Limits = Limits{Line: 30, Literals: 50}
	for i := range 10 {
		if _, _, err := r.Command(); err != nil {
			t.Fatalf("command %d: %v", i+1, err)
		}
	}
	if _, _, err := r.Command(); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

// TestConnectionEnds checks what a client that disappears leaves: never half a
// command that looks like a whole one.
func TestConnectionEnds(t *testing.T) {
	gone := errors.New("gone")
	for _, c := range []struct{ name, in string }{
		{"in a line", "a NOOP"}, {"after CR", "a NOOP\r"}, {"before a literal", "a LOGIN {3}\r\n"}, {"in a literal", "a LOGIN {3+}\r\nan"}, {"after a literal", "a LOGIN {3+}\r\nann"},
	} {
		if cmd, _, err := commandOf(c.in, LoggedIn); err != io.EOF {
			t.Errorf("%s: %q, %v", c.name, cmd, err)
		}
	}
	r := NewReader(strings.NewReader("a LOGIN {3}\r\nann\r\n"))
	r.Continue = func() error { return gone }
	if _, _, err := r.Command(); err != gone {
		t.Errorf("a continuation request that was not sent: %v", err)
	}
	r = NewReader(strings.NewReader("a APPEND x {10+}\r\nhalf"))
	_, msg, err := r.Command()
	if err != nil || msg == nil || msg.Size != 10 || msg.Sync || msg.Binary {
		t.Fatalf("message %+v, %v", msg, err)
	}
	if b, err := io.ReadAll(r.Message(msg)); !errors.Is(err, io.ErrUnexpectedEOF) || string(b) != "half" {
		t.Errorf("half a message: %q, %v", b, err)
	}
}

// TestLines reads what answers a continuation request: base64 of a login, or
// DONE.
func TestLines(t *testing.T) {
	r := NewReader(strings.NewReader("YW5u\r\n*\n\r\nDONE\r\nx {3}\r\nNOOP"))
	for _, want := range []string{"YW5u", "*", "", "DONE", "x {3}"} { // not a literal
		if got, err := r.Line(); err != nil || string(got) != want {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
	if _, err := r.Line(); err != io.EOF {
		t.Errorf("half a line: %v", err)
	}
	r = NewReader(strings.NewReader(strings.Repeat("A", Anonymous.Auth+1) + "\r\n"))
	if _, err := r.Line(); err != ErrTooLong {
		t.Errorf("a long line: %v", err)
	}
}

// TestBuffersBetweenCommands checks that a waiting connection holds no buffer,
// and that octets sent before STARTTLS are noticed.
func TestBuffersBetweenCommands(t *testing.T) {
	r := NewReader(strings.NewReader("a STARTTLS\r\nb NOOP\r\n"))
	if err := r.Wait(); err != nil {
		t.Fatal(err)
	}
	if cmd, _, err := r.Command(); err != nil || string(cmd) != "a STARTTLS" {
		t.Fatalf("%q, %v", cmd, err)
	}
	if !r.Buffered() {
		t.Error("the second command is not noticed")
	}
	r.Release()
	if r.Buffered() || r.in != nil {
		t.Error("a buffer is left")
	}
	r.From(strings.NewReader("c NOOP\r\n"))
	if err := r.Wait(); err != nil {
		t.Fatal(err)
	}
	if cmd, _, err := r.Command(); err != nil || string(cmd) != "c NOOP" {
		t.Errorf("after STARTTLS: %q, %v", cmd, err)
	}
	if err := r.Wait(); err != io.EOF || r.in != nil {
		t.Errorf("at the end: %v, buffer %v", err, r.in != nil)
	}
}

// TestPartsOfCommandsAreLimited checks that no single argument can grow beyond
// what a client needs.
func TestPartsOfCommandsAreLimited(t *testing.T) {
	rep := strings.Repeat
	for _, c := range []struct {
		name, fits, over string
		read             func(*Parser)
	}{
		{"ranges in a set", "1" + rep(",1", maxRanges-1), "1" + rep(",1", maxRanges), func(p *Parser) { p.Set() }},
		{"part numbers", "1 BODY[1" + rep(".1", maxPath-1) + "]", "1 BODY[1" + rep(".1", maxPath) + "]", func(p *Parser) { p.Fetch() }},
		{"search keys", rep("ALL ", maxKeys-1) + "ALL", rep("ALL ", maxKeys) + "ALL", func(p *Parser) { p.Search() }},
		{"nested search keys", rep("(", maxKeys-2) + "ALL" + rep(")", maxKeys-2), rep("(", maxKeys+2) + "ALL" + rep(")", maxKeys+2), func(p *Parser) { p.Search() }},
		{"words", "x" + rep(" x", 500), "x" + rep(" x", maxItems+1), func(p *Parser) { p.Words() }},
		{"header names", "1 BODY[HEADER.FIELDS (x" + rep(" x", 500) + ")]", "1 BODY[HEADER.FIELDS (x" + rep(" x", maxItems+1) + ")]", func(p *Parser) { p.Fetch() }},
	} {
		for in, ok := range map[string]bool{c.fits: true, c.over: false} {
			p := NewParser([]byte(in), AllForms)
			c.read(p)
			if err := p.End(); (err == nil) != ok {
				t.Errorf("%s: %d octets: %v", c.name, len(in), err)
			}
		}
	}
}

// TestBatchArguments reads UIDBATCHES.
func TestBatchArguments(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Batches
		bad  string
	}{
		{"500", Batches{Size: 500}, ""},
		{"500 1:3", Batches{500, 1, 3}, ""},
		{"500 3:1", Batches{500, 1, 3}, ""},
		{"500 2:2", Batches{500, 2, 2}, ""},
		{"500 0:2", Batches{}, "Numbers begin at 1"},
		{"500 1:*", Batches{}, `Expected a number before "*"`},
		{"500 1", Batches{}, `Expected ":" before ""`},
		{"x", Batches{}, `Expected a number before "x"`},
	} {
		check(t, c.in, (*Parser).Batches, c.want, c.bad)
	}
}

// TestCommandsOfClients reads arguments as mail programs send them.
func TestCommandsOfClients(t *testing.T) {
	for _, c := range []struct {
		name, in string
		read     func(*Parser)
	}{
		{"Outlook lists with an empty reference", `"" "*" RETURN (SPECIAL-USE)`, func(p *Parser) { p.List() }},
		{"Apple Mail asks for a list of fields", "1:* (INTERNALDATE UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (date subject from to cc message-id in-reply-to references content-type x-priority x-uniform-type-identifier x-universally-unique-identifier received-spf list-id list-unsubscribe)])", func(p *Parser) { p.Fetch() }},
		{"Thunderbird fetches changes", "1:* (UID FLAGS) (CHANGEDSINCE 1234)", func(p *Parser) { p.Fetch() }},
		{"Thunderbird fetches one part", "55 (UID RFC822.SIZE BODY[1.MIME] BODY[1])", func(p *Parser) { p.Fetch() }},
		{"K-9 loads a message in pieces", "12 (UID BODY.PEEK[]<0.131072>)", func(p *Parser) { p.Fetch() }},
		{"a client quotes field names", `1 BODY.PEEK[HEADER.FIELDS ("From" "Subject")]`, func(p *Parser) { p.Fetch() }},
		{"offlineimap changes a flag", `1:3 +FLAGS (\Seen)`, func(p *Parser) { p.Store() }},
		{"mbsync uses UIDs to the end", "4:* (UID FLAGS)", func(p *Parser) { p.Fetch() }},
		{"mutt searches with a literal", "HEADER Message-ID {9+}\r\n<1@a.bcd>", func(p *Parser) { p.Search() }},
		{"Apple Mail searches nested", `OR OR FROM "x" TO "x" OR CC "x" SUBJECT "x"`, func(p *Parser) { p.Search() }},
		{"Gmail's app searches by date", "SINCE 1-Jan-2024 NOT DELETED", func(p *Parser) { p.Search() }},
		{"an append with a date whose day has one digit", `(\Seen) " 1-Jan-2024 10:00:00 +0100" `, func(p *Parser) { p.Append() }},
		{"Outlook introduces itself", `("name" "Microsoft Outlook" "version" "16.0" "os" "Windows" "x-null" NIL)`, func(p *Parser) { p.ID() }},
	} {
		p := NewParser([]byte(c.in), AllForms)
		c.read(p)
		if err := p.End(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
