package acme

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"hoplite/internal/acme/acmetest"
)

// The probe succeeds if requests to the public port arrive here.
func TestProbe(t *testing.T) {
	free := func() int {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return l.Addr().(*net.TCPAddr).Port
	}
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	busy := other.Listener.Addr().(*net.TCPAddr).Port
	here, closed := free(), free()
	for _, tt := range []struct {
		name           string
		listen, public int
		addrs          []string
		dns            error
		want           string // "": the challenge can work
	}{
		{"arrives here", here, here, []string{"127.0.0.1"}, nil, ""},
		{"a server already listens", busy, busy, []string{"127.0.0.1"}, nil, ""},
		{"another server answers", here, busy, []string{"127.0.0.1"}, nil, "another server answers"},
		{"the port is closed", here, closed, []string{"127.0.0.1"}, nil, "connection refused"},
		{"two addresses", here, here, []string{"127.0.0.1", "127.0.0.2"}, nil, ""},
		{"no address", here, here, nil, nil, "has no address in DNS"},
		{"no DNS", here, here, nil, errors.New("no answer"), "no answer"},
	} {
		lookup := func(_ context.Context, host string) (list []netip.Addr, err error) {
			if host != "mail.example.org" {
				t.Errorf("%s: looked up %s", tt.name, host)
			}
			for _, a := range tt.addrs {
				list = append(list, netip.MustParseAddr(a))
			}
			return list, tt.dns
		}
		err := (&Config{HTTPPort: tt.listen}).probe(t.Context(), "mail.example.org", lookup, tt.public)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// With reuse_key, a renewed certificate has the same key, so that TLSA records
// remain valid; otherwise it has a new one.
func TestReuseKey(t *testing.T) {
	for _, reuse := range []bool{true, false} {
		a, data := acmetest.New(t), t.TempDir()
		c := configFor(a)
		c.Challenge, c.ReuseKey = "http", reuse
		m := manager(t, c, data, "mail.example.org")
		start(t, m)
		first := await(t, m, "mail.example.org", nil)
		if err := m.Renew(t.Context(), "mail.example.org"); err != nil {
			t.Fatal(err)
		}
		second := await(t, m, "mail.example.org", first)
		if same := string(first.Leaf.RawSubjectPublicKeyInfo) == string(second.Leaf.RawSubjectPublicKeyInfo); same != reuse {
			t.Errorf("reuse_key = %v: the same key %v", reuse, same)
		}
	}
}
