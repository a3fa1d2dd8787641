package relay

import (
	"net/netip"
	"strings"
	"sync"
	"time"
)

// If a proxy does not pass on its clients' addresses, all of them appear to be
// one trusted client, for which sender checks are skipped.
const (
	proxyNames  = 20 // number of HELO names from one address that suggests a proxy
	proxyWindow = 24 * time.Hour
)

// proxyWatch detects a trusted address that most clients appear to share. Each
// connection counts as one client.
type proxyWatch struct {
	mu     sync.Mutex
	since  time.Time
	names  map[netip.Addr]map[string]struct{} // HELO names of trusted addresses
	others int                                // connections from other addresses
	warned map[netip.Addr]bool
}

// add counts a client that may not relay. If the address is trusted, has used many
// HELO names, and is the source of most connections, add returns the number of
// names, once a day; otherwise it returns 0.
func (w *proxyWatch) add(addr netip.Addr, trusted bool, helo string, now time.Time) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.names == nil || now.Sub(w.since) > proxyWindow {
		w.since, w.others = now, 0
		w.names, w.warned = map[netip.Addr]map[string]struct{}{}, map[netip.Addr]bool{}
	}
	if !trusted {
		w.others++
		return 0
	}
	names := w.names[addr]
	if names == nil {
		names = map[string]struct{}{}
		w.names[addr] = names
	}
	if len(names) < 10*proxyNames {
		names[strings.ToLower(helo)] = struct{}{}
	}
	if len(names) < proxyNames || len(names) <= w.others || w.warned[addr] {
		return 0
	}
	w.warned[addr] = true
	return len(names)
}
