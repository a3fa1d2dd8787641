package forward

import (
	"bufio"
	"bytes"
	"strings"
	"testing"
	"testing/iotest"

	"hoplite/mail"
)

func TestReadReply(t *testing.T) {
	tests := map[string]struct{ in, want string }{
		"one line":            {"250 ok\r\n", "250 ok"},
		"enhanced":            {"250 2.1.0 ok\r\n", "250 2.1.0 ok"},
		"of another class":    {"550 2.1.0 ok\r\n", "550 2.1.0 ok"},
		"code alone":          {"250\r\n", "250"},
		"several lines":       {"550-5.1.1 no\r\n550-5.1.1 such\r\n550 5.1.1 user\r\n", "550 5.1.1 no / such / user"},
		"bare LF":             {"250 ok\n", "250 ok"},
		"not every line says": {"250-2.0.0 a\r\n250 b\r\n", "250 2.0.0 a / b"},
		"empty text":          {"250 \r\n", "250"},
		"letters":             {"abc\r\n", "error"},
		"six hundred":         {"600 x\r\n", "error"},
		"one hundred":         {"100 x\r\n", "error"},
		"no blank":            {"250ok\r\n", "error"},
		"changed code":        {"250-a\r\n251 b\r\n", "error"},
		"cut":                 {"250-a\r\n", "error"},
		"half a line":         {"250 a", "error"},
		"nothing":             {"", "error"},
		"too many lines":      {strings.Repeat("250-a\r\n", 1000) + "250 b\r\n", "error"},
		"too long":            {"250 " + strings.Repeat("a", 5000) + "\r\n", "error"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := "error"
			if r, err := readReply(bufio.NewReaderSize(strings.NewReader(tt.in), maxReplyLine)); err == nil {
				got = r.String()
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// Every reply is bounded and printable, and does not depend on how it is split
// into packets.
func FuzzReadReply(f *testing.F) {
	for _, s := range []string{"250 ok\r\n", "250-2.1.0 a\r\n250 b\r\n", "550", "220-\x00\r\n220 \xff\r\n", "354 go\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		whole, err := readReply(bufio.NewReaderSize(bytes.NewReader(in), maxReplyLine))
		split, err2 := readReply(bufio.NewReaderSize(iotest.OneByteReader(bytes.NewReader(in)), maxReplyLine))
		if (err == nil) != (err2 == nil) {
			t.Fatalf("%v in one packet, %v octet by octet", err, err2)
		}
		if err != nil {
			return
		}
		if whole.String() != split.String() {
			t.Fatalf("%q in one packet, %q octet by octet", whole, split)
		}
		if whole.Code < 200 || whole.Code > 599 || len(whole.Text) > maxReplyLine*maxReplyLines*2 {
			t.Fatalf("code %d, %d octets", whole.Code, len(whole.Text))
		}
		if strings.ContainsFunc(whole.String(), func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			t.Fatalf("control characters in %q", whole)
		}
		parseCaps(whole.Text, nil)
		remoteID(whole.Text)
	})
}

// A message that is dot-stuffed and then read according to RFC 5321 is
// unchanged, however it is split into pieces, and nothing in it ends DATA
// early.
func FuzzStuffer(f *testing.F) {
	f.Add([]byte(".\r\n..\r\n.x\r\n\r\n"), uint8(1))
	f.Add([]byte("a\r\n.\r\nb"), uint8(3))
	f.Add([]byte(""), uint8(0))
	f.Fuzz(func(t *testing.T, in []byte, piece uint8) {
		// Bare CR and LF were refused or repaired on receipt.
		text := bytes.ReplaceAll(bytes.ReplaceAll(in, []byte("\r"), nil), []byte("\n"), []byte("\r\n"))
		var out bytes.Buffer
		s := &stuffer{w: &out, line: true}
		n := int(piece)%7 + 1
		for rest := text; len(rest) > 0; rest = rest[min(n, len(rest)):] {
			s.Write(rest[:min(n, len(rest))])
		}
		s.end()
		got, ok := bytes.CutSuffix(out.Bytes(), []byte(".\r\n"))
		if !ok || bytes.Contains(out.Bytes()[:out.Len()-3], []byte("\r\n.\r\n")) || bytes.HasPrefix(got, []byte(".\r\n")) {
			t.Fatalf("%q became %q", text, out.Bytes())
		}
		var back []byte
		for line := range bytes.Lines(got) {
			back = append(back, bytes.TrimPrefix(line, []byte("."))...)
		}
		if len(text) > 0 && !bytes.HasSuffix(text, []byte("\n")) {
			text = append(text, "\r\n"...)
		}
		if !bytes.Equal(back, text) {
			t.Fatalf("%q became %q", text, back)
		}
	})
}

func TestRemoteID(t *testing.T) {
	for text, want := range map[string]string{
		"Ok: queued as 4F1B2C":                                   "4F1B2C",
		"OK id=1tK2Zx-0000Ab-2C":                                 "1tK2Zx-0000Ab-2C",
		"4ANAbc123 Message accepted for delivery":                "4ANAbc123",
		"<x@y> [InternalId=123, Hostname=ex.example.org] Queued": "123",
		"fine": "",
	} {
		if got := remoteID(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func FuzzParseServer(f *testing.F) {
	f.Add("smtp://192.0.2.10:25?weight=3")
	f.Add("lmtp+unix:///run/dovecot/lmtp")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseServer(text)
		if err == nil && (s.address == "" || s.host == "" || s.weight < 0) {
			t.Errorf("%q gave %+v", text, s)
		}
	})
}

// Nothing in a parsed address can add a parameter or a line to a command.
func FuzzAddressInCommand(f *testing.F) {
	f.Add(`"x> NOTIFY=NEVER"@example.org`)
	f.Add("a\r\nRCPT TO:<b@example.org>@example.org")
	f.Fuzz(func(t *testing.T, text string) {
		a, err := mail.ParseAddress(text)
		if err != nil {
			return
		}
		c := &conn{server: &server{host: "old"}}
		line := (&transaction{c: c, p: &parcel{}}).rcptLine(&mail.Rcpt{To: a, ORcpt: text})
		inner, ok := strings.CutSuffix(line, ">\r\n")
		if !ok || strings.ContainsAny(inner, "\r\n\x00") {
			t.Fatalf("%q became %q", text, line)
		}
		quoted := false
		for i := len("RCPT TO:<"); i < len(inner); i++ {
			switch {
			case quoted && inner[i] == '\\':
				i++
			case inner[i] == '"':
				quoted = !quoted
			case !quoted && (inner[i] == '>' || inner[i] == ' '):
				t.Fatalf("%q became %q", text, line)
			}
		}
	})
}
