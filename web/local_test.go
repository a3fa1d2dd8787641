package web

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"hoplite/internal/listen"
)

// A password may be sent only over TLS or by a program on this machine, and
// through a reverse proxy only if the configuration permits it and the proxy
// uses TLS.
func TestMayLogin(t *testing.T) {
	for _, c := range []struct {
		name    string
		remote  string
		tls     bool
		proxy   bool // reverse_proxy
		headers []string
		want    string // part of the refusal
		addr    string // address whose failures are counted
	}{
		{"this machine", "127.0.0.1:4000", false, false, nil, "", "127.0.0.1"},
		{"this machine by IPv6", "[::1]:4000", false, false, nil, "", "::1"},
		{"another machine", "192.0.2.7:4000", false, false, nil, "requires TLS, except at a loopback address", "192.0.2.7"},
		{"another machine by TLS", "192.0.2.7:4000", true, false, nil, "", "192.0.2.7"},
		{"a proxy that nobody mentioned", "127.0.0.1:4000", false, false, []string{"X-Forwarded-For", "192.0.2.7"}, "came through a reverse proxy", "127.0.0.1"},
		{"by its Forwarded field", "127.0.0.1:4000", false, false, []string{"Forwarded", "for=192.0.2.7"}, "came through a reverse proxy", "127.0.0.1"},
		{"by its Via field", "127.0.0.1:4000", false, false, []string{"Via", "1.1 nginx"}, "came through a reverse proxy", "127.0.0.1"},
		{"a proxy that says https, which nobody mentioned", "127.0.0.1:4000", false, false, []string{"X-Forwarded-Proto", "https"}, "came through a reverse proxy", "127.0.0.1"},
		{"a known proxy with TLS", "127.0.0.1:4000", false, true, []string{"X-Forwarded-For", "10.0.0.1, 192.0.2.7", "X-Forwarded-Proto", "https"}, "", "192.0.2.7"},
		{"a known proxy without TLS", "127.0.0.1:4000", false, true, []string{"X-Forwarded-For", "192.0.2.7", "X-Forwarded-Proto", "http"}, "does not report https", "192.0.2.7"},
		{"a known proxy that does not say", "127.0.0.1:4000", false, true, []string{"X-Forwarded-For", "192.0.2.7"}, "does not report https", "192.0.2.7"},
		{"a known proxy that adds to the client's field", "127.0.0.1:4000", false, true, []string{"X-Forwarded-For", "192.0.2.7", "X-Forwarded-Proto", "https", "X-Forwarded-Proto", "http"}, "does not report https", "192.0.2.7"},
		{"a client that pretends to be the proxy", "192.0.2.9:4000", false, true, []string{"X-Forwarded-For", "127.0.0.1", "X-Forwarded-Proto", "https"}, "requires TLS", "192.0.2.9"},
	} {
		r := httptest.NewRequest("POST", "http://localhost/login", nil)
		r.RemoteAddr = c.remote
		if c.tls {
			r.TLS = &tls.ConnectionState{}
		}
		for i := 0; i < len(c.headers); i += 2 {
			r.Header.Set(c.headers[i], c.headers[i+1])
		}
		s := &Server{cfg: Config{ReverseProxy: c.proxy}}
		got := s.mayLogin(r)
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		if a := s.loginAddr(r); a != netip.MustParseAddr(c.addr) {
			t.Errorf("%s: failures are counted for %s, want %s", c.name, a, c.addr)
		}
	}
}

// On a listener that other machines can reach, a loopback client is not local,
// because it may be a proxy.
func TestLoginByListener(t *testing.T) {
	for address, want := range map[string]int{"127.0.0.1:0": http.StatusOK, "0.0.0.0:0": http.StatusForbidden} {
		s, err := New(Config{}, Env{Hostname: "mail.example.org", Log: zerolog.Nop(), Login: func(context.Context, netip.Addr, string, string) (Account, error) { return Account{}, ErrLogin }})
		if err != nil {
			t.Fatal(err)
		}
		socket, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		l := listen.New(socket, listen.Options{Name: "web", Log: zerolog.Nop()})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- l.Run(ctx, func(c *listen.Conn) { s.Handle(ctx, c) }) }()
		_, port, _ := net.SplitHostPort(socket.Addr().String())
		for path, status := range map[string]int{"/login": want, "/": http.StatusOK} {
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			res, err := client.Get("http://127.0.0.1:" + port + path)
			if err != nil {
				t.Fatal(err)
			}
			text, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if path == "/" && want == http.StatusForbidden {
				// The page redirects to the login page, which explains the
				// problem.
				status = http.StatusForbidden
			}
			if res.StatusCode != status {
				t.Errorf("%s at %s: %d, want %d\n%s", path, address, res.StatusCode, status, text)
			}
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		s.Close()
	}
}
