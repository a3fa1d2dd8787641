package forward

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hoplite/mail"
)

func TestRequirement(t *testing.T) {
	remote, local := &server{network: "tcp", host: "mx.example.net"}, &server{network: "tcp", host: "127.0.0.1"}
	socket := &server{network: "unix", host: "localhost"}
	login, insecure := &AuthConfig{}, &AuthConfig{Insecure: true}
	tests := []struct {
		policy string
		auth   *AuthConfig
		s      *server
		want   requirement
	}{
		{"off", nil, remote, requirement{least: clearText, startTLS: false}},
		{"may", nil, remote, requirement{least: clearText, startTLS: true}},
		{"may", nil, socket, requirement{least: clearText, startTLS: false}},
		{"require", nil, remote, requirement{least: encrypted, startTLS: true}},
		{"require", nil, socket, requirement{least: encrypted, startTLS: true}},
		{"verify", nil, remote, requirement{least: verified, startTLS: true}},
		{"may", login, remote, requirement{least: verified, startTLS: true}},
		{"off", login, remote, requirement{least: verified, startTLS: true}},
		{"may", login, local, requirement{least: clearText, startTLS: true}},
		{"may", login, socket, requirement{least: clearText, startTLS: false}},
		{"may", insecure, remote, requirement{least: clearText, startTLS: true}},
	}
	for _, tt := range tests {
		if got := requirementFor(&Config{TLS: tt.policy, Auth: tt.auth}, tt.s); got != tt.want {
			t.Errorf("tls = %q, auth %+v, %s: %+v, want %+v", tt.policy, tt.auth, tt.s.host, got, tt.want)
		}
	}
}

func TestMeets(t *testing.T) {
	doubt := errors.New("the certificate of mx.example.net expired on 2026-01-02")
	proofs := map[assurance]proof{
		clearText: {}, encrypted: {state: &tls.ConnectionState{}, doubt: doubt}, verified: {state: &tls.ConnectionState{}},
	}
	for least := clearText; least <= verified; least++ {
		for has, p := range proofs {
			err := requirement{least: least}.meets(p)
			if (err == nil) != (has >= least) {
				t.Errorf("required %d, proved %d: %v", least, has, err)
			}
			if err != nil && p.state != nil && !errors.Is(err, doubt) {
				t.Errorf("the doubt is not named: %v", err)
			}
		}
	}
}

func TestCertificateError(t *testing.T) {
	day := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	old, early := &x509.Certificate{NotAfter: day}, &x509.Certificate{NotBefore: time.Now().Add(time.Hour)}
	leaf := &x509.Certificate{DNSNames: []string{"a.example", "b.example", "c.example", "d.example"}}
	tests := map[string]error{
		"expired on 2026-01-02": x509.CertificateInvalidError{Cert: old, Reason: x509.Expired},
		"is not valid before":   x509.CertificateInvalidError{Cert: early, Reason: x509.Expired},
		"the certificate is for a.example, b.example, c.example, others, not for mx.example.net": x509.HostnameError{Certificate: leaf, Host: "mx.example.net"},
		"not signed by a trusted authority": x509.UnknownAuthorityError{},
	}
	for want, err := range tests {
		if got := certificateError(leaf, "mx.example.net", err).Error(); !strings.Contains(got, want) {
			t.Errorf("%q, want %q in it", got, want)
		}
	}
	if got := certificateNames(&x509.Certificate{}); got != "no host name" {
		t.Errorf("a certificate without names is for %q", got)
	}
}

// remoteConn is a connection to this machine that appears to be to another
// machine.
type remoteConn struct{ net.Conn }

func (remoteConn) RemoteAddr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 10), Port: 25}
}

// remote makes an upstream's servers appear to be on another machine.
func remote(t *testing.T, u *Upstream, p *peer) {
	t.Helper()
	u.net.dialer.dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, p.l.Addr().String())
		return remoteConn{c}, err
	}
}

// Secrets are sent only to servers that have proved their identity.
func TestSecretsNeedProof(t *testing.T) {
	tests := map[string]struct {
		offer    string // STARTTLS or nothing
		trusted  bool
		insecure bool
		policy   string
		want     string
	}{
		"verified":                    {offer: withTLS, trusted: true, policy: "may", want: "250"},
		"certificate of nobody":       {offer: withTLS, policy: "may", want: "451 4.7.5"},
		"required, but not verified":  {offer: withTLS, policy: "require", want: "451 4.7.5"},
		"clear text":                  {offer: "250-old\r\n250 PIPELINING", policy: "may", want: "451 4.7.5"},
		"clear text, off":             {offer: "250-old\r\n250 PIPELINING", policy: "off", want: "451 4.7.5"},
		"clear text, insecure":        {offer: "250-old\r\n250 PIPELINING", policy: "may", insecure: true, want: "250"},
		"unknown authority, insecure": {offer: withTLS, policy: "may", insecure: true, want: "250"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, map[string]string{"EHLO": tt.offer + "\r\n250 AUTH PLAIN", "AUTH": "235 2.7.0 ok"})
			cert := certificateFor(t, "192.0.2.10")
			p.set(func() {
				p.tls = &tls.Config{Certificates: []tls.Certificate{cert}}
				p.replies["EHLO"] = strings.Replace(tt.offer, "250 PIPELINING", "250-PIPELINING", 1) + "\r\n250 AUTH PLAIN"
			})
			roots := x509.NewCertPool()
			if tt.trusted {
				roots.AddCert(cert.Leaf)
			}
			env := Env{Hostname: "relay.example.org", Data: t.TempDir(), Log: zerolog.Nop(), TLS: &tls.Config{RootCAs: roots}}
			u := upstreamIn(t, env, []string{"smtp://192.0.2.10"}, func(c *Config) {
				c.TLS, c.Auth = tt.policy, &AuthConfig{User: "relay", Password: "secret", Insecure: tt.insecure}
			})
			remote(t, u, p)
			out := handOver(t, u, "Subject: x\r\n\r\n", "ann@example.org")
			if got := out[0].Reply.String(); !strings.HasPrefix(got, tt.want) {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if sent := strings.Contains(p.said(), "AUTH"); sent != (tt.want == "250") {
				t.Errorf("the login was sent: %v\n%s", sent, p.said())
			}
			if out[0].Host != "192.0.2.10" || out[0].Addr != "192.0.2.10:25" {
				t.Errorf("the outcome names %s at %s", out[0].Host, out[0].Addr)
			}
		})
	}
}

// A message with REQUIRETLS is sent only to a server that offers it over TLS
// with a verified certificate (RFC 8689, 4.2.1).
func TestRequireTLS(t *testing.T) {
	tests := map[string]struct {
		offer   string
		trusted bool
		want    string
	}{
		"offered and verified":      {offer: "REQUIRETLS", trusted: true, want: "250"},
		"offered, but not verified": {offer: "REQUIRETLS", want: "550 5.7.30"},
		"verified, but not offered": {offer: "HELP", trusted: true, want: "550 5.7.30"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			cert := certificate(t, false)
			p := newPeer(t, map[string]string{"EHLO": "250-old\r\n250-STARTTLS\r\n250 " + tt.offer})
			p.set(func() { p.tls = &tls.Config{Certificates: []tls.Certificate{cert}} })
			roots := x509.NewCertPool()
			if tt.trusted {
				roots.AddCert(cert.Leaf)
			}
			env := Env{Hostname: "relay.example.org", Data: t.TempDir(), Log: zerolog.Nop(), TLS: &tls.Config{RootCAs: roots}}
			u := upstreamIn(t, env, []string{p.url()}, func(*Config) {})
			tx := mail.NewTransaction(mail.Client{}, "bob@example.com")
			tx.Envelope.RequireTLS = true
			out := handOverTx(t, u, tx, "Subject: x\r\n\r\n", "ann@example.org")
			if got := out[0].Reply.String(); !strings.HasPrefix(got, tt.want) {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if sent := len(p.mail()) > 0; sent != (tt.want == "250") {
				t.Errorf("the message was sent: %v", sent)
			}
		})
	}
}
