package forward

import (
	"reflect"
	"slices"

	"hoplite/internal/conf"
)

// Inherit takes over what previous learned about the servers that both
// upstreams have: which are down and why, the extensions that they offer or
// refuse, and the recipients that exist. Messages that were sent under the same
// rate count toward it. A server that is down may be tried again immediately,
// because the reload may follow a repair. Inherit must be called before any mail
// is sent.
func (u *Upstream) Inherit(previous *Upstream) {
	if slices.Equal(u.cfg.Servers, previous.cfg.Servers) {
		if u.rcpts.memory.path == previous.rcpts.memory.path {
			u.rcpts.memory = previous.rcpts.memory
			u.rcpts.memory.rcpts.Resize(max(u.cfg.KnownMax, 1))
		}
		if u.cfg.Rate == previous.cfg.Rate {
			u.pace = previous.pace
		}
	}
	if u.quota != nil && previous.quota != nil && u.quota.path == previous.quota.path {
		u.quota = previous.quota.limited(u.cfg.RecipientsPerDay)
	}
	if !u.connectsLike(previous) {
		return
	}
	for _, e := range u.servers.list {
		for _, old := range previous.servers.list {
			if e.server.same(old.server) {
				e.inherit(&u.net, old)
			}
		}
	}
	if u.mx != nil && previous.mx != nil {
		for _, key := range previous.mx.pools.Keys() { // the least recently used first
			if old, ok := previous.mx.pools.Peek(key); ok {
				p := u.net.newPool(old.server, key.need)
				p.inherit(old)
				u.mx.pools.Add(key, p)
			}
		}
	}
}

// connectsLike reports whether u connects to a server in the same way as other.
func (u *Upstream) connectsLike(other *Upstream) bool {
	return reflect.DeepEqual(u.cfg.connection(), other.cfg.connection())
}

// connection returns the part of the configuration on which the outcome of a
// connection depends.
func (c *Config) connection() Config {
	auth := c.Auth
	if auth != nil && auth.OAuth2 != nil {
		login, tokens := *auth, *auth.OAuth2
		tokens.Pos = conf.Pos{} // the place in the file makes no difference
		login.OAuth2, auth = &tokens, &login
	}
	return Config{
		MX: c.MX, Port: c.Port, Source: c.Source, Family: c.Family, AllowLoopback: c.AllowLoopback,
		TLS: c.TLS, TLSMin: c.TLSMin, TLSSuites: c.TLSSuites, TLSLegacyUntil: c.TLSLegacyUntil,
		Auth: auth, Certificate: c.Certificate, Disable: c.Disable, TellClient: c.TellClient, Helo: c.Helo,
	}
}

// same reports whether two entries of servers refer to the same server.
func (s *server) same(other *server) bool {
	a, b := *s, *other
	a.weight, b.weight = 0, 0
	return a == b
}

// inherit creates the pools of the addresses that old has looked up.
func (e *endpoint) inherit(n *network, old *endpoint) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var pools []*pool
	for _, was := range old.seen() {
		s := *was.server
		s.weight = e.server.weight
		need := requirementFor(n.cfg, &s)
		if need != was.need {
			continue
		}
		p := n.newPool(&s, need)
		p.inherit(was)
		pools = append(pools, p)
	}
	if len(pools) > 0 {
		e.pools = pools
	}
}

// inherit copies the state of the server.
func (p *pool) inherit(old *pool) {
	old.mu.Lock()
	defer old.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken, p.why, p.down, p.caps, p.seen = old.broken, old.why, old.down, old.caps, old.seen
}
