package inspect

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hoplite/mail/trace"
)

// Whatever is pasted, the report can be encoded, and making it anonymous removes
// the addresses of the sender's domain.
func FuzzInspect(f *testing.F) {
	files, err := filepath.Glob("../testdata/received/synthetic/*.eml")
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, name := range files[:min(len(files), 12)] {
		raw, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add([]byte("> Received: from a.example (b [192.0.2.1])\n>  by c.example; Tue, 12 May 2026 08:30:05 +0000\n> From: ann@a.example\n"))
	f.Add([]byte("Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\nContent-Type: message/delivery-status\n\n" +
		"Final-Recipient: rfc822; ann@a.example\nAction: failed\nStatus: 5.1.1\n\n--b\nContent-Type: message/rfc822\n\nReceived: from x by y; Tue, 12 May 2026 08:30:05 +0000\n\n--b--\n"))
	f.Add([]byte("Authentication-Results: mx.example.org; dkim=pass header.d=a.example; spf=fail smtp.mailfrom=a@b.example\nReceived-SPF: pass\nX-Spam-Status: Yes, score=9\n\nx"))
	inspector := &Inspector{Options: trace.Options{Ours: []string{"mx1.dest.example"}}}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > 64<<10 {
			return
		}
		rep, err := inspector.Inspect(t.Context(), raw)
		if err != nil {
			return
		}
		if len(rep.Head) == 0 || rep.Trace == nil {
			t.Fatal("a report without a header")
		}
		rep.Clean()
		b, err := json.Marshal(rep.JSON())
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rep.Repairs {
			if strings.ContainsAny(r, "\x00\x1b") {
				t.Fatalf("repair %q", r)
			}
		}
		a := trace.NewAnonymiser(rep.Trace)
		for _, text := range []string{string(b), string(rep.Head)} {
			if got := a.Text(text + " ann@secret.example.com"); strings.Contains(got, "secret") && !strings.Contains(text, "secret") {
				t.Fatalf("%q", got)
			}
		}
	})
}
