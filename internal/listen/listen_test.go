package listen

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

func text(r Reason) string { return "421 " + string(r) + "\r\n" }

// start runs a listener with a server that sends "hello ADDRESS" and then echoes.
func start(t *testing.T, opts Options) *Listener {
	t.Helper()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	opts.Log = zerolog.Nop()
	l := New(socket, opts)
	run(t, l, func(c *Conn) {
		defer c.Close()
		fmt.Fprintf(c, "hello %s\r\n", c.Client.Addr())
		io.Copy(c, c)
	})
	return l
}

func run(t *testing.T, l *Listener, handle func(*Conn)) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx, handle) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		now, stop := context.WithCancel(context.Background())
		stop()
		l.Drain(now)
	})
}

func dial(t *testing.T, l *Listener) net.Conn {
	t.Helper()
	c, err := net.Dial(l.Addr().Network(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(20 * time.Second))
	t.Cleanup(func() { c.Close() })
	return c
}

// line reads one line. It returns "" if the connection is closed or reset.
func line(t *testing.T, c net.Conn) string {
	t.Helper()
	s, err := bufio.NewReader(c).ReadString('\n')
	if err, ok := err.(net.Error); ok && err.Timeout() {
		t.Fatalf("read: %v (after %q)", err, s)
	}
	return strings.TrimSpace(s)
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

func TestTotal(t *testing.T) {
	l := start(t, Options{Limits: Limits{Total: 2}, Refuse: text})
	a, b := dial(t, l), dial(t, l)
	for _, c := range []net.Conn{a, b} {
		if got := line(t, c); got != "hello 127.0.0.1" {
			t.Fatalf("got %q", got)
		}
	}
	if got := line(t, dial(t, l)); got != "421 too many connections" {
		t.Fatalf("third connection received %q", got)
	}
	a.Close()
	eventually(t, "place not given back", func() bool { return l.Open() == 1 })
	if got := line(t, dial(t, l)); got != "hello 127.0.0.1" {
		t.Fatalf("after one left: %q", got)
	}
}

func TestSharedGate(t *testing.T) {
	gate := NewGate(1)
	one, two := start(t, Options{Gate: gate, Refuse: text}), start(t, Options{Gate: gate, Refuse: text})
	if got := line(t, dial(t, one)); got != "hello 127.0.0.1" {
		t.Fatal(got)
	}
	if got := line(t, dial(t, two)); got != "421 too many connections" {
		t.Fatal(got)
	}
}

// Clients are counted by the address in the PROXY header.
func TestPerClient(t *testing.T) {
	l := start(t, Options{Proxy: true, Limits: Limits{Address: 1, Network: 2}, Refuse: text})
	for _, tt := range []struct{ from, want string }{
		{"192.0.2.1", "hello 192.0.2.1"},
		{"192.0.2.1", "421 too many connections from your address"},
		{"192.0.2.2", "hello 192.0.2.2"},
		{"192.0.2.3", "421 too many connections from your network"},
		{"198.51.100.1", "hello 198.51.100.1"},
	} {
		c := dial(t, l)
		fmt.Fprintf(c, "PROXY TCP4 %s 203.0.113.1 4711 25\r\n", tt.from)
		if got := line(t, c); got != tt.want {
			t.Errorf("%s received %q, want %q", tt.from, got, tt.want)
		}
	}
}

// Idle mail readers leave room for incoming mail.
func TestGateForReaders(t *testing.T) {
	g := NewGate(8)
	readers, mail := New(nil, Options{Gate: g, Readers: true}), New(nil, Options{Gate: g})
	var passes []pass
	for range 6 {
		p, reason := g.enter(readers, netip.Addr{})
		if reason != "" {
			t.Fatal(reason)
		}
		passes = append(passes, p)
	}
	if _, reason := g.enter(readers, netip.Addr{}); reason != Full {
		t.Errorf("the seventh reader of 8 connections: %q", reason)
	}
	for range 2 {
		if _, reason := g.enter(mail, netip.Addr{}); reason != "" {
			t.Errorf("mail beside 6 readers: %q", reason)
		}
	}
	g.leave(passes[0])
	if _, reason := g.enter(readers, netip.Addr{}); reason != "" {
		t.Errorf("a reader after another one left: %q", reason)
	}
	if _, reason := g.enter(mail, netip.Addr{}); reason != Full {
		t.Errorf("a ninth connection: %q", reason)
	}
}

// A connection that has logged in is no longer counted for its address.
func TestGateForgives(t *testing.T) {
	g := NewGate(10)
	l := New(nil, Options{Gate: g, Limits: Limits{Address: 1, Network: 1}})
	addr := netip.MustParseAddr("192.0.2.1")
	first, reason := g.enter(l, addr)
	if reason != "" {
		t.Fatal(reason)
	}
	if _, reason := g.enter(l, addr); reason != AddressFull {
		t.Errorf("a second connection: %q", reason)
	}
	first = g.forgive(g.forgive(first))
	second, reason := g.enter(l, addr)
	if reason != "" {
		t.Errorf("a connection beside one that has logged in: %q", reason)
	}
	g.leave(first)
	g.leave(second)
	if g.total != 0 || len(g.count) != 0 {
		t.Errorf("%d connections, %v are still counted", g.total, g.count)
	}
}

func TestGate(t *testing.T) {
	g := NewGate(100)
	l := New(nil, Options{Gate: g, Limits: Limits{Address: 1, Network: 2}})
	enter := func(s string) (pass, Reason) { return g.enter(l, netip.MustParseAddr(s)) }
	p, r := enter("2001:db8::1")
	if r != "" {
		t.Fatal(r)
	}
	if _, r := enter("2001:db8::ffff"); r != AddressFull {
		t.Errorf("same /64: %q", r)
	}
	if _, r := enter("2001:db8:0:1::1"); r != "" {
		t.Errorf("other /64: %q", r)
	}
	if _, r := enter("2001:db8:0:2::1"); r != NetworkFull {
		t.Errorf("same /48: %q", r)
	}
	g.leave(p)
	if _, r := enter("2001:db8::1"); r != "" {
		t.Errorf("after leaving: %q", r)
	}
	for range 10 {
		if _, r := enter("127.0.0.1"); r != "" {
			t.Fatalf("loopback counted: %q", r)
		}
	}
	if len(g.count) > 10 {
		t.Errorf("%d keys kept", len(g.count))
	}
}

func TestProxyFrom(t *testing.T) {
	l := start(t, Options{Proxy: true, ProxyFrom: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	c := dial(t, l)
	io.WriteString(c, "PROXY TCP4 192.0.2.1 203.0.113.1 4711 25\r\n")
	if got := line(t, c); got != "" {
		t.Fatalf("the header of a client outside proxy_from was accepted: %q", got)
	}
}

func TestPanic(t *testing.T) {
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := New(socket, Options{Log: zerolog.Nop()})
	run(t, l, func(c *Conn) { panic("a bug") })
	for range 3 {
		if got := line(t, dial(t, l)); got != "" {
			t.Fatal(got)
		}
	}
	eventually(t, "connection not closed", func() bool { return l.Open() == 0 })
}

func TestDrain(t *testing.T) {
	l := start(t, Options{})
	c := dial(t, l)
	line(t, c)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if cut := l.Drain(ctx); cut != 1 {
		t.Fatalf("cut %d, want 1", cut)
	}
	if cut := l.Drain(context.Background()); cut != 0 {
		t.Fatalf("cut %d on an empty listener", cut)
	}
}

// When no file descriptors are free, each new client is refused. Once some are
// free again, clients are served.
func TestNoFiles(t *testing.T) {
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Skip(err)
	}
	l := start(t, Options{Refuse: text})
	line(t, dial(t, l))
	// Reserve the client's descriptor, then use up all others.
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	low := old
	low.Cur = 1
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low); err != nil {
		t.Skip(err)
	}
	restored := false
	restore := func() {
		if !restored {
			syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old)
			restored = true
		}
	}
	defer restore()
	sa := &syscall.SockaddrInet4{Port: l.Addr().(*net.TCPAddr).Port, Addr: [4]byte{127, 0, 0, 1}}
	if err := syscall.Connect(fd, sa); err != nil {
		t.Fatal(err)
	}
	// With a limit of 1 even the spare cannot be opened again. Raising the
	// limit before reading frees a descriptor, as the exit of another process
	// would.
	time.Sleep(20 * time.Millisecond)
	restore()
	f := os.NewFile(uintptr(fd), "client")
	c, err := net.FileConn(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if got := line(t, c); got != "hello 127.0.0.1" && got != "421 "+string(NoFiles) {
		t.Fatalf("received %q", got)
	}
	if got := line(t, dial(t, l)); got != "hello 127.0.0.1" {
		t.Fatalf("afterwards: %q", got)
	}
}

func testCerts(t *testing.T, names ...string) (*Certs, Pair) {
	t.Helper()
	p, err := SelfSigned(t.TempDir(), zerolog.Nop(), names...)
	if err != nil {
		t.Fatal(err)
	}
	c, err := LoadCerts([]Pair{p}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	return c, p
}

func TestImplicit(t *testing.T) {
	certs, _ := testCerts(t, "mail.example.org")
	l := start(t, Options{TLS: NewTLS(certs, Profile{}), Implicit: true})
	roots := x509.NewCertPool()
	roots.AddCert(certs.Leaves()[0])
	c := tls.Client(dial(t, l), &tls.Config{RootCAs: roots, ServerName: "mail.example.org"})
	if got := line(t, c); got != "hello 127.0.0.1" {
		t.Fatal(got)
	}
	// A client that does not use TLS ends only its own connection.
	bad := dial(t, l)
	io.WriteString(bad, "EHLO x\r\n")
	io.Copy(io.Discard, bad)
	c2 := tls.Client(dial(t, l), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11})
	if err := c2.Handshake(); err == nil {
		t.Error("TLS 1.1 is accepted by default")
	}
}

func TestNoTickets(t *testing.T) {
	certs, _ := testCerts(t, "mail.example.org")
	l := start(t, Options{TLS: NewTLS(certs, Profile{}), Implicit: true})
	cache := tls.NewLRUClientSessionCache(8)
	for range 2 {
		c := tls.Client(dial(t, l), &tls.Config{InsecureSkipVerify: true, ServerName: "x", ClientSessionCache: cache})
		line(t, c)
		if c.ConnectionState().DidResume {
			t.Fatal("session resumed")
		}
	}
	if _, ok := cache.Get("x"); ok {
		t.Fatal("a ticket was given")
	}
}

func TestLegacy(t *testing.T) {
	certs, _ := testCerts(t, "mail.example.org")
	profile, err := ParseProfile("1.0", []string{"TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"}, "2999-12-31")
	if err != nil {
		t.Fatal(err)
	}
	tl := NewTLS(certs, profile)
	l := start(t, Options{TLS: tl, Implicit: true})
	old := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10,
		CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}}
	c := tls.Client(dial(t, l), old)
	if got := line(t, c); got != "hello 127.0.0.1" {
		t.Fatal(got)
	}
	if n := tl.Used.Load(); n != 1 {
		t.Fatalf("legacy use counted %d times", n)
	}
	// The profile no longer applies after its last day.
	profile.Until = time.Now().Add(-time.Hour)
	over := start(t, Options{TLS: NewTLS(certs, profile), Implicit: true})
	if err := tls.Client(dial(t, over), old).Handshake(); err == nil {
		t.Error("legacy TLS after its last day")
	}
}

func TestParseProfile(t *testing.T) {
	for name, tt := range map[string]struct {
		min, suite, until string
		ok                bool
	}{
		"nothing said":        {"", "", "", true},
		"1.3":                 {"1.3", "", "", true},
		"1.0 without an end":  {"1.0", "", "", false},
		"1.0 with an end":     {"1.0", "", "2027-06-30", true},
		"weak suite, no end":  {"1.2", "TLS_RSA_WITH_3DES_EDE_CBC_SHA", "", false},
		"weak suite, an end":  {"1.2", "tls_rsa_with_3des_ede_cbc_sha", "2027-06-30", true},
		"unknown suite":       {"", "TLS_NULL", "", false},
		"unknown version":     {"2.0", "", "", false},
		"day in another form": {"", "", "30.6.2027", false},
	} {
		var suites []string
		if tt.suite != "" {
			suites = []string{tt.suite}
		}
		if _, err := ParseProfile(tt.min, suites, tt.until); (err == nil) != tt.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCertsReload(t *testing.T) {
	dir := t.TempDir()
	pairs := []Pair{}
	for _, n := range []string{"one.example.org", "two.example.org"} {
		p, err := SelfSigned(filepath.Join(dir, n), zerolog.Nop(), n)
		if err != nil {
			t.Fatal(err)
		}
		pairs = append(pairs, p)
	}
	c, err := LoadCerts(pairs, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	name := func(sni string) string {
		t.Helper()
		cert, err := c.Certificate(&tls.ClientHelloInfo{ServerName: sni})
		if err != nil {
			t.Fatal(err)
		}
		return cert.Leaf.Subject.CommonName
	}
	for sni, want := range map[string]string{"": "one.example.org", "two.example.org": "two.example.org", "other.example": "one.example.org"} {
		if got := name(sni); got != want {
			t.Errorf("SNI %q: %s, want %s", sni, got, want)
		}
	}
	if err := os.WriteFile(pairs[0].Cert, []byte("half a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := name(""); got != "one.example.org" {
		t.Errorf("with a broken file: %s", got)
	}
	fresh, err := SelfSigned(filepath.Join(dir, "new"), zerolog.Nop(), "new.example.org")
	if err != nil {
		t.Fatal(err)
	}
	os.Rename(fresh.Cert, pairs[0].Cert)
	if got := name(""); got != "new.example.org" {
		t.Errorf("after the change: %s", got)
	}
}

func TestSelfSignedStays(t *testing.T) {
	dir := t.TempDir()
	p, err := SelfSigned(dir, zerolog.Nop(), "a.example.org", "localhost", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(p.Cert)
	if _, err := SelfSigned(dir, zerolog.Nop(), "a.example.org", "localhost"); err != nil {
		t.Fatal(err)
	}
	if after, _ := os.ReadFile(p.Cert); string(after) != string(before) {
		t.Error("a good certificate was replaced")
	}
	if _, err := SelfSigned(dir, zerolog.Nop(), "b.example.org"); err != nil {
		t.Fatal(err)
	}
	if after, _ := os.ReadFile(p.Cert); string(after) == string(before) {
		t.Error("a certificate without the name was kept")
	}
	if fi, _ := os.Stat(p.Key); fi.Mode().Perm() != 0o600 {
		t.Errorf("key mode %v", fi.Mode())
	}
}

func TestSockets(t *testing.T) {
	s := NewSockets()
	defer s.Close()
	a, err := s.Listen("inbound", "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.Listen("inbound", "tcp", "127.0.0.1:0") // as a reload does
	if err != nil {
		t.Fatal(err)
	}
	if a.Addr().String() != b.Addr().String() {
		t.Errorf("%s, then %s", a.Addr(), b.Addr())
	}
	c, err := net.Dial("tcp", a.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	a.Close() // the old listener closes; waiting clients go to the new one
	got, err := b.Accept()
	if err != nil {
		t.Fatal(err)
	}
	got.Close()
	other, err := s.Listen("other", "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if other.Addr().String() == b.Addr().String() {
		t.Error("two listeners got one socket")
	}
	other.Close()
	s.Sweep() // the first configuration uses all of them
	late, err := s.Listen("late", "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	late.Close()
	s.Undo() // the next configuration failed
	if c, err := net.Dial("tcp", late.Addr().String()); err == nil {
		c.Close()
		t.Error("the socket of a failed configuration is still open")
	}
	if c, err := net.Dial("tcp", b.Addr().String()); err != nil {
		t.Errorf("a socket of the running configuration was closed: %v", err)
	} else {
		c.Close()
	}
	s.Sweep() // none was used since the last Sweep
	b.Close()
	if c, err := net.Dial("tcp", b.Addr().String()); err == nil {
		c.Close()
		t.Error("socket open after Sweep")
	}
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "lmtp.sock")
	s := NewSockets()
	l, err := s.Listen("local", "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewSockets().Listen("local", "unix", path); err == nil {
		t.Fatal("took the socket of a living process")
	}
	l.Close()
	s.Close()
	if _, err := os.Stat(path); err == nil {
		t.Error("socket file left behind")
	}
	// A socket left by a killed process does not prevent the next start.
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	s = NewSockets()
	defer s.Close()
	if l, err = s.Listen("local", "unix", path); err != nil {
		t.Fatal(err)
	}
	l.Close()
}

func TestSystemdSocket(t *testing.T) {
	s := NewSockets()
	defer s.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	s.inherit(f, "smtp")
	byName, err := s.Listen("inbound", "systemd", "smtp")
	if err != nil {
		t.Fatal(err)
	}
	byAddr, err := s.Listen("inbound", "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	byName.Close()
	byAddr.Close()
	if _, err := s.Listen("inbound", "systemd", "imap"); err == nil {
		t.Error("made up a socket")
	}
}

func TestNotify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	if err := Notify("READY=1"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	n, err := c.Read(b)
	if err != nil || string(b[:n]) != "READY=1" {
		t.Fatalf("%q %v", b[:n], err)
	}
}

// Work is cancelled if its client has hung up, and continues if the client is
// waiting.
func TestWatched(t *testing.T) {
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := New(socket, Options{Log: zerolog.Nop()})
	ended := make(chan error, 1)
	run(t, l, func(c *Conn) {
		defer c.Close()
		ctx, stop := c.Watched(context.Background())
		defer stop()
		io.WriteString(c, "begun\r\n")
		select {
		case <-ctx.Done():
			ended <- ctx.Err()
		case <-time.After(20 * time.Second):
			ended <- nil
		}
	})
	c := dial(t, l)
	line(t, c)
	select {
	case <-ended:
		t.Fatal("ended although the client waits")
	case <-time.After(2*watchEvery + watchEvery/2):
	}
	c.Close()
	if err := <-ended; err == nil && runtime.GOOS == "linux" {
		t.Error("went on for a client that has hung up")
	}
}
