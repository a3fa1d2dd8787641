package pop3

import (
	"bufio"
	"bytes"
	"slices"
	"strings"
	"testing"

	"hoplite/maildrop"
)

func TestByOrder(t *testing.T) {
	tests := []struct {
		name string
		ext  []string // for UIDs 1, 2, ...
		want []uint32
	}{
		{"none", nil, nil},
		{"by UID", []string{"", "", ""}, []uint32{1, 2, 3}},
		{"as recorded", []string{"O3", "O1", "O2"}, []uint32{2, 3, 1}},
		{"new ones follow", []string{"", "O9", "O4", ""}, []uint32{3, 2, 1, 4}},
		{"with other keys", []string{"S5 O2", "Px O1"}, []uint32{2, 1}},
		{"equal places", []string{"O1", "O1", "O0"}, []uint32{1, 2, 3}},
		{"invalid places", []string{"Ox", "O-1", "O99999999999"}, []uint32{1, 2, 3}},
	}
	for _, tc := range tests {
		var msgs []*maildrop.Message
		for i, ext := range tc.ext {
			msgs = append(msgs, &maildrop.Message{UID: uint32(i + 1), Ext: ext})
		}
		before := slices.Clone(msgs)
		var got []uint32
		for _, m := range byOrder(msgs) {
			got = append(got, m.UID)
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: got %v, want %v", tc.name, got, tc.want)
		}
		if !slices.Equal(msgs, before) {
			t.Errorf("%s: the snapshot was reordered", tc.name)
		}
	}
}

func testInbox() *inbox {
	return &inbox{
		messages: []*maildrop.Message{{UID: 1, Wire: 10}, {UID: 5, Wire: 20}, {UID: 9, Wire: 40}},
		deleted:  map[int]bool{}, fetched: map[int]bool{},
	}
}

func TestInboxFind(t *testing.T) {
	in := testInbox()
	in.deleted[1] = true
	tests := []struct {
		arg  string
		i    int
		text string // text of the refusal
	}{
		{"1", 0, ""}, {"3", 2, ""}, {"03", 2, ""},
		{"2", 0, "Message 2 is deleted"},
		{"4", 0, "No such message, there are 3"}, {"2147483647", 0, "No such message, there are 3"},
		{"0", 0, "Invalid message number"}, {"", 0, "Invalid message number"}, {"-1", 0, "Invalid message number"},
		{"x", 0, "Invalid message number"}, {"1 ", 0, "Invalid message number"}, {"4294967297", 0, "Invalid message number"},
	}
	for _, tc := range tests {
		i, err := in.find(tc.arg)
		if tc.text == "" && (err != nil || i != tc.i) || tc.text != "" && (err == nil || err.Error() != tc.text) {
			t.Errorf("%q: %d %v, want %d %q", tc.arg, i, err, tc.i, tc.text)
		}
	}
}

func TestTotals(t *testing.T) {
	in := testInbox()
	check := func(count int, size int64) {
		t.Helper()
		if c, s := in.totals(); c != count || s != size {
			t.Errorf("%d messages, %d octets; want %d, %d", c, s, count, size)
		}
	}
	check(3, 70)
	in.deleted[0] = true
	check(2, 60)
	in.deleted[1], in.deleted[2] = true, true
	check(0, 0)
	clear(in.deleted)
	check(3, 70)
}

func TestParseTop(t *testing.T) {
	tests := []struct {
		arg, number string
		lines       int64
		ok          bool
	}{
		{"1 0", "1", 0, true}, {"2 10", "2", 10, true}, {"x 5", "x", 5, true}, {"1 4611686018427387903", "1", 1<<62 - 1, true},
		{"1", "", 0, false}, {"", "", 0, false}, {"1 -1", "", 0, false}, {"1 x", "", 0, false}, {"1  2", "", 0, false}, {"1 99999999999999999999", "", 0, false},
	}
	for _, tc := range tests {
		number, lines, ok := parseTop(tc.arg)
		if ok != tc.ok || ok && (number != tc.number || lines != tc.lines) {
			t.Errorf("%q: %q %d %v", tc.arg, number, lines, ok)
		}
	}
}

func TestCopyTop(t *testing.T) {
	const msg = "A: b\r\nC: d\r\n\r\none\r\n\r\nthree\r\nfour"
	long := "A: " + strings.Repeat("x", 40_000) + "\r\n\r\n" + strings.Repeat("y", 40_000) + "\r\nz\r\n"
	tests := []struct {
		name, in string
		lines    int64
		want     string
	}{
		{"header", msg, 0, "A: b\r\nC: d\r\n\r\n"},
		{"one line", msg, 1, "A: b\r\nC: d\r\n\r\none\r\n"},
		{"an empty line counts", msg, 2, "A: b\r\nC: d\r\n\r\none\r\n\r\n"},
		{"all", msg, 4, msg},
		{"more than there are", msg, 99, msg},
		{"no body", "A: b\r\n", 5, "A: b\r\n"},
		{"no header", "\r\nx\r\ny\r\n", 1, "\r\nx\r\n"},
		{"empty", "", 1, ""},
		{"lines longer than the buffer", long, 1, strings.TrimSuffix(long, "z\r\n")},
	}
	for _, tc := range tests {
		var out bytes.Buffer
		if err := copyTop(&out, strings.NewReader(tc.in), tc.lines); err != nil || out.String() != tc.want {
			t.Errorf("%s: %v, got %.100q, want %.100q", tc.name, err, out.String(), tc.want)
		}
	}
}

func TestDotWriterEnds(t *testing.T) {
	for in, want := range map[string]string{"": ".\r\n", "a": "a\r\n.\r\n", "a\r\n": "a\r\n.\r\n", ".": "..\r\n.\r\n", "\r\n.\r\n": "\r\n..\r\n.\r\n", "a.\r\nb": "a.\r\nb\r\n.\r\n"} {
		var out bytes.Buffer
		w := bufio.NewWriter(&out)
		d := &dotWriter{w: w, start: true}
		d.Write([]byte(in))
		must(t, d.end())
		w.Flush()
		if out.String() != want {
			t.Errorf("%q: got %q, want %q", in, out.String(), want)
		}
	}
}

func TestIsForeign(t *testing.T) {
	for verb, want := range map[string]bool{"GET": true, "post": true, "EHLO": true, "Host:": true, "\x16\x03\x01": true, "SSH-2.0": true, "XTND": false, "APOP": false, "": false, "USERS": false} {
		if isForeign(verb) != want {
			t.Errorf("%q: %v", verb, !want)
		}
	}
}

// Each command is valid only in certain states.
func TestCommandStates(t *testing.T) {
	tests := []struct {
		commands      []string
		before, after bool
	}{
		{[]string{"CAPA", "LANG", "QUIT"}, true, true},
		{[]string{"UTF8", "STLS", "USER", "PASS", "AUTH"}, true, false},
		{[]string{"STAT", "LIST", "UIDL", "RETR", "TOP", "DELE", "RSET", "NOOP"}, false, true},
	}
	n := 0
	for _, tc := range tests {
		for _, name := range tc.commands {
			n++
			c, ok := commands[name]
			if !ok || (c.authorization != nil) != tc.before || (c.transaction != nil) != tc.after {
				t.Errorf("%s: known %v, before login %v, after login %v", name, ok, c.authorization != nil, c.transaction != nil)
			}
		}
	}
	if n != len(commands) {
		t.Errorf("%d commands are tested, there are %d", n, len(commands))
	}
}

func TestDecodeBase64(t *testing.T) {
	for in, want := range map[string]string{"": "", "=": "", "YQ==": "a", "!": "!", "YQ": "!"} {
		got, err := decodeBase64(in)
		if err != nil {
			got = []byte("!")
		}
		if string(got) != want || got == nil {
			t.Errorf("%q: %q", in, got)
		}
	}
}

// An id that RFC 1939 does not permit is replaced with a hash that never
// changes.
func TestLongUIDL(t *testing.T) {
	f, err := parseUIDL("%f")
	must(t, err)
	for _, name := range []string{strings.Repeat("x", maxUIDL+1), "a b", "ä", ""} {
		m := &maildrop.Message{UID: 1, File: name + ":2,S"}
		id := f.id(1, m)
		if len(id) == 0 || len(id) > maxUIDL || !printable(id) || id == name || f.id(1, m) != id {
			t.Errorf("%.20q: %q", name, id)
		}
	}
	if got := f.id(1, &maildrop.Message{UID: 1, File: strings.Repeat("x", maxUIDL)}); got != strings.Repeat("x", maxUIDL) {
		t.Errorf("the longest id is %q", got)
	}
}
