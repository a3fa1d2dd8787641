package imap

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"hoplite/internal/sampletest"
	"hoplite/maildrop"
)

// The parser of another implementation must accept ENVELOPE, BODYSTRUCTURE and
// BODY of every message in testdata and of 10,000 randomly damaged ones, or
// a twentieth of each without HOPLITE_WHOLE=1. The messages with rare
// constructs are always tried.
func TestGrammar(t *testing.T) {
	d := open(t, Config{}, maildrop.Config{Path: "mail/{user}"})
	d.login(t).ok("SELECT INBOX")
	all := sampleMessages(t)
	texts := slices.Clone(all[:rareMessages])
	rnd := rand.New(rand.NewPCG(17, 5))
	for i := range 10_000 {
		all = append(all, damage(rnd, all[i%min(len(all), 200)]))
	}
	try := sampletest.OneIn(t, 20)
	for _, text := range all[rareMessages:] {
		if try() {
			texts = append(texts, text)
		}
	}
	cur := filepath.Join(d.dir, "mail/ann/cur")
	for i, text := range texts {
		must(t, os.WriteFile(filepath.Join(cur, fmt.Sprintf("%d.M1P1.host:2,", 1_600_000_000+i)), text, 0o600))
	}
	const batch = 250
	for from := 1; from <= len(texts); from += batch {
		to := min(from+batch-1, len(texts))
		if parseAll(t, d, from, to) == nil {
			continue
		}
		for n := from; n <= to; n++ {
			if err := parseAll(t, d, n, n); err != nil {
				c := d.login(t)
				c.ok("SELECT INBOX")
				t.Fatalf("%v\n%q\nmessage:\n%.2000q", err, c.ok("FETCH %d (ENVELOPE BODYSTRUCTURE)", n), texts[n-1])
			}
		}
	}
}

// parseAll fetches messages with go-imap's client and returns its parse error.
func parseAll(t *testing.T, d *testServer, from, to int) error {
	t.Helper()
	c, err := imapclient.DialInsecure(d.addr, nil)
	must(t, err)
	defer c.Close()
	must(t, c.Login("ann", "secret word").Wait())
	_, err = c.Select("INBOX", nil).Wait()
	must(t, err)
	var set goimap.SeqSet
	set.AddRange(uint32(from), uint32(to))
	for _, extended := range []bool{true, false} {
		msgs, err := c.Fetch(set, &goimap.FetchOptions{Envelope: true, BodyStructure: &goimap.FetchItemBodyStructure{Extended: extended}}).Collect()
		if err != nil {
			return err
		}
		if len(msgs) != to-from+1 {
			return fmt.Errorf("%d messages of %d", len(msgs), to-from+1)
		}
		for _, m := range msgs {
			if m.Envelope == nil || m.BodyStructure == nil {
				return fmt.Errorf("message %d: envelope %v, structure %v", m.SeqNum, m.Envelope, m.BodyStructure)
			}
		}
	}
	return nil
}

// rareMessages is the number of messages that sampleMessages returns first.
const rareMessages = 10

// sampleMessages returns some messages with constructs that are rare in the
// testdata directories, followed by the messages there.
func sampleMessages(t *testing.T) [][]byte {
	t.Helper()
	texts := [][]byte{
		[]byte("From: g: \"a\\\"b\" <a@b>, c@d;, \"x\" <@r1,@r2:e@f>, (only a comment)\nTo: undisclosed-recipients:;\nCc: =?utf-8?q?=C3=BC?= <\"q p\"@h>\nSubject: {5}\n\"x\nMessage-ID: <a\"b@c>\nDate: \"\\\n\nx\n"),
		[]byte("Content-Type: multipart/mixed; boundary=\"b\\\"c\"; x=\"\\\\\"\nContent-Disposition: attachment; filename*0*=utf-8''%e2; filename*1=x\nContent-Language: de, (x) en\nContent-Location: a\"b\nContent-MD5: (\n\n--b\"c\nContent-Type: message/rfc822\n\nFrom: \"\n\n--b\"c\nContent-Type: text\nContent-ID: <\x80>\n\n\n--b\"c--\n"),
		[]byte("Content-Type: multipart/x; boundary=a\n\nno part\n"),
		[]byte("Content-Type: multipart/digest; boundary=a\n\n--a\n\nSubject: in\n\nx\n--a\nContent-Type: multipart/mixed\n\n--a--\n"),
		{}, []byte("\n"), []byte("no header at all"), {0}, bytes.Repeat([]byte("("), 10_000), bytes.Repeat([]byte("From: <"), 1000),
	}
	if len(texts) != rareMessages {
		t.Fatalf("%d messages with rare constructs", len(texts))
	}
	must(t, filepath.WalkDir("..", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.Contains(path, "testdata") || filepath.Ext(path) != ".eml" {
			return err
		}
		text, err := os.ReadFile(path)
		if len(text) < 100_000 {
			texts = append(texts, text)
		}
		return err
	}))
	if len(texts) < 50 {
		t.Fatalf("only %d messages found", len(texts))
	}
	return texts
}

// damages lists texts that have a special meaning in headers or in IMAP.
var damages = []string{
	`"`, `\`, "(", ")", "<", ">", "@", ";", ":", ",", "=", "?=", "=?utf-8?b?", "\x00", "\x80", "\xc3\xbc", "\r", "\n", "\r\n", "\n ", "{5}", "{5}\r\n", "NIL", "%", "*",
	"\nContent-Type: ", "\nContent-Disposition: ", "boundary=", "--", "\nFrom: ", "\nTo: ", "\nSubject: ", "\nMIME-Version: 1.0", "\n\n", "message/rfc822", "multipart/mixed; boundary=b", "\n--b\n",
}

// damage returns a randomly modified copy of a message.
func damage(rnd *rand.Rand, text []byte) []byte {
	b := bytes.Clone(text[:min(len(text), 20_000)])
	for range 1 + rnd.IntN(8) {
		at := rnd.IntN(len(b) + 1)
		if rnd.IntN(4) > 0 {
			at = rnd.IntN(min(len(b), 600) + 1) // mostly in the header
		}
		end := min(at+rnd.IntN(30), len(b))
		switch rnd.IntN(4) {
		case 0:
			b = append(b[:at:at], b[end:]...)
		case 1:
			b = append(b[:at:at], append(bytes.Repeat(b[at:end], 2), b[end:]...)...)
		case 2:
			if at < len(b) {
				b[at] = byte(rnd.IntN(256))
			}
		default:
			b = append(b[:at:at], append([]byte(damages[rnd.IntN(len(damages))]), b[at:]...)...)
		}
	}
	return b
}
