package imap

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"hoplite/maildrop"
)

// countingReader counts the octets read from it.
type countingReader struct {
	r io.ReaderAt
	n int64
}

func (c *countingReader) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.r.ReadAt(p, off)
	c.n += int64(n)
	return n, err
}

// A mark is at most one block before the requested offset, regardless of where
// the line endings are.
func TestSeek(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	random := make([]byte, 300_000)
	for i := range random {
		random[i] = "ab\n\r\r\n"[rnd.IntN(6)]
	}
	texts := map[string]string{
		"LF":        strings.Repeat("a line of text\n", 30_000),
		"CRLF":      strings.Repeat("a line of text\r\n", 30_000),
		"one line":  strings.Repeat("x", 300_000),
		"CRs":       strings.Repeat("\r", 300_000),
		"LFs":       strings.Repeat("\n", 300_000),
		"at blocks": strings.Repeat(strings.Repeat("x", 64<<10-1)+"\r\n", 4) + "end",
		"random":    string(random),
		"short":     "a\nb\n",
	}
	for name, text := range texts {
		t.Run(name, func(t *testing.T) {
			wire := func(n int64) int64 { // octets before n in the file, counting CRLF
				before := text[:n]
				return n + int64(strings.Count(before, "\n")-strings.Count(before, "\r\n"))
			}
			total := wire(int64(len(text)))
			p := &positions{marks: []mark{{}}}
			file := strings.NewReader(text)
			for range 50 {
				want := rnd.Int64N(total + 1)
				got, err := p.seek(file, want)
				must(t, err)
				if got.wire != wire(got.file) || got.wire > want || want-got.wire > 2*(64<<10) {
					t.Fatalf("seek %d: %+v, which is at %d", want, got, wire(got.file))
				}
				if got.file > 0 && strings.HasPrefix(text[got.file-1:], "\r\n") {
					t.Fatalf("seek %d: between CR and LF at %d", want, got.file)
				}
			}
		})
	}
}

// The cost of a piece is proportional to its size: the file is read once to set
// the marks, not from the beginning for each piece.
func TestSeekReadsTheFileOnce(t *testing.T) {
	text := bytes.Repeat([]byte("some text in a line of a large message\n"), 100_000)
	file := &countingReader{r: bytes.NewReader(text)}
	p := &positions{marks: []mark{{}}}
	for i := range int64(1000) {
		if _, err := p.seek(file, int64(len(text))-i*1000); err != nil {
			t.Fatal(err)
		}
	}
	if file.n > int64(len(text))+64<<10 {
		t.Errorf("%d octets were read of %d", file.n, len(text))
	}
}

// A large message fetched in pieces, in any order, is identical to the message
// fetched at once. This applies to the whole message and to its parts.
func TestLargeMessageInPieces(t *testing.T) {
	var body strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&body, "line %d of a large message%s\n", i, strings.Repeat(".", i%50))
	}
	msg := "Subject: large\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\n" + body.String() + "\n--b\nContent-Transfer-Encoding: base64\n\n" +
		strings.Repeat("c29tZSB0ZXh0IGhlcmUK\n", 5000) + "\n--b--\n"
	d := open(t, Config{}, maildrop.Config{})
	c := d.login(t)
	c.put("INBOX", "", msg)
	c.put("INBOX", "", strings.ReplaceAll(msg, "large", "other"))
	c.ok("SELECT INBOX")
	rnd := rand.New(rand.NewPCG(3, 4))
	for _, section := range []string{"BODY.PEEK[]", "BODY.PEEK[1]", "BODY.PEEK[2]", "BODY.PEEK[TEXT]", "BINARY.PEEK[2]"} {
		whole := literalOf(t, c, section)
		for i := range 40 {
			off, n := rnd.IntN(len(whole)), 1+rnd.IntN(100_000)
			got := literalOf(t, c, fmt.Sprintf("%s<%d.%d>", section, off, n))
			if want := whole[off:min(off+n, len(whole))]; got != want {
				t.Fatalf("%s<%d.%d>: %d octets, want %d", section, off, n, len(got), len(want))
			}
			if i%10 == 0 {
				c.ok("FETCH 2 BODY.PEEK[1]<5.5>") // fetch another message in between
			}
		}
	}
}
