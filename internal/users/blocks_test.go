package users

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// Networks and accounts are listed while their next login is delayed, and can be
// unblocked separately.
func TestBlocks(t *testing.T) {
	ctx := context.Background()
	fail := func(th *Throttle, from, account string, n int) {
		for range n {
			if try, err := th.Begin(ctx, netip.MustParseAddr(from), account); err == nil {
				try.Failed(ctx)
			}
		}
	}
	names := func(th *Throttle) (list []string) {
		for _, b := range th.Blocks() {
			list = append(list, b.Name())
		}
		return list
	}
	synctest.Test(t, func(t *testing.T) {
		th := NewThrottle()
		if fail(th, "192.0.2.7", "ann@example.org", freeByAddr-1); len(th.Blocks()) != 0 {
			t.Errorf("free failures block: %v", names(th))
		}
		fail(th, "192.0.2.7", "ann@example.org", 1)
		b := th.Blocks()
		if len(b) != 1 || b[0].Network != "192.0.2.7/32" || b[0].Account != "" || b[0].Failures != freeByAddr || b[0].Refused || !b[0].Until.After(time.Now()) {
			t.Errorf("%+v", b)
		}
		fail(th, "2001:db8::1", "ann@example.org", freeByAccount)
		if got := names(th); len(got) == 0 || got[0] != "ann@example.org" {
			t.Errorf("the longest delay first: %v", got)
		}
		for _, c := range []struct {
			name    string
			unblock func() bool
			want    bool
		}{
			{"another account", func() bool { return th.UnblockAccount("bob@example.org") }, false},
			{"no account", func() bool { return th.UnblockAccount("") }, false},
			{"the account", func() bool { return th.UnblockAccount("ann@example.org") }, true},
			{"the account again", func() bool { return th.UnblockAccount("ann@example.org") }, false},
			{"another network", func() bool { return th.UnblockNetwork(netip.MustParsePrefix("198.51.100.0/24")) }, false},
			{"an address in the network", func() bool { return th.UnblockNetwork(netip.MustParsePrefix("2001:db8::77/128")) }, true},
			{"a larger network", func() bool { return th.UnblockNetwork(netip.MustParsePrefix("192.0.0.0/16")) }, true},
		} {
			if got := c.unblock(); got != c.want {
				t.Errorf("%s: %v", c.name, got)
			}
		}
		if got := names(th); len(got) != 0 {
			t.Errorf("left: %v", got)
		}
		if th.Refused(netip.MustParseAddr("2001:db8::1"), "ann@example.org") {
			t.Error("still refused")
		}
		fail(th, "192.0.2.7", "ann@example.org", 20)
		if b := th.Blocks(); len(b) == 0 || !b[0].Refused {
			t.Errorf("after many failures: %+v", b)
		}
		if n := th.UnblockAll(); n == 0 || len(th.Blocks()) != 0 {
			t.Errorf("all: %d, %v", n, names(th))
		}
		fail(th, "192.0.2.7", "ann@example.org", freeByAddr)
		time.Sleep(longestDelay)
		if got := names(th); len(got) != 0 {
			t.Errorf("after the delay: %v", got)
		}
	})
}
