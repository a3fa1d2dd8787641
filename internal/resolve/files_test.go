package resolve

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

func TestResolvConf(t *testing.T) {
	servers, trusted := parseConf("# c\nnameserver 192.0.2.53\nsearch x\nnameserver fe80::1%eth0\nnameserver bad\noptions edns0 trust-ad\n")
	if fmt.Sprint(servers, trusted) != "[192.0.2.53:53 [fe80::1%eth0]:53] true" {
		t.Errorf("read %v, %v", servers, trusted)
	}
	c, err := System(filepath.Join(t.TempDir(), "none"))
	if err != nil || fmt.Sprint(c.servers) != "[127.0.0.1:53]" || !c.trusted {
		t.Errorf("without a file: %+v, %v", c, err)
	}
}

func TestHostsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(path, []byte("192.0.2.9 Upstream up # comment\n::9 upstream\nrubbish x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := NewClient(false)
	c.hosts.path = path
	if got, err := LookupHosts(context.Background(), c, "upstream"); fmt.Sprint(got) != "[::9 192.0.2.9]" {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := c.Lookup(context.Background(), "up", AAAA); !errors.Is(err, ErrNotFound) {
		t.Errorf("a name with another kind of address: %v", err)
	}
}

func TestReverse(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.1":          "1.2.0.192",
		"::ffff:192.0.2.1":   "1.2.0.192",
		"2001:db8::567:89ab": "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2",
	} {
		if got := Reverse(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %s", addr, got)
		}
	}
}
