package config

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestProxied(t *testing.T) {
	c := &Config{Data: t.TempDir()}
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	if list := c.Proxied(now); list != nil {
		t.Errorf("without a file: %v", list)
	}
	if err := os.Mkdir(filepath.Join(c.Data, "state"), 0o700); err != nil {
		t.Fatal(err)
	}
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("::1")
	for _, note := range []struct {
		addr netip.Addr
		ago  time.Duration
	}{{a, 48 * time.Hour}, {b, 24 * time.Hour}, {a, 0}} {
		if err := c.NoteProxied(note.addr, now.Add(-note.ago)); err != nil {
			t.Fatal(err)
		}
	}
	list := c.Proxied(now)
	if len(list) != 2 || list[0] != (Proxied{a, now}) || list[1].Addr != b {
		t.Errorf("%v", list)
	}
	if list := c.Proxied(now.Add(7*24*time.Hour - time.Minute)); len(list) != 1 || list[0].Addr != a {
		t.Errorf("a week later: %v", list)
	}
	for i := range 20 {
		if err := c.NoteProxied(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), now); err != nil {
			t.Fatal(err)
		}
	}
	if list := c.Proxied(now); len(list) != maxProxied {
		t.Errorf("%d are recorded", len(list))
	}
	if err := os.WriteFile(c.proxiedFile(), []byte("x\n192.0.2.1 never\n\n::1 2026-11-30T11:00:00Z\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if list := c.Proxied(now); len(list) != 1 || list[0].Addr != b {
		t.Errorf("of a damaged file: %v", list)
	}
}
