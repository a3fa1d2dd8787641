package forward

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sort"
	"strconv"

	"hoplite/internal/resolve"
	"hoplite/mail"
)

// maxExchangers is the number of addresses tried for one domain.
const maxExchangers = 10

// exchangers looks up the servers of an address's domain (RFC 5321, 5.1) and
// returns them in the order in which they are tried.
func (u *Upstream) exchangers(ctx context.Context, to mail.Address) ([]*pool, *mail.Reply) {
	if _, literal := to.Literal(); literal {
		return nil, mail.NewReply(550, "5.1.2", "mail to address literals is not relayed")
	}
	domain := to.ASCIIDomain()
	hosts, reply := u.mxHosts(ctx, domain)
	if reply != nil {
		return nil, reply
	}
	var pools []*pool
	var temporary error
	for _, host := range hosts {
		addrs, err := resolve.LookupHosts(ctx, u.dns, host)
		if errors.Is(err, resolve.ErrTemporary) {
			temporary = err
		}
		for _, a := range addrs {
			if u.mayConnect(a) && u.dialer.usesFamily(a) {
				pools = append(pools, u.mxPool(host, a))
			}
		}
		if len(pools) >= maxExchangers {
			return pools[:maxExchangers], nil
		}
	}
	switch {
	case len(pools) > 0:
		return pools, nil
	case temporary != nil:
		return nil, &mail.Reply{Code: 451, Enhanced: "4.4.3", Text: "DNS gave no answer for the mail servers of " + domain, Cause: temporary}
	}
	return nil, mail.NewReply(550, "5.4.4", "no mail server of %s has a usable address", domain)
}

// mxHosts returns the names of a domain's servers, best first, those of equal
// preference in random order.
func (u *Upstream) mxHosts(ctx context.Context, domain string) ([]string, *mail.Reply) {
	answer, err := u.dns.Lookup(ctx, domain, resolve.MX)
	switch {
	case errors.Is(err, resolve.ErrNotFound):
		var e *resolve.Error
		if errors.As(err, &e) && e.NoDomain {
			return nil, mail.NewReply(550, "5.1.2", "the domain %s does not exist", domain)
		}
		return []string{domain}, nil // the implicit MX
	case err != nil:
		return nil, &mail.Reply{Code: 451, Enhanced: "4.4.3", Text: "DNS gave no answer for " + domain, Cause: err}
	}
	mx := append([]resolve.Record(nil), answer.Records...)
	if len(mx) == 1 && mx[0].Host == "" {
		return nil, mail.NewReply(556, "5.1.10", "the domain %s accepts no mail (null MX)", domain)
	}
	rand.Shuffle(len(mx), func(i, j int) { mx[i], mx[j] = mx[j], mx[i] })
	sort.SliceStable(mx, func(i, j int) bool { return mx[i].Pref < mx[j].Pref })
	var hosts []string
	for i, r := range mx {
		if u.own != nil && u.own(r.Host) {
			// Servers of our own preference and worse could send it back to us
			// (RFC 5321, 5.1).
			for i > 0 && mx[i-1].Pref == r.Pref {
				i--
				hosts = hosts[:len(hosts)-1]
			}
			if len(hosts) == 0 {
				return nil, mail.NewReply(550, "5.4.6", "the best mail server of %s is this one, but no route leads there", domain)
			}
			return hosts, nil
		}
		hosts = append(hosts, r.Host)
	}
	return hosts, nil
}

// mayConnect reports whether DNS may send us to an address.
func (u *Upstream) mayConnect(a netip.Addr) bool {
	if a.IsLoopback() || a.IsUnspecified() {
		return u.cfg.AllowLoopback
	}
	return !a.IsMulticast() && !a.IsLinkLocalUnicast()
}

// poolKey identifies connections that are interchangeable.
type poolKey struct {
	host, address string
	need          requirement
}

func (u *Upstream) mxPool(host string, a netip.Addr) *pool {
	address := net.JoinHostPort(a.String(), strconv.Itoa(u.cfg.Port))
	s := &server{network: "tcp", address: address, host: host, weight: 1}
	key := poolKey{host, address, requirementFor(&u.cfg, s)}
	if p, ok := u.byMX.Get(key); ok {
		return p
	}
	p := u.newPool(s)
	if old, ok, _ := u.byMX.PeekOrAdd(key, p); ok {
		return old
	}
	return p
}
