package listen

import (
	"net/netip"
	"sync"
	"syscall"
)

// Limits bounds the open connections of one listener; zero means no limit. Only
// Total applies to loopback, Unix sockets and exempt networks, because a local
// proxy, gateway or NAT connects on behalf of many clients.
type Limits struct {
	Total   int // all connections
	Address int // from one IPv4 address or one IPv6 /64
	Network int // from one IPv4 /24 or one IPv6 /48
}

// Gate counts connections. Listeners with the same Gate share its maximum,
// which leaves file descriptors for other uses. Addresses are counted per
// listener.
type Gate struct {
	max int

	mu      sync.Mutex
	total   int
	readers int // connections on listeners for mail readers
	count   map[key]int
}

type key struct {
	l *Listener
	p netip.Prefix // zero: the listener's total
}

// pass holds the keys that a connection was counted under.
type pass [3]key

// NewGate returns a gate for max connections; 0 means three quarters of the
// open file limit, which leaves the rest for files and upstreams. Mail readers,
// whose connections are idle for hours, get at most three quarters of those, so
// that mail can still arrive.
func NewGate(max int) *Gate {
	if files := openFiles(); max <= 0 || max > files {
		max = files
	}
	return &Gate{max: max, count: make(map[key]int)}
}

// openFiles returns the number of file descriptors available for connections.
func openFiles() int {
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		return 768
	}
	n := min(uint64(lim.Cur), 1<<20)
	return max(min(int(n)*3/4, int(n)-reserved), 1)
}

// reserved is the number of descriptors that the process itself needs.
const reserved = 32

// Open returns the number of open connections.
func (g *Gate) Open() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.total
}

func (g *Gate) enter(l *Listener, addr netip.Addr) (pass, Reason) {
	limits := l.opts.Limits
	p := pass{{l: l}}
	if addr.IsValid() && !addr.IsLoopback() && !contains(l.opts.Exempt, addr) {
		one, many := prefixes(addr)
		p[1], p[2] = key{l, one}, key{l, many}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.total >= g.max, l.opts.Readers && g.readers >= max(g.max*3/4, 1), over(limits.Total, g.count[p[0]]):
		return pass{}, Full
	case p[1].l != nil && over(limits.Address, g.count[p[1]]):
		return pass{}, AddressFull
	case p[2].l != nil && over(limits.Network, g.count[p[2]]):
		return pass{}, NetworkFull
	}
	g.total++
	if l.opts.Readers {
		g.readers++
	}
	for _, k := range p {
		if k.l != nil {
			g.count[k]++
		}
	}
	return p, ""
}

func (g *Gate) leave(p pass) {
	if p[0].l == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.total--
	if p[0].l.opts.Readers {
		g.readers--
	}
	for _, k := range p {
		g.uncount(k)
	}
}

// forgive stops counting a connection for its address and network, and returns
// the remaining keys of its pass.
func (g *Gate) forgive(p pass) pass {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.uncount(p[1])
	g.uncount(p[2])
	return pass{p[0]}
}

// uncount decrements the count of one key. g.mu must be held.
func (g *Gate) uncount(k key) {
	if k.l == nil {
		return
	}
	if g.count[k]--; g.count[k] <= 0 {
		delete(g.count, k)
	}
}

func over(limit, n int) bool { return limit > 0 && n >= limit }

// prefixes returns the prefixes that count as one address and as one network.
// An IPv6 site has at least a /64, often a /48.
func prefixes(addr netip.Addr) (one, many netip.Prefix) {
	if addr.Is4() {
		one, _ = addr.Prefix(32)
		many, _ = addr.Prefix(24)
		return one, many
	}
	one, _ = addr.Prefix(64)
	many, _ = addr.Prefix(48)
	return one, many
}
