package all

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"net/netip"
	"strings"
	"testing"

	"hoplite/filters"
	"hoplite/internal/conf"
	"hoplite/internal/resolve"
	"hoplite/internal/resolve/resolvetest"
	"hoplite/mail"
	"hoplite/mail/dkim"
)

// BenchmarkChain runs a signed message of 10 KiB through every filter that does
// not need another program, with DNS answers in memory, first with and then
// without the dkim filter.
func BenchmarkChain(b *testing.B) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		b.Fatal(err)
	}
	dns := resolve.NewCached(resolvetest.MustZone("s._domainkey.example.com TXT \"v=DKIM1; p="+base64.StdEncoding.EncodeToString(der)+"\"\n"+
		"example.com TXT \"v=spf1 ip4:192.0.2.0/24 -all\"\n_dmarc.example.com TXT \"v=DMARC1; p=reject\"\n192.0.2.1 PTR mx.example.com\nmx.example.com A 192.0.2.1\n"), 1000)
	text := "From: a@example.com\r\nTo: ann@example.org\r\nSubject: x\r\nDate: Mon, 23 Nov 2026 04:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n" +
		strings.Repeat("Received: from a.example (b [192.0.2.1]) by c.example with ESMTP id x; Mon, 1 Jan 2024 00:00:00 +0000\r\n", 5) + "\r\n" +
		strings.Repeat("The quick brown fox jumps over the lazy dog, and the dog does not mind.\r\n", 140)
	m, err := mail.NewMessage(mail.Bytes(text))
	if err != nil {
		b.Fatal(err)
	}
	signer := dkim.Signer{Domain: "example.com", Selector: "s", Key: key}
	field, err := dkim.Sign(m, signer)
	if err != nil {
		b.Fatal(err)
	}
	if m, err = mail.NewMessage(mail.Bytes(string(field) + text)); err != nil {
		b.Fatal(err)
	}
	for _, without := range []string{"", "dkim"} {
		chain := &filters.Chain{}
		for _, k := range Kinds {
			switch k.Name {
			case "sign", "milter", "greylist", "rate", without:
				continue
			}
			f := conf.Parse("relay.hcl", []byte(body(k)+"\n"))
			cfg := k.Config()
			if !f.Decode(cfg) {
				b.Fatal(f.Diags.Err())
			}
			made, err := k.New(cfg, filters.Env{Hostname: "mail.example.org", Data: b.TempDir(), DNS: dns})
			if err != nil {
				b.Fatal(err)
			}
			chain.Entries = append(chain.Entries, filters.Entry{Name: k.Name, Filter: made})
		}
		name := "all"
		if without != "" {
			name = "without " + without
		}
		b.Run(name, func(b *testing.B) {
			b.SetBytes(m.Size())
			b.ReportAllocs()
			for b.Loop() {
				ctx := context.Background()
				client := mail.Client{Addr: netip.MustParseAddrPort("192.0.2.1:25"), Helo: "mx.example.com"}
				run := chain.Start()
				run.Connect(ctx, mail.NewTransaction(client, ""))
				tx := mail.NewTransaction(client, "a@example.com")
				run.Mail(ctx, tx)
				r := mail.Rcpt{To: "ann@example.org", Orig: "ann@example.org"}
				run.Rcpt(ctx, &r)
				tx.Envelope.Rcpts = append(tx.Envelope.Rcpts, r)
				if d := run.Data(ctx, m); d.Reply != nil {
					b.Fatal(d.Reply)
				}
			}
		})
	}
}
