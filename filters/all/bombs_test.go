package all

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"hoplite/filters"
	"hoplite/internal/conf"
	"hoplite/internal/resolve"
	"hoplite/internal/resolve/resolvetest"
	"hoplite/mail"
)

// everything returns a chain of all filters that do not need another program.
func everything(t *testing.T, dns resolve.Resolver) *filters.Chain {
	t.Helper()
	c := &filters.Chain{Name: "all"}
	for _, k := range Kinds {
		if k.Name == "sign" || k.Name == "milter" {
			continue // they need a key and another program
		}
		text := body(k)
		switch k.Name {
		case "headers":
			text = "doubled = \"tag\"\nrule \"any\" {\n field = \"*\"\n match = \"(a*)*b$\"\n}"
		case "hops":
			text = "max = 100000"
		}
		f := conf.Parse("relay.hcl", []byte(text+"\n"))
		cfg := k.Config()
		if !f.Decode(cfg) {
			t.Fatal(f.Diags.Err())
		}
		made, err := k.New(cfg, filters.Env{Hostname: "mail.example.org", Data: t.TempDir(), DNS: dns})
		if err != nil {
			t.Fatal(err)
		}
		// Shadow makes every filter run regardless of the earlier verdicts.
		c.Entries = append(c.Entries, filters.Entry{Name: k.Name, Filter: made, Shadow: true})
	}
	return c
}

// bombs returns hostile messages; n scales their size.
var bombs = []struct {
	name string
	n    int
	make func(n int) string
}{
	{"many fields", 999, func(n int) string { return strings.Repeat("X: y\r\n", n) + "\r\n" }},
	{"one folded field", 490, func(n int) string { return "X: y\r\n" + strings.Repeat(" z\r\n", n) + "\r\n" }},
	{"a large field", 60_000, func(n int) string { return "Subject: " + strings.Repeat("x", n) + "\r\n\r\n" }},
	{"many Received", 900, func(n int) string {
		return strings.Repeat("Received: from a.example (b [192.0.2.1]) by c.example with ESMTP id x; Mon, 1 Jan 2024 00:00:00 +0000\r\n", n) + "\r\n"
	}},
	{"many signatures", 200, func(n int) string {
		return strings.Repeat("DKIM-Signature: v=1; a=rsa-sha256; d=example.com; s=s; h=From:From:Subject; bh=AAAA; b=AAAA\r\n", n) + "From: a@example.com\r\n\r\n"
	}},
	{"a signature of many names", 100, func(n int) string {
		return strings.Repeat("DKIM-Signature: v=1; a=rsa-sha256; d=example.com; s=s; bh=AAAA; b=AAAA; h=From"+strings.Repeat(":x", n-1)+"\r\n", 5) + strings.Repeat("x: y\r\n", 900) + "From: a@example.com\r\n\r\n"
	}},
	{"many ARC sets", 50, func(n int) string {
		var b strings.Builder
		for i := n; i > 0; i-- {
			cv := "pass"
			if i == 1 {
				cv = "none"
			}
			fmt.Fprintf(&b, "ARC-Seal: i=%d; a=rsa-sha256; cv=%s; d=d%d.example; s=s; b=AAAA\r\nARC-Message-Signature: i=%d; a=rsa-sha256; d=d%d.example; s=s; h=From; bh=AAAA; b=AAAA\r\nARC-Authentication-Results: i=%d; x; none\r\n", i, cv, i, i, i, i)
		}
		return b.String() + "From: a@example.com\r\n\r\n"
	}},
	{"addresses in From", 6000, func(n int) string { return "From: " + strings.Repeat("a@b.cc, ", n) + "x@example.com\r\n\r\n" }},
	{"comments in From", 25_000, func(n int) string {
		return "From: " + strings.Repeat("(", n) + strings.Repeat(")", n) + "x@example.com\r\n\r\n"
	}},
	{"encoded words", 3000, func(n int) string {
		return "Subject: " + strings.Repeat("=?utf-8?q?=C3=A9?= ", n) + "\r\nFrom: x@example.com\r\n\r\n"
	}},
	{"parameters", 3000, func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "; n*%d*=x", i)
		}
		return "MIME-Version: 1.0\r\nContent-Type: text/plain" + b.String() + "\r\n\r\n"
	}},
	{"results in comments", 60_000, func(n int) string {
		return "Authentication-Results: x; a=b " + strings.Repeat("(", n) + "\r\n\r\n"
	}},
	{"multiparts in each other", 5000, func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
		}
		return "MIME-Version: 1.0\r\n" + b.String() + "\r\n"
	}},
	{"messages in each other", 3000, func(n int) string {
		return "MIME-Version: 1.0\r\n" + strings.Repeat("Content-Type: message/rfc822\r\n\r\n", n)
	}},
	{"many parts", 50_000, func(n int) string {
		return "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\n\r\nx\r\n", n)
	}},
	{"a long boundary", 50_000, func(n int) string {
		b := strings.Repeat("b", n)
		return "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=" + b + "\r\n\r\n" + strings.Repeat("--"+b[:n-1]+"\r\n", 20)
	}},
	{"one long line", 4 << 20, func(n int) string { return "From: a@example.com\r\n\r\n" + strings.Repeat("x", n) }},
	{"empty lines", 1 << 20, func(n int) string { return "From: a@example.com\r\n\r\n" + strings.Repeat("\r\n", n) + "x" }},
	{"spaces", 4 << 20, func(n int) string { return "From: a@example.com\r\n\r\n" + strings.Repeat(" ", n) + "x" }},
}

// With every filter enabled, memory grows no faster than the size of the
// message: a message of twice the size uses at most about twice the memory.
// (Time is logged but not tested; the goal is less than a second for each
// message.)
func TestBombs(t *testing.T) {
	z := resolvetest.MustZone("_dmarc.example.com TXT \"v=DMARC1; p=reject\"\nexample.com TXT \"v=spf1 -all\"")
	chain := everything(t, resolve.NewCached(z, 1000))
	for _, b := range bombs {
		t.Run(b.name, func(t *testing.T) {
			judge(t, chain, b.make(b.n/4)) // fills caches and pools
			asked := z.Asked()
			half, _ := judge(t, chain, b.make(b.n/2))
			whole, took := judge(t, chain, b.make(b.n))
			t.Logf("%7d octets: %v, %d KiB", len(b.make(b.n)), took.Round(time.Millisecond), whole>>10)
			if whole > half*27/10+slack {
				t.Errorf("half of it takes %d KiB, all of it %d KiB", half>>10, whole>>10)
			}
			if limit := uint64(64*len(b.make(b.n)) + 2*slack); whole > limit {
				t.Errorf("it takes %d KiB, more than %d", whole>>10, limit>>10)
			}
			if n := z.Asked() - asked; n > 250 {
				t.Errorf("the DNS was asked %d questions", n)
			}
		})
	}
}

// judge runs a message through the chain and returns the total memory allocated
// for it.
func judge(t *testing.T, chain *filters.Chain, text string) (octets uint64, took time.Duration) {
	t.Helper()
	ctx := context.Background()
	client := mail.Client{Addr: netip.MustParseAddrPort("192.0.2.1:25"), Helo: "mx.example.com"}
	run := chain.Start()
	run.Connect(ctx, mail.NewTransaction(client, ""))
	tx := mail.NewTransaction(client, "a@example.com")
	run.Mail(ctx, tx)
	r := mail.Rcpt{To: "ann@example.org", Orig: "ann@example.org"}
	run.Rcpt(ctx, &r)
	tx.Envelope.Rcpts = append(tx.Envelope.Rcpts, r)
	base := mail.Bytes(text)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	m, err := mail.NewMessage(base)
	if errors.Is(err, mail.ErrHeaderLong) || errors.Is(err, mail.ErrFieldLong) || errors.Is(err, mail.ErrFieldCount) {
		t.Fatalf("the bomb does not even get in: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if d := run.Data(ctx, m); d.Reply != nil {
		t.Fatalf("a shadow refused: %v", d.Reply)
	}
	took = time.Since(start)
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc, took
}
