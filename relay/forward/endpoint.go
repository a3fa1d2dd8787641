package forward

import (
	"cmp"
	"context"
	"iter"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"

	"hoplite/internal/resolve"
)

// endpoint is one entry of servers: a socket, an address, or a name that may
// have several addresses. Each address has its own pool, so that an address
// that refuses mail does not affect the others.
type endpoint struct {
	server *server

	mu    sync.Mutex
	pools []*pool // from the last look-up
}

// newEndpoint creates an endpoint. Sockets and addresses get their pool
// immediately.
func newEndpoint(n *network, s *server) *endpoint {
	e := &endpoint{server: s}
	if !s.isName() || n.dns == nil {
		e.pools = []*pool{n.newPool(s, requirementFor(n.cfg, s))}
	}
	return e
}

// isName reports whether a server's name must be looked up.
func (s *server) isName() bool {
	_, err := netip.ParseAddr(s.host)
	return s.network == "tcp" && err != nil
}

// current returns the pools of the endpoint. While DNS does not answer, the
// pools from the last answer are used.
func (e *endpoint) current(ctx context.Context, n *network) ([]*pool, error) {
	if !e.server.isName() || n.dns == nil {
		return e.pools, nil
	}
	addrs, err := resolve.LookupHosts(ctx, n.dns, e.server.host)
	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil {
		if len(e.pools) > 0 {
			return e.pools, nil
		}
		return nil, &stageError{stage: "DNS", host: e.server.host, err: err}
	}
	e.update(n, addrs)
	return e.pools, nil
}

// update replaces the pools with those for addrs.
func (e *endpoint) update(n *network, addrs []netip.Addr) {
	_, port, _ := net.SplitHostPort(e.server.address)
	var now []*pool
	for _, a := range addrs {
		if !n.dialer.usesFamily(a) {
			continue
		}
		address := net.JoinHostPort(a.String(), port)
		i := slices.IndexFunc(e.pools, func(p *pool) bool { return p.server.address == address })
		if i >= 0 {
			now = append(now, e.pools[i])
			continue
		}
		s := *e.server
		s.address = address
		now = append(now, n.newPool(&s, requirementFor(n.cfg, &s)))
	}
	for _, p := range e.pools {
		if !slices.Contains(now, p) {
			p.close()
		}
	}
	e.pools = now
}

// seen returns the current pools without a look-up.
func (e *endpoint) seen() []*pool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.pools
}

// servers holds the configured endpoints of an upstream.
type servers struct {
	net  *network
	list []*endpoint
}

func newServers(n *network, urls []string) (servers, error) {
	all := servers{net: n}
	for _, text := range urls {
		s, err := parseServer(text)
		if err != nil {
			return all, err
		}
		all.list = append(all.list, newEndpoint(n, s))
	}
	return all, nil
}

// pools returns the pools of all endpoints in the order in which they are
// tried. The error is that of a failed look-up and matters only if there are no
// pools.
func (s *servers) pools(ctx context.Context) ([]*pool, error) {
	if len(s.list) == 1 && !s.list[0].server.isName() {
		return s.list[0].pools, nil
	}
	var list []ranked
	var failed error
	for _, e := range s.list {
		pools, err := e.current(ctx, s.net)
		if err != nil {
			failed = err
		}
		list = rank(list, e.server.weight, pools)
	}
	slices.SortStableFunc(list, func(a, b ranked) int { return cmp.Compare(a.rank, b.rank) })
	out := make([]*pool, len(list))
	for i, r := range list {
		out[i] = r.pool
	}
	return out, failed
}

// known returns the pools of all servers that have been looked up so far.
func (s *servers) known() iter.Seq[*pool] {
	return func(yield func(*pool) bool) {
		for _, e := range s.list {
			for _, p := range e.seen() {
				if !yield(p) {
					return
				}
			}
		}
	}
}

func (s *servers) close() {
	for p := range s.known() {
		p.close()
	}
}

// ranked is a pool with its rank; the pool with the lowest rank is tried first.
type ranked struct {
	pool *pool
	rank float64
}

// rank adds the pools of one server. Servers are ordered at random according to
// their weights, followed by reserves (weight 0) and finally by resting
// servers. The addresses of a server share one rank and keep their DNS order.
func rank(list []ranked, weight int, pools []*pool) []ranked {
	place := 2.0
	if weight > 0 {
		// With exponential variates, the probability of having the lowest rank
		// is proportional to the weight.
		place = 1 - 1/(1+rand.ExpFloat64()/float64(weight))
	}
	for _, p := range pools {
		r := ranked{p, place}
		if p.resting() != nil {
			r.rank += 4
		}
		list = append(list, r)
	}
	return list
}
