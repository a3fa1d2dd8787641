package listen

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
)

func TestSessions(t *testing.T) {
	var x Sessions[string]
	for _, s := range []string{"a", "b", "c"} {
		if !x.Enter(s) {
			t.Fatalf("%s was not admitted", s)
		}
	}
	x.Leave("b")
	x.Leave("b")
	stopped := map[string]int{}
	x.Shutdown(func(s string) { stopped[s]++ })
	if fmt.Sprint(stopped) != "map[a:1 c:1]" {
		t.Errorf("stopped %v", stopped)
	}
	if x.Enter("d") {
		t.Error("a session began while the server was stopping")
	}
}

func TestTally(t *testing.T) {
	var y Tally
	for i, step := range []struct {
		account string
		leave   bool
		ok      bool
	}{
		{account: "ann", ok: true}, {account: "ann", ok: true}, {account: "ann"},
		{account: "bob", ok: true},
		{account: "ann", leave: true}, {account: "ann", ok: true}, {account: "ann"},
	} {
		if step.leave {
			y.Leave(step.account)
		} else if got := y.Enter(step.account, 2); got != step.ok {
			t.Errorf("step %d: %v, want %v", i, got, step.ok)
		}
	}
	y.Leave("bob")
	if _, kept := y.count["bob"]; kept {
		t.Error("an account without sessions is still counted")
	}
}

func TestTallyInParallel(t *testing.T) {
	var y Tally
	var wg sync.WaitGroup
	var mu sync.Mutex
	admitted := 0
	for range 50 {
		wg.Go(func() {
			if y.Enter("ann", 7) {
				mu.Lock()
				defer mu.Unlock()
				admitted++
			}
		})
	}
	if wg.Wait(); admitted != 7 {
		t.Errorf("%d sessions, want 7", admitted)
	}
}

func TestPrefixes(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.77":           "192.0.2.77/32 192.0.2.0/24",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64 2001:db8:1::/48",
		"2001:db8:1:ffff::1":   "2001:db8:1:ffff::/64 2001:db8:1::/48",
		"198.51.100.255":       "198.51.100.255/32 198.51.100.0/24",
	} {
		one, many := prefixes(netip.MustParseAddr(addr))
		if got := fmt.Sprint(one, " ", many); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
}

// leave undoes everything that enter has counted, and a refused connection is
// not counted.
func TestGateKeys(t *testing.T) {
	l := &Listener{opts: Options{Limits: Limits{Total: 10, Address: 2, Network: 3}}}
	g := NewGate(6)
	var passes []pass
	for i, step := range []struct {
		addr string
		want Reason
	}{
		{"192.0.2.1", ""}, {"192.0.2.1", ""}, {"192.0.2.1", AddressFull},
		{"192.0.2.2", ""}, {"192.0.2.3", NetworkFull},
		{"127.0.0.1", ""}, {"127.0.0.1", ""}, {"127.0.0.1", ""},
		{"198.51.100.1", Full},
	} {
		p, reason := g.enter(l, netip.MustParseAddr(step.addr))
		if reason != step.want {
			t.Errorf("step %d: %q, want %q", i, reason, step.want)
		}
		passes = append(passes, p)
	}
	if g.Open() != 6 {
		t.Errorf("%d open", g.Open())
	}
	for _, p := range passes {
		g.leave(p)
	}
	if g.Open() != 0 || len(g.count) != 0 {
		t.Errorf("%d open, %v counted", g.Open(), g.count)
	}
}
