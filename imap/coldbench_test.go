package imap

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"hoplite/maildrop"
)

// BenchmarkCold opens a Maildir of 10,000 messages that has no uidlist and no
// index yet, and fetches every ENVELOPE and BODYSTRUCTURE for the first time.
func BenchmarkCold(b *testing.B) {
	const size = 10_000
	d := open(b, Config{}, maildrop.Config{Path: "mail/{user}"})
	box := filepath.Join(d.dir, "mail/ann")
	corpus := filepath.Join(d.dir, "corpus")
	coldMaildir(b, corpus, size)
	c := d.login(b)
	folders := 0
	for _, bb := range []struct{ name, items string }{{"select", ""}, {"envelope", "ENVELOPE"}, {"structure", "BODYSTRUCTURE"}} {
		b.Run(bb.name, func(b *testing.B) {
			for range b.N {
				b.StopTimer()
				folders++
				linkMaildir(b, corpus, fmt.Sprintf("%s/.cold%d", box, folders))
				command := fmt.Sprintf("SELECT cold%d", folders)
				if bb.items != "" {
					c.count(command)
					command = "FETCH 1:* (UID FLAGS " + bb.items + ")"
				}
				b.StartTimer()
				if n := c.count(command); n < 7 {
					b.Fatalf("%d lines", n)
				}
			}
			b.ReportMetric(float64(size*b.N)/b.Elapsed().Seconds(), "msg/s")
		})
	}
}

// count runs a command and returns the number of lines in its response, at
// little cost to the client.
func (c *client) count(command string) (lines int) {
	c.t.Helper()
	c.n++
	tag := fmt.Sprintf("t%d ", c.n)
	c.send(tag + command + "\n")
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			c.t.Fatal(err)
		}
		if !bytes.HasPrefix(line, []byte(tag)) {
			lines++
			continue
		}
		if !bytes.HasPrefix(line, []byte(tag+"OK")) {
			c.t.Fatalf("%s: %s", command, line)
		}
		return lines
	}
}

// coldMaildir creates messages with a mean size of 15 KiB: of every ten, four
// are plain text, four have an HTML alternative, and two have an attachment.
func coldMaildir(b *testing.B, dir string, n int) {
	b.Helper()
	for _, sub := range []string{"cur", "new", "tmp"} {
		must(b, os.MkdirAll(filepath.Join(dir, sub), 0o700))
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		text := coldMessage(rng, i)
		name := fmt.Sprintf("%d.M%dP1.host,S=%d,W=%d:2,S", 1_600_000_000+1000*i, i, len(text), len(text)+strings.Count(text, "\n"))
		must(b, os.WriteFile(filepath.Join(dir, "cur", name), []byte(text), 0o600))
	}
}

func coldMessage(rng *rand.Rand, i int) string {
	var m strings.Builder
	for hop := range 3 {
		fmt.Fprintf(&m, "Received: from mx%d.example.net (mx%d.example.net [192.0.2.%d])\n\tby in%d.example.org with ESMTPS id %08x\n\tfor <ann@example.org>; Thu, 02 Jan 2020 08:17:00 +0000\n",
			hop, hop, rng.IntN(250), hop, rng.Uint32())
	}
	fmt.Fprintf(&m, "Date: Thu, 02 Jan 2020 08:17:00 +0000\nFrom: Bob Example <bob@site%d.example.net>\nTo: Ann <ann@example.org>\n", rng.IntN(20))
	fmt.Fprintf(&m, "Subject: Re: =?UTF-8?Q?Pr=C3=BCfung?= number %d\nMessage-ID: <%d@example.net>\nReferences: <%d@example.net>\nMIME-Version: 1.0\n", i, i, i/3)
	text := strings.Repeat("some words that make up a line of an ordinary message, which is this long\n", 15+rng.IntN(160))
	switch {
	case i%10 < 4:
		return m.String() + "Content-Type: text/plain; charset=utf-8\n\n" + text
	case i%10 < 8:
		fmt.Fprintf(&m, "Content-Type: multipart/alternative; boundary=b%d\n\n--b%d\nContent-Type: text/plain; charset=utf-8\n\n%s\n", i, i, text)
		fmt.Fprintf(&m, "--b%d\nContent-Type: text/html\nContent-Transfer-Encoding: quoted-printable\n\n<p>%s</p>\n--b%d--\n", i, strings.ReplaceAll(text, " ", "=20 "), i)
	default:
		line := base64.StdEncoding.EncodeToString(make([]byte, 57)) + "\n"
		fmt.Fprintf(&m, "Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\nContent-Type: text/plain\n\n%s\n", i, i, text)
		fmt.Fprintf(&m, "--b%d\nContent-Type: application/pdf\nContent-Disposition: attachment; filename=d.pdf\nContent-Transfer-Encoding: base64\n\n%s\n--b%d--\n", i, strings.Repeat(line, 70+rng.IntN(500)), i)
	}
	return m.String()
}

// linkMaildir creates a Maildir of hard links to another one's messages.
func linkMaildir(b *testing.B, from, to string) {
	b.Helper()
	for _, sub := range []string{"cur", "new", "tmp"} {
		must(b, os.MkdirAll(filepath.Join(to, sub), 0o700))
	}
	files, err := os.ReadDir(filepath.Join(from, "cur"))
	must(b, err)
	for _, f := range files {
		must(b, os.Link(filepath.Join(from, "cur", f.Name()), filepath.Join(to, "cur", f.Name())))
	}
	syscall.Sync() // keep the cost of the links out of the benchmark
}
