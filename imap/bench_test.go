package imap

import (
	"fmt"
	"strings"
	"testing"

	"hoplite/maildrop"
)

// BenchmarkFetch fetches a mailbox of 1,000 messages over loopback.
func BenchmarkFetch(b *testing.B) {
	d := open(b, Config{}, maildrop.Config{})
	c := d.login(b)
	for i := range 1000 {
		c.put("INBOX", "", fmt.Sprintf("From: Ann <ann@example.org>\nTo: bob@example.org\nSubject: m%d\nMessage-ID: <%d@x>\n\n%s", i, i, strings.Repeat("some text in a line\n", 500)))
	}
	c.ok("SELECT INBOX")
	for _, bb := range []struct{ name, items string }{{"flags", "(UID FLAGS)"}, {"envelope", "(UID ENVELOPE)"}, {"headers", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])"}, {"body", "BODY.PEEK[]"}} {
		b.Run(bb.name, func(b *testing.B) {
			for b.Loop() {
				c.ok("FETCH 1:* %s", bb.items)
			}
			b.ReportMetric(float64(1000*b.N)/b.Elapsed().Seconds(), "msg/s")
		})
	}
}
