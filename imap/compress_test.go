package imap

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"hoplite/internal/deflate"
	"hoplite/maildrop"
)

// deflatedConn is a client's compressed connection.
type deflatedConn struct {
	net.Conn
	r io.Reader
	w *deflate.Writer
}

func (c *deflatedConn) Read(b []byte) (int, error) { return c.r.Read(b) }

func (c *deflatedConn) Write(b []byte) (int, error) {
	if _, err := c.w.Write(b); err != nil {
		return 0, err
	}
	return len(b), c.w.Flush()
}

// compress starts compression and continues with the standard library's
// reader.
func (c *client) compress() {
	c.t.Helper()
	c.ok("COMPRESS DEFLATE")
	conn := &deflatedConn{Conn: c.Conn, r: flate.NewReader(c.r), w: deflate.NewWriter(c.Conn)}
	c.Conn, c.r = conn, newReader(conn)
}

func TestCompress(t *testing.T) {
	for _, secure := range []bool{false, true} {
		d := open(t, Config{}, maildrop.Config{})
		c := d.dial(t)
		if secure {
			c.startTLS()
		}
		if _, status := c.do("COMPRESS DEFLATE"); status != "BAD Log in first" {
			t.Errorf("before login: %s", status)
		}
		c.ok(`LOGIN ann "secret word"`)
		for _, bad := range []string{"COMPRESS", "COMPRESS LZMA", "COMPRESS DEFLATE x"} {
			if _, status := c.do("%s", bad); !strings.HasPrefix(status, "BAD ") {
				t.Errorf("%s: %s", bad, status)
			}
		}
		c.compress()
		if _, status := c.do("COMPRESS DEFLATE"); !strings.HasPrefix(status, "NO [COMPRESSIONACTIVE] ") {
			t.Errorf("twice: %s", status)
		}
		if caps := c.ok("CAPABILITY")[0]; strings.Contains(caps, "UNAUTHENTICATE") {
			t.Errorf("while compressed: %s", caps)
		}
		if _, status := c.do("UNAUTHENTICATE"); !strings.HasPrefix(status, "NO [CANNOT] ") {
			t.Errorf("UNAUTHENTICATE while compressed: %s", status)
		}
		random := rand.New(rand.NewPCG(1, 2))
		var text strings.Builder
		for text.Len() < 300_000 {
			fmt.Fprintf(&text, "%x line\n", random.Uint64N(1<<random.IntN(64)))
		}
		message := "Subject: x\n\n" + text.String()
		c.put("INBOX", "", message)
		c.ok("SELECT INBOX")
		if got := literalOf(t, c, "BODY.PEEK[]"); got != strings.ReplaceAll(message, "\n", "\r\n") {
			t.Errorf("TLS %v: the message has %d octets", secure, len(got))
		}
		// A change interrupts the wait for input; the stream continues.
		c.send("i IDLE\n")
		if l := c.line(); !strings.HasPrefix(l, "+ ") {
			t.Fatal(l)
		}
		d.login(t).put("INBOX", "", "Subject: y\n\nz\n")
		if l := c.line(); l != "* 2 EXISTS" {
			t.Errorf("while idle: %s", l)
		}
		c.line() // RECENT
		c.send("DONE\n")
		if l := c.line(); !strings.HasPrefix(l, "i OK") {
			t.Errorf("after IDLE: %s", l)
		}
		// Many commands in one piece are answered in order.
		c.send(strings.Repeat("n NOOP\n", 5000) + "x LOGOUT\n")
		for range 5000 {
			if l := c.line(); l != "n OK NOOP completed" {
				t.Fatal(l)
			}
		}
		c.line()
		if l := c.line(); !strings.HasPrefix(l, "x OK") {
			t.Error(l)
		}
	}
}

// Input that a client has sent before the response to COMPRESS is run as plain
// commands, and compression is refused.
func TestCompressPipelined(t *testing.T) {
	c := open(t, Config{}, maildrop.Config{}).login(t)
	c.send("a COMPRESS DEFLATE\nb NOOP\n")
	for _, want := range []string{"a BAD Input after COMPRESS", "b OK NOOP completed"} {
		if l := c.line(); l != want {
			t.Errorf("got %s, want %s", l, want)
		}
	}
	c.compress()
	c.ok("NOOP")
}

// A small input that expands to a large one is subject to the same limits as an
// uncompressed one.
func TestCompressionBombs(t *testing.T) {
	tests := []struct {
		name, start, end string
		answer           string
	}{
		{"line", "a ", "", "* BYE [TOOBIG]"},
		{"literal", "a LOGIN {5000000+}\n", "", "* BYE [TOOBIG]"},
		{"message", "a APPEND INBOX {5000000+}\n", "", "* BYE [TOOBIG]"},
		{"announced message", "a APPEND INBOX {5000000}\n", "", "a NO [TOOBIG]"},
	}
	for _, tc := range tests {
		c := open(t, Config{AppendLimit: 100_000}, maildrop.Config{}).login(t)
		c.compress()
		raw := c.Conn.(*deflatedConn).Conn
		var data bytes.Buffer
		w, err := flate.NewWriter(&data, 9)
		must(t, err)
		io.WriteString(w, strings.ReplaceAll(tc.start, "\n", "\r\n"))
		w.Write(bytes.Repeat([]byte("a"), 5_000_000))
		w.Flush()
		raw.Write(data.Bytes()) // the server may close the connection first
		if l, err := c.readLine(); !strings.HasPrefix(l, tc.answer) {
			t.Errorf("%s: %q, %v", tc.name, l, err)
		}
	}
}

// Thunderbird for Android ends its commands with a partial flush, which is an
// empty block rather than a marker.
func TestCompressPartialFlush(t *testing.T) {
	c := open(t, Config{}, maildrop.Config{}).login(t)
	c.compress()
	raw := c.Conn.(*deflatedConn).Conn
	for _, command := range []string{"\x4a\x54\xf0\xf3\xf7\x0f\xe0\xe5\x02\x08", "\xa0\x24\x85\x60\x57\x1f\x57\xe7\x10\x05\x4f\x3f\x27\xff\x08\x5e\x2e\x80\x00"} {
		io.WriteString(raw, command)
		for {
			l := c.line()
			if tag, status, _ := strings.Cut(l, " "); tag != "*" {
				if !strings.HasPrefix(status, "OK ") {
					t.Fatal(l)
				}
				break
			}
		}
	}
}

// Data that is not compressed ends the session, not the server.
func TestCompressCorrupt(t *testing.T) {
	d := open(t, Config{}, maildrop.Config{})
	c := d.login(t)
	c.compress()
	c.Conn.(*deflatedConn).Conn.Write([]byte("a NOOP\r\nb NOOP\r\n"))
	c.SetReadDeadline(time.Now().Add(patience))
	if l, err := c.readLine(); err == nil {
		t.Errorf("the session continues with %q", l)
	}
	d.login(t).ok("NOOP")
}
