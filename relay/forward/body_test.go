package forward

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"hoplite/mail"
)

// content is a message that is not in memory. Reading it fails at an offset,
// unless that is 0.
type content struct {
	text   []byte
	failAt int64
}

var errDisk = errors.New("input/output error")

func (c *content) Size() int64 { return int64(len(c.text)) }

func (c *content) ReadAt(p []byte, off int64) (int, error) {
	if c.failAt > 0 && off+int64(len(p)) > c.failAt {
		return 0, errDisk
	}
	return bytes.NewReader(c.text).ReadAt(p, off)
}

// sendContent sends a message and returns the outcome.
func sendContent(t *testing.T, p *peer, c *content) mail.Outcome {
	t.Helper()
	u := upstream(t, []string{p.url()}, func(c *Config) { c.Recipients = "any" })
	m, err := mail.NewMessage(c)
	if err != nil {
		t.Fatal(err)
	}
	h, err := u.Open(t.Context(), mail.NewTransaction(mail.Client{}, "bob@example.com"))
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := h.Rcpt(t.Context(), mail.Rcpt{To: "ann@example.org"}); err != nil {
		t.Fatal(err)
	}
	return h.Send(t.Context(), m)[0]
}

// A message from a file arrives complete with DATA and with BDAT. If it cannot
// be read completely, the server does not receive the end of the message and
// discards it.
func TestMessageFromFile(t *testing.T) {
	text := []byte("Subject: large\r\n\r\n" + strings.Repeat(".a line that begins with a dot\r\n", 20_000))
	for name, ehlo := range map[string]string{"DATA": "250 old", "BDAT": "250-old\r\n250 CHUNKING"} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, map[string]string{"EHLO": ehlo})
			if o := sendContent(t, p, &content{text: text}); !o.Reply.Positive() {
				t.Fatal(o.Reply.String())
			}
			if got := p.mail(); len(got) != 1 || got[0] != string(text) {
				t.Errorf("%d messages; the first has %d octets of %d", len(got), len(strings.Join(got, "")), len(text))
			}
			p = newPeer(t, map[string]string{"EHLO": ehlo})
			o := sendContent(t, p, &content{text: text, failAt: 300_000})
			if o.Reply.Permanent() || o.Reply.Positive() || !errors.Is(o.Reply.Cause, errDisk) {
				t.Errorf("a message that cannot be read: %s, %v", o.Reply.String(), o.Reply.Cause)
			}
			if got := p.mail(); len(got) != 0 {
				t.Errorf("the server has %d messages", len(got))
			}
		})
	}
}

// A server that refuses a message before its end gives a reason, which is used
// even if the server closes the connection immediately.
func TestRefusedInTheMiddle(t *testing.T) {
	text := []byte("Subject: large\r\n\r\n" + strings.Repeat("a line of a message that is too large\r\n", 300_000))
	for reply, want := range map[string]string{
		"552 5.3.4 too large": "552 5.3.4 too large",
		"452 4.3.1 disk full": "452 4.3.1 disk full",
		"250 ok":              "451 4.4.2 lost connection",
		"drop":                "451 4.4.2 lost connection",
	} {
		p := newPeer(t, map[string]string{"EHLO": "250 old", "body": reply})
		p.set(func() { p.cut = true })
		o := sendContent(t, p, &content{text: text})
		if got := o.Reply.String(); !strings.HasPrefix(got, want) {
			t.Errorf("%q: %s, want %s", reply, got, want)
		}
	}
}

// Dots at the beginning of lines are doubled, wherever the pieces are split.
func TestStuffer(t *testing.T) {
	for in, want := range map[string]string{
		"":                         ".\r\n",
		"a":                        "a\r\n.\r\n",
		"a\r\n":                    "a\r\n.\r\n",
		".\r\n":                    "..\r\n.\r\n",
		"..a\r\n.\r\nb.\r\n.b":     "...a\r\n..\r\nb.\r\n..b\r\n.\r\n",
		"a\r\n\r\n.a\r\n":          "a\r\n\r\n..a\r\n.\r\n",
		strings.Repeat(".\r\n", 3): strings.Repeat("..\r\n", 3) + ".\r\n",
	} {
		for piece := 1; piece <= max(len(in), 1); piece++ {
			var b bytes.Buffer
			s := &stuffer{w: &b, line: true}
			for rest := in; rest != ""; {
				n := min(piece, len(rest))
				io.WriteString(s, rest[:n])
				rest = rest[n:]
			}
			s.end()
			if got := b.String(); got != want {
				t.Errorf("%q in pieces of %d: %q, want %q", in, piece, got, want)
			}
		}
	}
}
