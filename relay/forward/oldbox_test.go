package forward

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/xdg-go/scram"

	"hoplite/internal/conf"
	"hoplite/mail"
)

// certificate returns a self-signed certificate for 127.0.0.1.
func certificate(t *testing.T, oldKey bool) tls.Certificate {
	t.Helper()
	return makeCertificate(t, oldKey, "127.0.0.1")
}

func certificateFor(t *testing.T, ip string) tls.Certificate {
	t.Helper()
	return makeCertificate(t, false, ip)
}

func makeCertificate(t *testing.T, oldKey bool, ip string) tls.Certificate {
	t.Helper()
	var key any
	var public any
	if oldKey {
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		key, public = k, &k.PublicKey
	} else {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		key, public = k, &k.PublicKey
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "old.example.org"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.ParseIP(ip)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

const withTLS = "250-old\r\n250-StartTLS\r\n250 PIPELINING"

func TestTLS(t *testing.T) {
	good := certificate(t, false)
	roots := x509.NewCertPool()
	roots.AddCert(good.Leaf)
	tests := map[string]struct {
		policy  string
		offers  bool
		trusted bool
		broken  bool // the handshake fails
		want    string
		clear   bool // sent in clear text
		proof   string
	}{
		"may, offered":             {policy: "may", offers: true, want: "250", proof: "TLS 1.3, certificate not verified"},
		"may, trusted":             {policy: "may", offers: true, trusted: true, want: "250", proof: "TLS 1.3, verified"},
		"may, not offered":         {policy: "may", want: "250", clear: true, proof: "clear text"},
		"may, handshake fails":     {policy: "may", offers: true, broken: true, want: "250", clear: true, proof: "clear text (TLS: "},
		"off, offered":             {policy: "off", offers: true, want: "250", clear: true, proof: "clear text"},
		"require, offered":         {policy: "require", offers: true, want: "250", proof: "TLS 1.3, certificate not verified"},
		"require, not offered":     {policy: "require", want: "451 4.7.5"},
		"require, handshake fails": {policy: "require", offers: true, broken: true, want: "451 4.7.5"},
		"verify, a good one":       {policy: "verify", offers: true, trusted: true, want: "250", proof: "TLS 1.3, verified"},
		"verify, unknown issuer":   {policy: "verify", offers: true, want: "451 4.7.5"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, map[string]string{"EHLO": "250 old"})
			p.set(func() {
				if p.tls = (&tls.Config{Certificates: []tls.Certificate{good}}); tt.broken {
					p.tls = &tls.Config{}
				}
				if tt.offers {
					p.replies["EHLO"] = withTLS
				}
			})
			env := Env{Hostname: "relay.example.org", Data: t.TempDir(), Log: zerolog.Nop(), TLS: &tls.Config{RootCAs: x509.NewCertPool()}}
			if tt.trusted {
				env.TLS.RootCAs = roots
			}
			u := upstreamIn(t, env, []string{p.url()}, func(c *Config) { c.TLS = tt.policy })
			out := handOver(t, u, "Subject: x\r\n\r\n", "ann@example.org")
			if got := out[0].Reply.String(); !strings.HasPrefix(got, tt.want) {
				t.Fatalf("got %s", got)
			}
			if out[0].Reply.Positive() && (out[0].TLS == "") != tt.clear {
				t.Errorf("TLS %q", out[0].TLS)
			}
			if out[0].Reply.Positive() && !strings.HasPrefix(out[0].Proof, tt.proof) {
				t.Errorf("proof %q, want %q", out[0].Proof, tt.proof)
			}
		})
	}
}

func upstreamIn(t *testing.T, env Env, servers []string, change func(*Config)) *Upstream {
	t.Helper()
	cfg := Config{}
	conf.Defaults(&cfg)
	cfg.Name, cfg.Servers = "old", servers
	change(&cfg)
	u, err := New(cfg, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.Close)
	return u
}

// Clear text after the reply to STARTTLS may come from an attacker and is never
// treated as a reply (CVE-2011-0411, on the client's side).
func TestStartTLSInjection(t *testing.T) {
	p := newPeer(t, map[string]string{"EHLO": withTLS, "RCPT": "550 5.1.1 no such user"})
	cert := certificate(t, false)
	p.set(func() {
		p.tls = &tls.Config{Certificates: []tls.Certificate{cert}}
		p.injected = "250-evil\r\n250 AUTH PLAIN\r\n250 ok\r\n250 ok\r\n250 ok\r\n"
	})
	u := upstream(t, []string{p.url()}, func(c *Config) { c.TLS = "require" })
	out := handOver(t, u, "Subject: x\r\n\r\n", "ann@example.org")
	if r := out[0].Reply; r.Positive() {
		t.Errorf("the injected reply was read: %s", r.String())
	}
}

// A device that supports only TLS 1.0 with RSA key exchange can be used only
// with the legacy profile, and each connection is counted.
func TestLegacyTLS(t *testing.T) {
	p := newPeer(t, map[string]string{"EHLO": withTLS})
	weak := &tls.Config{
		Certificates: []tls.Certificate{certificate(t, true)}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10,
		CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA},
	}
	p.set(func() { p.tls = weak })
	u := upstream(t, []string{p.url()}, func(c *Config) { c.TLS = "require" })
	if out := handOver(t, u, "Subject: x\r\n\r\n", "ann@example.org"); out[0].Reply.Positive() {
		t.Error("weak TLS without a legacy profile")
	}
	legacy := func(until string) func(*Config) {
		return func(c *Config) {
			c.TLS, c.TLSMin, c.TLSLegacyUntil = "require", "1.0", until
			c.TLSSuites = []string{"TLS_RSA_WITH_AES_128_CBC_SHA"}
		}
	}
	u = upstream(t, []string{p.url()}, legacy(time.Now().AddDate(0, 0, 2).Format(time.DateOnly)))
	out := handOver(t, u, "Subject: x\r\n\r\n", "ann@example.org")
	if !out[0].Reply.Positive() || out[0].TLS != "TLSv1.0 TLS_RSA_WITH_AES_128_CBC_SHA" || u.WeakTLS() != 1 {
		t.Errorf("%s by %q, %d weak", out[0].Reply.String(), out[0].TLS, u.WeakTLS())
	}
	u = upstream(t, []string{p.url()}, legacy("2020-01-01"))
	if out := handOver(t, u, "Subject: x\r\n\r\n", "ann@example.org"); out[0].Reply.Positive() {
		t.Error("weak TLS after the day on which the legacy profile ends")
	}
}

// Old servers of all kinds receive their mail.
func TestOldBoxes(t *testing.T) {
	tests := map[string]struct {
		greeting string
		replies  map[string]string
		said     []string // lines sent by the client, in this order
		unsaid   string
	}{
		"HELO only": {
			replies: map[string]string{"EHLO": "502 command not implemented", "HELO": "250 old"},
			said:    []string{"HELO relay.example.org", "MAIL FROM:<bob@example.com>", "RCPT TO:<ann@example.org>", "DATA"},
		},
		"EHLO is a syntax error": {
			replies: map[string]string{"EHLO": "501 5.5.2 syntax", "HELO": "250 old"},
			said:    []string{"HELO relay.example.org", "MAIL FROM:<bob@example.com>"},
		},
		"hangs up at EHLO": {
			replies: map[string]string{"EHLO": "drop", "HELO": "250 old"},
			said:    []string{"EHLO relay.example.org", "HELO relay.example.org", "MAIL FROM:<bob@example.com>"},
		},
		"keywords in lower case": {
			replies: map[string]string{"EHLO": "250-old\r\n250-size 5000\r\n250-8bitmime\r\n250 dsn"},
			said:    []string{"MAIL FROM:<bob@example.com> SIZE=33"},
		},
		"several lines everywhere": {
			greeting: "220-welcome\r\n220-to\r\n220 old",
			replies: map[string]string{"MAIL": "250-2.1.0 yes\r\n250 2.1.0 ok", "RCPT": "250-fine\r\n250 ok",
				"DATA": "354-send it\r\n354 end with a dot", ".": "250-thanks\r\n250 queued as X1"},
			said: []string{"DATA"},
		},
		"no text": {
			greeting: "220",
			replies:  map[string]string{"EHLO": "250", "MAIL": "250", "RCPT": "250", "DATA": "354", ".": "250"},
			said:     []string{"DATA"},
		},
		"bare LF": {
			greeting: "220-a\n220 old",
			replies:  map[string]string{"EHLO": "250-old\n250 SIZE"},
			said:     []string{"MAIL FROM:<bob@example.com> SIZE=33"},
		},
		"AUTH with an equals sign": {
			replies: map[string]string{"EHLO": "250-old\r\n250 AUTH=LOGIN PLAIN", "AUTH": "235 ok"},
			said:    []string{"AUTH PLAIN AHUAcA==", "MAIL FROM:<bob@example.com>"},
		},
		"BDAT": {
			replies: map[string]string{"EHLO": "250-old\r\n250 CHUNKING"},
			said:    []string{"BDAT 33 LAST"},
			unsaid:  "DATA",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, tt.replies)
			if tt.greeting != "" {
				p.set(func() { p.greeting = tt.greeting })
			}
			u := upstream(t, []string{p.url()}, func(c *Config) {
				if strings.HasPrefix(name, "AUTH") {
					c.Auth = &AuthConfig{User: "u", Password: "p", Mechanism: "auto"}
				}
			})
			const text = "Subject: hello\r\n\r\n.a\r\n..\r\nb äöü\r\n"
			m := strings.Map(func(r rune) rune { return min(r, 'z') }, text)
			out := handOver(t, u, m, "ann@example.org")
			if !out[0].Reply.Positive() {
				t.Fatalf("%s after\n%s", out[0].Reply.String(), p.said())
			}
			rest := "\n" + p.said() + "\n"
			for _, line := range tt.said {
				_, after, ok := strings.Cut(rest, "\n"+line+"\n")
				if !ok {
					t.Fatalf("%q is missing in\n%s", line, p.said())
				}
				rest = "\n" + after
			}
			if tt.unsaid != "" && strings.Contains(p.said(), tt.unsaid) && !strings.Contains(p.said(), "BDAT") {
				t.Errorf("said\n%s", p.said())
			}
			if got := p.mail(); len(got) != 1 || got[0] != m {
				t.Errorf("message %q", got)
			}
		})
	}
}

// A server that hangs up after one message, with or without 421, receives each
// message once.
func TestOneMessagePerConnection(t *testing.T) {
	for name, second := range map[string]string{"hangs up": "drop", "says so": "421 4.7.0 one is enough"} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, nil)
			u := upstream(t, []string{p.url()}, nil)
			for i := range 3 {
				if i > 0 {
					p.failOnce("MAIL", second)
				}
				if out := handOver(t, u, fmt.Sprintf("Subject: %d\r\n\r\n", i), "ann@example.org"); !out[0].Reply.Positive() {
					t.Fatal(replies(out))
				}
			}
			if got := p.mail(); len(got) != 3 {
				t.Errorf("%d messages: %q", len(got), got)
			}
		})
	}
}

// With LMTP each recipient gets its own reply (RFC 2033, 4.2).
func TestLMTP(t *testing.T) {
	p := newPeer(t, map[string]string{"RCPT TO:<no@example.org>": "550 5.1.1 no such user", ".": "250 2.0.0 stored #"})
	p.set(func() { p.lmtp = true })
	u := upstream(t, []string{strings.Replace(p.url(), "smtp://", "lmtp://", 1)}, nil)
	out := handOver(t, u, "Subject: x\r\n\r\n", "ann@example.org", "no@example.org", "bob@example.org")
	want := "ann@example.org: 250 2.0.0 stored 1\nno@example.org: 550 5.1.1 no such user\nbob@example.org: 250 2.0.0 stored 2"
	if got := replies(out); got != want || !strings.HasPrefix(p.said(), "LHLO ") {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestAuth(t *testing.T) {
	tests := map[string]struct{ offer, mechanism, want string }{
		"plain":              {"AUTH LOGIN PLAIN", "auto", "AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00relay\x00secret"))},
		"login":              {"AUTH LOGIN", "auto", "AUTH LOGIN"},
		"login by choice":    {"AUTH PLAIN LOGIN", "login", "AUTH LOGIN"},
		"nothing that we do": {"AUTH GSSAPI", "auto", ""},
		"not offered":        {"SIZE", "auto", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, map[string]string{"EHLO": "250-old\r\n250 " + tt.offer, "AUTH": "235 2.7.0 welcome",
				"AUTH LOGIN":               "334 VXNlcm5hbWU6",
				"cmVsYXk=":                 "334 UGFzc3dvcmQ6",
				encode([]byte("secret")):   "235 2.7.0 welcome",
				"AUTH LOGIN " + "cmVsYXk=": "334 UGFzc3dvcmQ6",
			})
			u := upstream(t, []string{p.url()}, func(c *Config) {
				c.Auth = &AuthConfig{User: "relay", Password: "secret", Mechanism: tt.mechanism}
			})
			out := handOver(t, u, "Subject: x\r\n\r\n", "ann@example.org")
			if out[0].Reply.Positive() != (tt.want != "") || !strings.Contains(p.said(), tt.want) {
				t.Errorf("%s after\n%s", out[0].Reply.String(), p.said())
			}
		})
	}
}

// A wrong password in the configuration delays mail but never bounces it.
func TestAuthRefused(t *testing.T) {
	p := newPeer(t, map[string]string{"EHLO": "250-old\r\n250 AUTH PLAIN", "AUTH": "535 5.7.8 wrong"})
	u := upstream(t, []string{p.url()}, func(c *Config) { c.Auth = &AuthConfig{User: "relay", Password: "secret"} })
	out := handOver(t, u, "Subject: x\r\n\r\n", "ann@example.org")
	got := out[0].Reply.String()
	if !strings.HasPrefix(got, "451 ") || !strings.Contains(got, "535 5.7.8 wrong") || strings.Contains(got, "secret") {
		t.Errorf("got %s", got)
	}
}

// SCRAM proves the password without sending it, and checks the server's proof.
func TestScram(t *testing.T) {
	for name, serverPassword := range map[string]string{"the same password": "secret", "another one": "other"} {
		t.Run(name, func(t *testing.T) {
			client, err := scram.SHA256.NewClient("relay", serverPassword, "")
			if err != nil {
				t.Fatal(err)
			}
			keys, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "salty", Iters: 4096})
			if err != nil {
				t.Fatal(err)
			}
			server, err := scram.SHA256.NewServer(func(string) (scram.StoredCredentials, error) { return keys, nil })
			if err != nil {
				t.Fatal(err)
			}
			p := newPeer(t, map[string]string{"EHLO": "250-old\r\n250 AUTH PLAIN SCRAM-SHA-256"})
			conv := server.NewConversation()
			say := func(line string) (string, bool) {
				text, ok := strings.CutPrefix(line, "AUTH SCRAM-SHA-256 ")
				if !ok && (strings.Contains(line, " ") || line == "DATA" || line == "") {
					return "", false
				}
				in, err := base64.StdEncoding.DecodeString(text)
				if err != nil {
					return "", false
				}
				out, err := conv.Step(string(in))
				if err != nil {
					return "535 5.7.8 no: " + err.Error(), true
				}
				return "334 " + base64.StdEncoding.EncodeToString([]byte(out)), true
			}
			p.set(func() { p.say, p.replies[""] = say, "235 2.7.0 welcome" })
			u := upstream(t, []string{p.url()}, func(c *Config) { c.Auth = &AuthConfig{User: "relay", Password: "secret"} })
			out := handOver(t, u, "Subject: x\r\n\r\n", "ann@example.org")
			if want := serverPassword == "secret"; out[0].Reply.Positive() != want {
				t.Errorf("%s after\n%s", out[0].Reply.String(), p.said())
			}
		})
	}
}

func client(addr string) mail.Client {
	return mail.Client{Addr: netip.MustParseAddrPort(addr), Local: netip.MustParseAddrPort("192.0.2.9:25"),
		Helo: "pc.example.net", Name: "pc.example.net", ESMTP: true}
}

// The upstream receives the address of the real client, never that of another
// message's client.
func TestClientIsTold(t *testing.T) {
	ehlo := "250-old\r\n250-XCLIENT NAME ADDR PROTO HELO\r\n250 XFORWARD NAME ADDR PROTO HELO"
	t.Run("xclient", func(t *testing.T) {
		p := newPeer(t, map[string]string{"EHLO": ehlo, "XCLIENT": "220 old again"})
		u := upstream(t, []string{p.url()}, func(c *Config) { c.TellClient = "xclient" })
		for _, addr := range []string{"192.0.2.1:1000", "192.0.2.1:1000", "[2001:db8::2]:2000"} {
			if out := handOverFor(t, u, client(addr), "Subject: x\r\n\r\n", "ann@example.org"); !out[0].Reply.Positive() {
				t.Fatal(replies(out))
			}
		}
		handOver(t, u, "Subject: ours\r\n\r\n", "ann@example.org")
		for line, want := range map[string]int{
			"XCLIENT NAME=pc.example.net ADDR=192.0.2.1 PROTO=ESMTP HELO=pc.example.net":        1,
			"XCLIENT NAME=pc.example.net ADDR=IPV6:2001:db8::2 PROTO=ESMTP HELO=pc.example.net": 1,
		} {
			if n := strings.Count(p.said(), line); n != want {
				t.Errorf("%d times %q in\n%s", n, line, p.said())
			}
		}
		if p.conns != 2 {
			t.Errorf("%d connections: our own mail must not use a client's", p.conns)
		}
	})
	t.Run("xforward", func(t *testing.T) {
		p := newPeer(t, map[string]string{"EHLO": ehlo})
		u := upstream(t, []string{p.url()}, func(c *Config) { c.TellClient = "xforward" })
		handOverFor(t, u, client("192.0.2.1:1000"), "Subject: x\r\n\r\n", "ann@example.org")
		if !strings.Contains(p.said(), "XFORWARD NAME=pc.example.net ADDR=192.0.2.1 PROTO=ESMTP HELO=pc.example.net\nMAIL") {
			t.Errorf("said\n%s", p.said())
		}
	})
	t.Run("proxy", func(t *testing.T) {
		p := newPeer(t, nil)
		p.set(func() { p.proxied = true })
		u := upstream(t, []string{p.url()}, func(c *Config) { c.TellClient = "proxy" })
		for _, addr := range []string{"192.0.2.1:1000", "192.0.2.1:1000", "192.0.2.2:2000"} {
			if out := handOverFor(t, u, client(addr), "Subject: x\r\n\r\n", "ann@example.org"); !out[0].Reply.Positive() {
				t.Fatal(replies(out))
			}
		}
		want := "PROXY 192.0.2.1:1000 to 192.0.2.9:25\nPROXY 192.0.2.2:2000 to 192.0.2.9:25"
		if got := strings.Join(p.heads, "\n"); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

// A client that may not relay cannot use source-routed addresses.
func TestSourceRouted(t *testing.T) {
	p := newPeer(t, nil)
	u := upstream(t, []string{p.url()}, nil)
	for _, to := range []mail.Address{"x%elsewhere.example@example.org", `"x@elsewhere.example"@example.org`, "elsewhere.example!x@example.org"} {
		out := handOver(t, u.Inline(), "Subject: x\r\n\r\n", to)
		if !strings.HasPrefix(out[0].Reply.String(), "550 5.7.1") {
			t.Errorf("%s: %s", to, replies(out))
		}
	}
	if p.said() != "" {
		t.Errorf("the upstream was asked:\n%s", p.said())
	}
}
