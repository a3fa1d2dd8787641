package acme

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hoplite/internal/acme/acmetest"
)

// configFor returns a configuration for the authority.
func configFor(a *acmetest.Authority) Config {
	return Config{Email: "ann@example.org", CA: a.URL, CARoot: a.Root, Keys: []string{"ecdsa"}, Challenge: "auto", HTTPPort: a.HTTP, TLSPort: a.TLS}
}

func manager(t *testing.T, c Config, data string, names ...string) *Manager {
	t.Helper()
	m, err := New(c, Env{Names: names, Data: data, Log: zerolog.New(zerolog.NewTestWriter(t))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

// start starts a manager that runs until the test ends.
func start(t *testing.T, m *Manager) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	if err := m.Start(ctx); err != nil {
		t.Fatal(err)
	}
}

// await waits for a certificate for a name, other than old.
func await(t *testing.T, m *Manager, name string, old *tls.Certificate) *tls.Certificate {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		c := m.Certificate(hello(name))
		if c != nil && (old == nil || !c.Leaf.Equal(old.Leaf)) {
			return c
		}
	}
	t.Fatalf("no certificate for %s", name)
	return nil
}

// hello is the handshake of a client that supports all keys.
func hello(name string, schemes ...tls.SignatureScheme) *tls.ClientHelloInfo {
	if schemes == nil {
		schemes = []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256, tls.PSSWithSHA256}
	}
	return &tls.ClientHelloInfo{
		ServerName: name, SupportedVersions: []uint16{tls.VersionTLS13, tls.VersionTLS12}, SignatureSchemes: schemes,
		CipherSuites:    []uint16{tls.TLS_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
		SupportedCurves: []tls.CurveID{tls.CurveP256}, SupportedPoints: []uint8{0}, Conn: &stubConn{},
	}
}

type stubConn struct{ net.Conn }

func (stubConn) LocalAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:443"))
}
func (stubConn) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:50000"))
}

// address returns a loopback address with a port.
func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
