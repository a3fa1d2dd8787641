package forward

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"hoplite/internal/conf"
	"hoplite/internal/listen"
)

// clientCertificate writes a certificate and its key to a file and opens it.
func clientCertificate(t *testing.T) (*listen.Certs, *x509.Certificate) {
	t.Helper()
	cert := makeCertificate(t, false, "192.0.2.7")
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "client.pem")
	text := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})...)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	certs, err := listen.LoadCerts([]listen.Pair{{Cert: file, Key: file}}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	return certs, cert.Leaf
}

// A client certificate is sent to servers that ask for one, and is the login
// with EXTERNAL.
func TestClientCertificate(t *testing.T) {
	const offer = "250-old\r\n250-STARTTLS\r\n250 AUTH PLAIN EXTERNAL"
	certs, leaf := clientCertificate(t)
	for _, tt := range []struct {
		name    string
		ask     tls.ClientAuthType
		auth    *AuthConfig
		offer   string
		refuse  bool // the server refuses the login
		want    string
		command string // the AUTH command
		proof   string
	}{
		{name: "asked", ask: tls.RequireAnyClientCert, want: "250", proof: "TLS 1.3, certificate not verified, client certificate sent"},
		{name: "not asked", ask: tls.NoClientCert, want: "250", proof: "TLS 1.3, certificate not verified"},
		{name: "EXTERNAL", ask: tls.RequestClientCert, auth: &AuthConfig{Mechanism: "auto"}, want: "250", command: "AUTH EXTERNAL =",
			proof: "TLS 1.3, certificate not verified, client certificate sent"},
		{name: "EXTERNAL with a user", ask: tls.RequestClientCert, auth: &AuthConfig{User: "relay@example.org", Mechanism: "external"}, want: "250",
			command: "AUTH EXTERNAL " + base64.StdEncoding.EncodeToString([]byte("relay@example.org")), proof: "TLS 1.3, certificate not verified, client certificate sent"},
		{name: "a password", ask: tls.RequestClientCert, auth: &AuthConfig{User: "ann", Password: "x", Mechanism: "auto"}, want: "250",
			command: "AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00ann\x00x")), proof: "TLS 1.3, certificate not verified, client certificate sent"},
		{name: "EXTERNAL, not asked", ask: tls.NoClientCert, auth: &AuthConfig{Mechanism: "auto"}, want: "451 4.4.1"},
		{name: "EXTERNAL, not offered", ask: tls.RequestClientCert, auth: &AuthConfig{Mechanism: "auto"}, offer: "250-old\r\n250-STARTTLS\r\n250 AUTH PLAIN", want: "451 4.4.1"},
		{name: "EXTERNAL, refused", ask: tls.RequestClientCert, auth: &AuthConfig{Mechanism: "auto"}, refuse: true, want: "451 4.3.2", command: "AUTH EXTERNAL ="},
	} {
		t.Run(tt.name, func(t *testing.T) {
			login := "235 2.7.0 ok"
			if tt.refuse {
				login = "535 5.7.8 no"
			}
			if tt.offer == "" {
				tt.offer = offer
			}
			p := newPeer(t, map[string]string{"EHLO": tt.offer, "AUTH": login})
			var received []*x509.Certificate
			server := makeCertificate(t, false, "127.0.0.1")
			p.set(func() {
				p.tls = &tls.Config{Certificates: []tls.Certificate{server}, ClientAuth: tt.ask, VerifyConnection: func(s tls.ConnectionState) error {
					received = s.PeerCertificates
					return nil
				}}
			})
			cfg := Config{}
			conf.Defaults(&cfg)
			cfg.Name, cfg.Servers, cfg.Recipients, cfg.Certificate, cfg.Auth = "partner", []string{p.url()}, "any", "partner", tt.auth
			if err := cfg.Check(); err != nil {
				t.Fatal(err)
			}
			u, err := New(cfg, Env{Hostname: "relay.example.org", Data: t.TempDir(), Log: zerolog.Nop(), Certificate: certs})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(u.Close)
			out := handOver(t, u, "Subject: x\r\n\r\n", "ann@example.net")
			if got := out[0].Reply.String(); !strings.HasPrefix(got, tt.want) {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if out[0].Proof != tt.proof {
				t.Errorf("proof %q, want %q", out[0].Proof, tt.proof)
			}
			p.set(func() {
				i := slices.IndexFunc(p.lines, func(l string) bool { return strings.HasPrefix(l, "AUTH ") })
				if command := append(p.lines, "")[max(i, 0)]; i >= 0 != (tt.command != "") || i >= 0 && command != tt.command {
					t.Errorf("commands %q, want %q", p.lines, tt.command)
				}
			})
			if asked := tt.ask != tls.NoClientCert; asked && (len(received) == 0 || !received[0].Equal(leaf)) {
				t.Errorf("the server received %d certificates", len(received))
			}
		})
	}
}

func TestExternalCheck(t *testing.T) {
	for _, tt := range []struct {
		certificate string
		auth        AuthConfig
		want        string
	}{
		{"partner", AuthConfig{Mechanism: "auto"}, ""},
		{"partner", AuthConfig{Mechanism: "external", User: "ann"}, ""},
		{"partner", AuthConfig{Mechanism: "auto", User: "ann", Password: "x"}, ""},
		{"", AuthConfig{Mechanism: "external"}, "EXTERNAL needs a client certificate"},
		{"", AuthConfig{Mechanism: "auto", User: "ann"}, "neither password"},
		{"", AuthConfig{Mechanism: "auto", Password: "x"}, "auth has no user"},
		{"partner", AuthConfig{Mechanism: "external", Password: "x"}, "auth has password, which EXTERNAL does not use"},
	} {
		c := Config{Certificate: tt.certificate, Auth: &tt.auth}
		err := c.checkAuth()
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%+v: %v, want %q", tt, err, tt.want)
		}
	}
}
