package hops

import (
	"context"
	"strings"
	"testing"

	"hoplite/filters"
	"hoplite/mail"
)

const other = "Received: from a.example.com (a.example.com [192.0.2.7])\r\n" +
	"\tby mx.example.net with ESMTPS id 4bXyZ1; Mon, 23 Nov 2026 10:00:00 +0000\r\n"

func ours(id, rcpt string) string {
	line := "Received: from old.example.org ([192.0.2.9])\r\n\tby mail.example.org with ESMTP id " + id
	if rcpt != "" {
		line += "\r\n\tfor <" + rcpt + ">"
	}
	return line + ";\r\n\tMon, 23 Nov 2026 10:00:01 +0000\r\n"
}

func TestHops(t *testing.T) {
	id := mail.NewID()
	for _, c := range []struct {
		name, head, want string
	}{
		{"none", "Subject: x\r\n", ""},
		{"at the limit", strings.Repeat(other, 5), ""},
		{"one more", strings.Repeat(other, 6), "554 5.4.6 Too many hops: 6 servers have handled this message, 5 are allowed; " +
			"two of them may be forwarding to each other"},
		{"came back for the same", other + ours(id, "Ann@Example.org"),
			"554 5.4.6 Mail loop: mail.example.org accepted this message for <ann@example.org> as " + id +
				`, and old.example.org sent it back; here hop "legacy" accepts mail for example.org`},
		{"came back from a list", other + ours(id, "list@example.org"), ""},
		{"came back twice", ours(id, "list@example.org") + ours(mail.NewID(), ""), ""},
		{"and again", ours(id, "") + ours(mail.NewID(), "") + ours(mail.NewID(), ""),
			"554 5.4.6 Mail loop: mail.example.org accepted this message for <ann@example.org> as " + id +
				`, and old.example.org sent it back; here hop "legacy" accepts mail for example.org`},
		{"another server uses our name", strings.Repeat(ours("4bXyZ1", "ann@example.org"), 4), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := judge(t, c.head); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func judge(t *testing.T, head string) string {
	t.Helper()
	f, err := New(Config{Max: 5, Visits: 2}, filters.Env{Hostname: "mail.example.org"})
	if err != nil {
		t.Fatal(err)
	}
	tx := mail.NewTransaction(mail.Client{Helo: "old.example.org"}, "bob@example.com")
	tx.Envelope.Rcpts = []mail.Rcpt{{To: "ann@example.org", Orig: "ann@example.org", Hop: "legacy"}}
	m, err := mail.NewMessage(mail.Bytes(head + "\r\nbody\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	v, err := f.(filters.Dataer).AtData(context.Background(), tx, m)
	if err != nil {
		t.Fatal(err)
	}
	if v.Reply == nil {
		return ""
	}
	return v.Reply.String()
}

func BenchmarkAtData(b *testing.B) {
	f, _ := New(Config{Max: 50, Visits: 2}, filters.Env{Hostname: "mail.example.org"})
	m, err := mail.NewMessage(mail.Bytes(strings.Repeat(other, 5) + "\r\n"))
	if err != nil {
		b.Fatal(err)
	}
	tx := mail.NewTransaction(mail.Client{}, "")
	b.ReportAllocs()
	for b.Loop() {
		f.(filters.Dataer).AtData(context.Background(), tx, m)
	}
}
