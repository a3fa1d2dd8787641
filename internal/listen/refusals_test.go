package listen

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"hoplite/internal/conf"
)

// record is a log for tests.
type record struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.Write(p)
}

func (r *record) count(s string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Count(r.b.String(), s)
}

// logged runs a listener with a log.
func logged(t *testing.T, opts Options) (*Listener, *record) {
	t.Helper()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &record{}
	opts.Name, opts.Log = "inbound", zerolog.New(r)
	l := New(socket, opts)
	run(t, l, func(c *Conn) {
		defer c.Close()
		fmt.Fprintf(c, "hello %s\r\n", c.Client.Addr())
		io.Copy(c, c)
	})
	return l, r
}

// Refusals because of a limit are logged once per client and minute, with the
// address of the client, not of the proxy.
func TestRefusalsAreCounted(t *testing.T) {
	l, log := logged(t, Options{Proxy: true, Refuse: text, Limits: Limits{Address: 1}})
	hello := func(from, want string) {
		t.Helper()
		c := dial(t, l)
		fmt.Fprintf(c, "PROXY TCP4 %s 203.0.113.1 4711 25\r\n", from)
		if got := line(t, c); !strings.HasPrefix(got, want) {
			t.Fatalf("%s received %q", from, got)
		}
	}
	hello("192.0.2.1", "hello")
	hello("192.0.2.2", "hello")
	for range 20 {
		hello("192.0.2.1", "421")
	}
	hello("192.0.2.2", "421")
	for s, want := range map[string]int{"connection refused": 2, `"level":"warn"`: 2, `"peer":"192.0.2.1:4711"`: 1, `"peer":"192.0.2.2:4711"`: 1} {
		if n := log.count(s); n != want {
			t.Errorf("%s: %d lines, want %d", s, n, want)
		}
	}
}

// A gateway, proxy or local NAT connects on behalf of many clients.
func TestExempt(t *testing.T) {
	nets := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	l := New(nil, Options{Exempt: nets, Limits: Limits{Address: 1, Network: 1, Total: 5}})
	for _, tt := range []struct {
		from string
		want Reason
	}{
		{"192.0.2.1", ""}, {"192.0.2.1", ""}, {"192.0.2.2", ""},
		{"198.51.100.1", ""}, {"198.51.100.1", AddressFull}, {"198.51.100.2", NetworkFull},
		{"192.0.2.1", ""}, {"192.0.2.1", Full},
	} {
		if _, got := l.gate.enter(l, netip.MustParseAddr(tt.from)); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.from, got, tt.want)
		}
	}
}

// The proxies of a block are exempt.
func TestOpenExemptsProxies(t *testing.T) {
	proxies, more := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
	c := &Config{Listen: []conf.Listen{{Network: "tcp", Address: "127.0.0.1:0"}}, ProxyProtocol: true, ProxyFrom: proxies}
	s := NewSockets()
	t.Cleanup(s.Close)
	all, err := c.Open("inbound", s, nil, t.TempDir(), Options{Exempt: more})
	if err != nil {
		t.Fatal(err)
	}
	defer all[0].socket.Close()
	for _, from := range []string{"192.0.2.1", "198.51.100.1"} {
		if !contains(all[0].opts.Exempt, netip.MustParseAddr(from)) {
			t.Errorf("%s is counted", from)
		}
	}
}

// A failed handshake is logged with its reason, once per client and minute.
func TestFailedHandshake(t *testing.T) {
	certs, _ := testCerts(t, "mail.example.org")
	l, log := logged(t, Options{TLS: NewTLS(certs, Profile{}), Implicit: true})
	for range 5 {
		c := tls.Client(dial(t, l), &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
		if err := c.Handshake(); err == nil {
			t.Error("TLS 1.1 is accepted")
		}
		io.Copy(io.Discard, c.NetConn())
	}
	eventually(t, "no line about the handshake", func() bool { return log.count("unsupported versions") == 1 })
	if n := log.count(`"message":"tls handshake"`); n != 1 {
		t.Errorf("%d lines", n)
	}
}

// CBC suites are accepted only by the legacy profile.
func TestNoCBC(t *testing.T) {
	certs, _ := testCerts(t, "mail.example.org")
	cbc := &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}}
	gcm := &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}
	l := start(t, Options{TLS: NewTLS(certs, Profile{}), Implicit: true})
	if tls.Client(dial(t, l), cbc).Handshake() == nil {
		t.Error("CBC by default")
	}
	if err := tls.Client(dial(t, l), gcm).Handshake(); err != nil {
		t.Errorf("TLS 1.2: %v", err)
	}
	if _, err := ParseProfile("", []string{"TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"}, ""); err == nil {
		t.Error("CBC without a last day")
	}
	p, err := ParseProfile("", []string{"TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"}, "2999-12-31")
	if err != nil {
		t.Fatal(err)
	}
	legacy := start(t, Options{TLS: NewTLS(certs, p), Implicit: true})
	c := tls.Client(dial(t, legacy), cbc)
	if err := c.Handshake(); err != nil {
		t.Errorf("CBC with the legacy profile: %v", err)
	}
	eventually(t, "use not counted", func() bool { return legacy.opts.TLS.Used.Load() == 1 })
}

// The port determines what clients expect. A configured mode takes precedence,
// and check warns about it.
func TestMode(t *testing.T) {
	for _, tt := range []struct {
		at, tls, want string
		disagrees     bool
	}{
		{":993", "", "implicit", false},
		{"127.0.0.1:465", "", "implicit", false},
		{"[::1]:995", "", "implicit", false},
		{":443", "", "implicit", false},
		{":25", "", "starttls", false},
		{":2525", "", "starttls", false},
		{":993", "starttls", "starttls", true},
		{":465", "off", "off", true},
		{":993", "implicit", "implicit", false},
		{":25", "implicit", "implicit", true},
		{":25", "off", "off", false},
		{":10993", "starttls", "starttls", false},
		{"unix:x.sock", "", "starttls", false},
	} {
		at, err := conf.ParseListen(tt.at)
		if err != nil {
			t.Fatal(err)
		}
		c := &Config{TLS: tt.tls}
		if got := c.Mode(at); got != tt.want || c.Disagrees(at) != tt.disagrees {
			t.Errorf("%s, tls %q: %s, disagrees %v", tt.at, tt.tls, got, c.Disagrees(at))
		}
	}
}
