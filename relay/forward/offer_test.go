package forward

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"hoplite/internal/conf"
	"hoplite/internal/resolve"
	"hoplite/mail"
)

// A listener in front of the servers may offer the extensions that all of them
// support.
func TestOffer(t *testing.T) {
	full := "250-old\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n250-CHUNKING\r\n250 SIZE 5000"
	for name, tt := range map[string]struct {
		ehlo   []string // EHLO reply of each server; "down" if it cannot be reached
		change func(*Config)
		want   Offer
		looked []string // parts of Look's result
	}{
		"nothing is known": {ehlo: []string{"down"}, want: Offer{EightBit: true, UTF8: true, DSN: true, Binary: true, Chunking: true}, looked: []string{"connect"}},
		"one server":       {ehlo: []string{full}, want: Offer{Known: true, EightBit: true, UTF8: true, DSN: true, Chunking: true, Size: 5000}, looked: []string{"clear text; PIPELINING 8BITMIME SMTPUTF8 DSN CHUNKING SIZE 5000"}},
		"two servers": {
			ehlo:   []string{full, "250-old\r\n250-8BITMIME\r\n250-LIMITS RCPTMAX=7 MAILMAX=9\r\n250 SIZE 900"},
			want:   Offer{Known: true, EightBit: true, Size: 900},
			looked: []string{"CHUNKING", "8BITMIME SIZE 900 RCPTMAX 7 MAILMAX 9"},
		},
		"one of two is down": {ehlo: []string{full, "down"}, want: Offer{Known: true, EightBit: true, UTF8: true, DSN: true, Chunking: true, Size: 5000}, looked: []string{"CHUNKING", "connect"}},
		"HELO only":          {ehlo: []string{"500 what"}, want: Offer{Known: true}, looked: []string{"HELO only"}},
		"re-encoded": {
			ehlo: []string{"250 old"}, change: func(c *Config) { c.Downgrade = true },
			want: Offer{Known: true, EightBit: true, UTF8: true}, looked: []string{"clear text; "},
		},
		"disabled": {
			ehlo: []string{full}, change: func(c *Config) { c.Disable = []string{"chunking", "SMTPUTF8"} },
			want: Offer{Known: true, EightBit: true, DSN: true, Size: 5000}, looked: []string{"PIPELINING 8BITMIME DSN SIZE 5000"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var urls []string
			for _, ehlo := range tt.ehlo {
				p := newPeer(t, map[string]string{"EHLO": ehlo})
				if ehlo == "down" {
					p.l.Close()
				}
				urls = append(urls, p.url())
			}
			u := upstream(t, urls, tt.change)
			all := strings.Join(u.Look(t.Context()), "\n")
			for _, want := range tt.looked {
				if !strings.Contains(all, want) {
					t.Errorf("Look found\n%s\nwant %q", all, want)
				}
			}
			if diff := cmp.Diff(tt.want, u.Offer()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Only parameters of MAIL and RCPT that the server offers are sent.
func TestParameters(t *testing.T) {
	soon := time.Now().Add(time.Hour + 30*time.Second)
	all := mail.Envelope{
		From: "ann@example.org", Ret: "HDRS", EnvID: "a+b =c", Auth: "ann@example.org", Priority: -4, DeliverBy: &mail.DeliverBy{At: soon, Trace: true},
	}
	for name, tt := range map[string]struct {
		ehlo        string
		env         mail.Envelope
		rcpt        mail.Rcpt
		mail, rcpt2 string
	}{
		"a server that offers nothing": {"250 old", all, mail.Rcpt{Notify: mail.NotifyNever, ORcpt: "rfc822;a@b.c"}, "MAIL FROM:<ann@example.org>", "RCPT TO:<bob@example.net>"},
		"everything": {
			"250-old\r\n250-SIZE\r\n250-DSN\r\n250-AUTH PLAIN\r\n250-DELIVERBY\r\n250 MT-PRIORITY", all, mail.Rcpt{Notify: mail.NotifySuccess | mail.NotifyDelay, ORcpt: "rfc822;a+b@b.c"},
			"MAIL FROM:<ann@example.org> SIZE=14 RET=HDRS ENVID=a+2Bb+20+3Dc BY=3600;NT MT-PRIORITY=-4 AUTH=ann@example.org",
			"RCPT TO:<bob@example.net> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+2Bb@b.c",
		},
		"NOTIFY=NEVER":             {"250-old\r\n250 DSN", mail.Envelope{}, mail.Rcpt{Notify: mail.NotifyNever | mail.NotifyDelay}, "MAIL FROM:<>", "RCPT TO:<bob@example.net> NOTIFY=NEVER"},
		"an original without type": {"250-old\r\n250 DSN", mail.Envelope{}, mail.Rcpt{Notify: mail.NotifyFailure, ORcpt: "b\u00fc@b.c"}, "MAIL FROM:<>", "RCPT TO:<bob@example.net> NOTIFY=FAILURE ORCPT=rfc822;b+C3+BC@b.c"},
		"returned in time":         {"250-old\r\n250 DELIVERBY", mail.Envelope{DeliverBy: &mail.DeliverBy{At: soon, Return: true}}, mail.Rcpt{}, "MAIL FROM:<> BY=3600;R", "RCPT TO:<bob@example.net>"},
		"late, with a notice":      {"250-old\r\n250 DELIVERBY", mail.Envelope{DeliverBy: &mail.DeliverBy{At: soon.Add(-2 * time.Hour)}}, mail.Rcpt{}, "MAIL FROM:<> BY=-3600;N", "RCPT TO:<bob@example.net>"},
		"late, to be returned":     {"250-old\r\n250 DELIVERBY", mail.Envelope{DeliverBy: &mail.DeliverBy{At: soon.Add(-2 * time.Hour), Return: true}}, mail.Rcpt{}, "MAIL FROM:<>", "RCPT TO:<bob@example.net>"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, map[string]string{"EHLO": tt.ehlo})
			u := upstream(t, []string{p.url()}, nil)
			tx := mail.NewTransaction(mail.Client{}, tt.env.From)
			tx.Envelope = tt.env
			h, err := u.Open(t.Context(), tx)
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			tt.rcpt.To = "bob@example.net"
			if err := h.Rcpt(t.Context(), tt.rcpt); err != nil {
				t.Fatal(err)
			}
			m, err := mail.NewMessage(mail.Bytes("Subject: x\r\n\r\n"))
			if err != nil {
				t.Fatal(err)
			}
			if out := h.Send(t.Context(), m); !out[0].Reply.Positive() {
				t.Fatal(out[0].Reply.String())
			}
			said := strings.ReplaceAll(p.said(), "BY=3599", "BY=3600")
			said = strings.ReplaceAll(strings.ReplaceAll(said, "BY=3629", "BY=3600"), "BY=3630", "BY=3600")
			said = strings.ReplaceAll(strings.ReplaceAll(said, "BY=-3569", "BY=-3600"), "BY=-3570", "BY=-3600")
			if !strings.Contains(said, tt.mail+"\n") || !strings.Contains(said, tt.rcpt2+"\n") {
				t.Errorf("said\n%s\nwant\n%s\n%s", said, tt.mail, tt.rcpt2)
			}
		})
	}
}

// Recipients are checked against a file, without asking the server.
func TestRecipientsFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "people")
	write := func(text string, at time.Time) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Now().Add(-time.Hour)
	write("# people\nAnn@Example.ORG  OK\n\n@b\u00fccher.example\n  bob@example.org # left\n", start)
	p := newPeer(t, nil)
	u := upstreamIn(t, Env{Hostname: "relay.example.org", Data: dir, Log: zerolog.Nop()}, []string{p.url()}, func(c *Config) {
		c.TLS, c.Recipients = "off", "file:people"
	})
	for to, want := range map[mail.Address]string{
		"ann@example.org": "ok", "ANN@example.org": "ok", "bob@example.org": "ok", "eve@example.org": "550 5.1.1", "x@b\u00fccher.example": "ok",
		"x@xn--bcher-kva.example": "ok", "a%b@example.org": "550 5.7.1",
	} {
		if got := check(t, u, to); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, want %s", to, got, want)
		}
		h, err := u.Quiet().Open(t.Context(), mail.NewTransaction(mail.Client{}, ""))
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Rcpt(t.Context(), mail.Rcpt{To: to}); (err == nil) != (want == "ok") {
			t.Errorf("%s in a dry run: %v", to, err)
		}
		if exists, known := u.Verify(to); !known || exists != (want == "ok") && want != "550 5.7.1" {
			t.Errorf("VRFY %s: %v, %v", to, exists, known)
		}
	}
	if p.conns != 0 {
		t.Error("the server was asked")
	}
	// The file is reloaded when it changes. An invalid file is not used.
	u.rcpts.file.looked = time.Time{}
	write("eve@example.org\n", start.Add(time.Minute))
	if got := check(t, u, "eve@example.org"); got != "ok" {
		t.Errorf("after a change: %s", got)
	}
	u.rcpts.file.looked = time.Time{}
	write("no address\n", start.Add(2*time.Minute))
	if got := check(t, u, "eve@example.org"); !strings.HasPrefix(got, "450 4.3.0") {
		t.Errorf("with a mistake in the file: %s", got)
	}
	if _, err := New(func() Config {
		c := Config{}
		conf.Defaults(&c)
		c.Name, c.Servers, c.Recipients = "old", []string{p.url()}, "file:nowhere"
		return c
	}(), Env{Data: dir, Log: zerolog.Nop()}); err == nil {
		t.Error("a file that does not exist")
	}
}

// A message whose size exceeds every server's limit is refused at RCPT.
func TestAnnouncedSize(t *testing.T) {
	p := newPeer(t, map[string]string{"EHLO": "250-old\r\n250 SIZE 1000"})
	u := upstream(t, []string{p.url()}, func(c *Config) { c.Recipients = "any" })
	u.Look(t.Context())
	for size, want := range map[int64]string{0: "ok", 1000: "ok", 1001: "552 5.3.4"} {
		tx := mail.NewTransaction(mail.Client{}, "bob@example.com")
		tx.Envelope.Size = size
		got := "ok"
		if err := u.Check(t.Context(), tx, mail.Rcpt{To: "ann@example.org"}); err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, want) {
			t.Errorf("%d octets: %s, want %s", size, got, want)
		}
	}
}

// The mail servers of a domain, in the order in which they are tried.
func TestExchangers(t *testing.T) {
	addr := func(s string) []resolve.Record { return []resolve.Record{{Addr: netip.MustParseAddr(s)}} }
	z := &signedZone{bogus: map[string]bool{"dead.example": true}, records: map[string][]resolve.Record{
		"a.example MX":          {{Pref: 20, Host: "mx2.example"}, {Pref: 10, Host: "mx1.example"}},
		"mx1.example A":         addr("192.0.2.1"),
		"mx1.example AAAA":      addr("2001:db8::1"),
		"mx2.example A":         addr("192.0.2.2"),
		"implicit.example A":    addr("192.0.2.3"),
		"null.example MX":       {{Host: ""}},
		"ours.example MX":       {{Pref: 10, Host: "mx1.example"}, {Pref: 20, Host: "relay.example.org"}, {Pref: 20, Host: "mx2.example"}, {Pref: 30, Host: "mx2.example"}},
		"first.example MX":      {{Pref: 10, Host: "relay.example.org"}, {Pref: 20, Host: "mx2.example"}},
		"loopback.example MX":   {{Pref: 10, Host: "lo.example"}},
		"lo.example A":          addr("127.0.0.1"),
		"no-address.example MX": {{Pref: 10, Host: "nowhere.example"}},
	}}
	cfg := Config{}
	conf.Defaults(&cfg)
	cfg.Name, cfg.MX = "internet", true
	u, err := New(cfg, Env{Hostname: "relay.example.org", Data: t.TempDir(), Log: zerolog.Nop(), DNS: z, Own: func(h string) bool { return h == "relay.example.org" }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.Close)
	u.mx.sts = nil
	for domain, want := range map[string]string{
		"a.example":          "[2001:db8::1]:25 192.0.2.1:25 192.0.2.2:25",
		"implicit.example":   "192.0.2.3:25",
		"null.example":       "556 5.1.10",
		"ours.example":       "[2001:db8::1]:25 192.0.2.1:25",
		"first.example":      "550 5.4.6",
		"loopback.example":   "550 5.4.4",
		"no-address.example": "550 5.4.4",
		"dead.example":       "451 4.4.3",
		"[192.0.2.9]":        "550 5.1.2",
	} {
		pools, _, refusal := u.mx.find(context.Background(), mail.Address("x@"+domain), false)
		var list []string
		for _, p := range pools {
			list = append(list, p.server.address)
		}
		got := strings.Join(list, " ")
		if refusal != nil {
			got = refusal.String()[:len(want)]
		}
		if got != want {
			t.Errorf("%s: %s, want %s", domain, got, want)
		}
	}
}
