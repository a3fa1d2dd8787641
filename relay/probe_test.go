package relay

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hoplite/filters"
)

// bareOctets reports whether s contains NUL, or a CR or LF that is not part of
// CRLF.
func bareOctets(s string) bool {
	return strings.ContainsAny(strings.ReplaceAll(s, "\r\n", ""), "\r\n\x00")
}

// Whatever surrounds a dot, whether sent in one write or with a pause in the
// middle, the server receives at most one message, and no bare CR or LF reaches
// a hop (SMTP smuggling, CVE-2023-51764 to 51766; outbound, CVE-2026-33604).
func TestSmuggling(t *testing.T) {
	before := []string{"\n", "\r", "\r\n", "\r\r\n", "\r\x00\n", "\r\n\x00", "\n\r"}
	after := []string{"\n", "\r", "\r\n", "\r\r\n", "\r\x00\n", "\x00\r\n", "\n\r", " \r\n", "\r \n", "\x0b\r\n", "\xc2\x85"}
	for _, mode := range []string{"reject", "fix"} {
		for _, pause := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, pause %v", mode, pause), func(t *testing.T) {
				d := open(t, "smtp", func(c *Config, _ *Env) { c.Bare, c.MaxErrors = mode, 1000 })
				c := d.hello(t)
				for _, b := range before {
					for _, a := range after {
						smuggle(t, d, c, b, a, pause)
					}
				}
			})
		}
	}
}

func smuggle(t *testing.T, d *testServer, c *client, before, after string, pause bool) {
	t.Helper()
	if strings.HasSuffix(before, "\r\n") && strings.HasPrefix(after, "\r\n") {
		return // a real end of a message
	}
	c.say("MAIL FROM:<sender@example.net>", "250")
	c.say("RCPT TO:<ann@example.org>", "250")
	c.say("DATA", "354")
	first := "Subject: x\r\n\r\nfirst" + before + "."
	rest := after + "MAIL FROM:<evil@example.net>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\nSubject: smuggled\r\n\r\nsecond\r\n.\r\n"
	had := len(d.boxes.all())
	if pause {
		io.WriteString(c, first)
		time.Sleep(2 * time.Millisecond)
		io.WriteString(c, rest)
	} else {
		io.WriteString(c, first+rest)
	}
	got := c.reply()
	if !strings.HasPrefix(got, "250 ") && !strings.HasPrefix(got, "554 5.6.0") {
		t.Fatalf("%q . %q: %s", before, after, got)
	}
	c.say("NOOP", "250 2.0.0 Ok")
	all := d.boxes.all()
	if len(all) > had+1 {
		t.Fatalf("%q . %q: %d messages of one", before, after, len(all)-had)
	}
	for _, m := range all[had:] {
		if m.tx.Envelope.From != "sender@example.net" || bareOctets(m.data) {
			t.Fatalf("%q . %q: %s got %q", before, after, m.tx.Envelope.From, m.data)
		}
	}
}

// Pipelined commands are answered in order.
func TestPipelining(t *testing.T) {
	d := open(t, "smtp", nil)
	for name, tt := range map[string]struct {
		in   string
		want []string
	}{
		"all good": {"MAIL FROM:<a@example.net>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\nhi: x\r\n.\r\nQUIT\r\n",
			[]string{"250 2.1.0", "250 2.1.5", "354", "250 2.0.0", "221", ""}},
		"data after refused recipients": {"MAIL FROM:<a@example.net>\r\nRCPT TO:<no@example.org>\r\nDATA\r\nRSET\r\nNOOP\r\n",
			[]string{"250 2.1.0", "550 5.1.1", "503 5.5.1", "250 2.0.0", "250 2.0.0"}},
		"some refused": {"MAIL FROM:<a@example.net>\r\nRCPT TO:<no@example.org>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\nhi: x\r\n.\r\n",
			[]string{"250 2.1.0", "550 5.1.1", "250 2.1.5", "354", "250 2.0.0"}},
		"two messages in one batch": {strings.Repeat("MAIL FROM:<a@example.net>\r\nRCPT TO:<ann@example.org>\r\nBDAT 9 LAST\r\nhi: x\r\n\r\n", 2),
			[]string{"250 2.1.0", "250 2.1.5", "250 2.0.0", "250 2.1.0", "250 2.1.5", "250 2.0.0"}},
		"commands after quit": {"QUIT\r\nMAIL FROM:<a@example.net>\r\n", []string{"221", ""}},
		"chunk without recipients": {"MAIL FROM:<a@example.net>\r\nBDAT 11 LAST\r\nRSET\r\nQUIT\nNOOP\r\n",
			[]string{"250 2.1.0", "503 5.5.1", "250 2.0.0"}},
		"answered by different hands": {"HELP STATUS\r\nNOOP\r\nVRFY x\r\nRSET\r\nFOO\r\nNOOP\r\n",
			[]string{"211", "250 2.0.0 Ok", "252", "250 2.0.0 Ok", "500", "250 2.0.0 Ok"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := d.hello(t)
			io.WriteString(c, tt.in)
			for _, w := range tt.want {
				c.want(w)
			}
		})
	}
}

// Long input is refused and does not affect other sessions.
func TestLongInput(t *testing.T) {
	d := open(t, "smtp", nil)
	other := d.hello(t)
	for name, in := range map[string]string{
		"line":      strings.Repeat("x", 1<<20),
		"mail":      "MAIL FROM:<" + strings.Repeat("x", 1<<20),
		"auth":      "AUTH PLAIN " + strings.Repeat("A", 1<<20),
		"ehlo":      "EHLO " + strings.Repeat("x", 1500) + "\r\nQUIT\r\n",
		"newlines":  strings.Repeat("\r\n", 10000),
		"nul":       strings.Repeat("\x00", 1<<20),
		"recipient": "MAIL FROM:<a@b.example>\r\nRCPT TO:<" + strings.Repeat("@a,", 600) + "x@example.org>\r\nQUIT\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			c := d.hello(t)
			go io.WriteString(c.Conn, in)
			last := ""
			for r := c.reply(); r != ""; r = c.reply() {
				last = r
			}
			if !strings.HasPrefix(last, "421") && !strings.HasPrefix(last, "221") {
				t.Errorf("last words %q", last)
			}
		})
	}
	other.say("NOOP", "250")
}

// The messages in the repository's corpus are unchanged below the fields added
// by the server.
func TestCorpusIsLeftAlone(t *testing.T) {
	d := open(t, "smtp", func(c *Config, e *Env) {
		c.MaxSize = 0
		e.Chain.Filters = chainOf(filters.Entry{Name: "hops", Filter: judge{}}) // one message has 150
	})
	c := d.hello(t)
	n := 0
	err := filepath.WalkDir("../mail", func(path string, e os.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".eml" {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if bytes.IndexByte(raw, 0) >= 0 || !bytes.Contains(raw, []byte(": ")) {
			return nil // not a message
		}
		m := bytes.ReplaceAll(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
		if !bytes.HasSuffix(m, []byte("\r\n")) {
			m = append(m, "\r\n"...)
		}
		if bareOctets(string(m)) {
			return nil
		}
		n++
		c.say("MAIL FROM:<sender@example.net> BODY=8BITMIME", "250")
		c.say("RCPT TO:<ann@example.org>", "250")
		if n%2 == 0 {
			fmt.Fprintf(c, "BDAT %d LAST\r\n%s", len(m), m)
		} else {
			c.say("DATA", "354")
			stuffed := bytes.ReplaceAll(append([]byte("\r\n"), m...), []byte("\r\n."), []byte("\r\n.."))[2:]
			c.Write(append(stuffed, ".\r\n"...))
		}
		c.want("250")
		all := d.boxes.all()
		got := all[len(all)-1].data
		_, below, ok := strings.Cut(got, " +")
		if i := strings.Index(below, "\r\n"); ok && i >= 0 {
			below = below[i+2:]
		}
		if below != string(m) {
			t.Errorf("%s was changed", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n < 5 {
		t.Errorf("only %d messages below ../mail", n)
	}
}

// XCLIENT changes the client as seen by routes and in Received, but grants no
// rights by itself.
func TestXClient(t *testing.T) {
	d := open(t, "smtp", func(c *Config, _ *Env) {
		c.XclientFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
		c.RelayFrom = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	})
	c := d.hello(t)
	c.say("MAIL FROM:<a@example.net>", "250")
	c.say("RCPT TO:<x@elsewhere.example>", "550 5.7.1")
	c.say("RSET", "250")
	c.say("XCLIENT ADDR=192.0.2.9 NAME=printer.example.net", "220")
	c.say("EHLO printer", "250")
	c.send(hi, "250", "x@elsewhere.example")
	if got := d.out.all(); len(got) != 1 || !strings.Contains(got[0].data, "from printer (printer.example.net [192.0.2.9])") {
		t.Errorf("%+v", got)
	}
}

// A client that disconnects during a message leaves nothing behind.
func TestGoneInTheMiddle(t *testing.T) {
	d := open(t, "smtp", nil)
	for _, in := range []string{
		"MAIL FROM:<a@example.net>\r\n",
		"MAIL FROM:<a@example.net>\r\nRCPT TO:<ann@example.org>\r\n",
		"MAIL FROM:<a@example.net>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\nhalf",
		"MAIL FROM:<a@example.net>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\nhalf\r\n.\r",
		"MAIL FROM:<a@example.net>\r\nRCPT TO:<ann@example.org>\r\nBDAT 100 LAST\r\nhalf",
		"MAIL FROM:<a@example.net>\r\nRCPT TO:<ann@example.org>\r\nBDAT 4\r\nhalfBDAT 3",
	} {
		c := d.hello(t)
		io.WriteString(c, in)
		c.Conn.(interface{ CloseWrite() error }).CloseWrite()
		for c.reply() != "" {
		}
	}
	if got := d.boxes.all(); len(got) != 0 {
		t.Errorf("%d messages", len(got))
	}
	for end := time.Now().Add(20 * time.Second); d.env.Spool.Used() != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d octets still spooled", d.env.Spool.Used())
		}
	}
}
