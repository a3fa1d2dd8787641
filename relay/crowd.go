package relay

import (
	"net/netip"
	"strings"
	"sync"
	"time"
)

// A proxy that does not name its clients makes all of them look like one trusted
// client, for which sender checks are skipped.
const (
	crowdNames = 20 // different HELO names from one address are suspicious
	crowdTime  = 24 * time.Hour
)

// crowd notices a trusted address that most clients seem to come from. It counts
// each client once per connection.
type crowd struct {
	mu     sync.Mutex
	since  time.Time
	names  map[netip.Addr]map[string]struct{} // HELO names of trusted addresses
	others int                                // connections from other addresses
	warned map[netip.Addr]bool
}

// add counts a client that may not relay. It returns the number of names that
// clients at a trusted address have used, once a day, if they are many and most
// clients come from that address; otherwise 0.
func (c *crowd) add(addr netip.Addr, trusted bool, helo string, now time.Time) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.names == nil || now.Sub(c.since) > crowdTime {
		c.since, c.others = now, 0
		c.names, c.warned = map[netip.Addr]map[string]struct{}{}, map[netip.Addr]bool{}
	}
	if !trusted {
		c.others++
		return 0
	}
	names := c.names[addr]
	if names == nil {
		names = map[string]struct{}{}
		c.names[addr] = names
	}
	if len(names) < 10*crowdNames {
		names[strings.ToLower(helo)] = struct{}{}
	}
	if len(names) < crowdNames || len(names) <= c.others || c.warned[addr] {
		return 0
	}
	c.warned[addr] = true
	return len(names)
}
