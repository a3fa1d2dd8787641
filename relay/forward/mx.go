package forward

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sort"
	"strconv"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"hoplite/internal/resolve"
	"hoplite/mail"
	"hoplite/mail/tlsrpt"
	"hoplite/relay/forward/dane"
	"hoplite/relay/forward/mtasts"
	"hoplite/relay/forward/tlsresults"
)

// maxExchangers is the maximum number of addresses tried for one domain.
const maxExchangers = 10

// exchangers finds the mail servers of other domains in DNS.
type exchangers struct {
	net *network
	own func(host string) bool // nil: no host is this server
	sts *mtasts.Cache          // nil: MTA-STS is not used
	// results counts the results of TLS sessions; nil: they are not counted.
	results *tlsresults.Store
	pools   *lru.Cache[poolKey, *pool]
}

// maxMXPools is the maximum number of servers with a pool.
const maxMXPools = 2000

func newExchangers(n *network, env Env) *exchangers {
	x := &exchangers{net: n, own: env.Own, sts: n.newSTS(env), results: env.Results}
	x.pools, _ = lru.NewWithEvict(maxMXPools, func(_ poolKey, p *pool) { p.close() })
	return x
}

// find looks up the servers of an address's domain (RFC 5321, 5.1) and the
// requirements on connections to them. It returns their pools in the order in
// which they are tried, and the recorder of their TLS sessions. If lax is set, the
// message asks to be delivered even without TLS (TLS-Required: No, RFC 8689).
func (x *exchangers) find(ctx context.Context, to mail.Address, lax bool) ([]*pool, *sessions, *mail.Reply) {
	if _, literal := to.Literal(); literal {
		return nil, nil, mail.NewReply(550, "5.1.2", "mail to address literals is not relayed")
	}
	d := destination{x: x, domain: to.ASCIIDomain(), lax: lax, own: x.net.policies.For(to, time.Now())}
	hosts, authentic, reply := x.hosts(ctx, d.domain)
	if reply != nil {
		return nil, nil, reply
	}
	replaced := lax || d.own != nil && d.own.Until != ""
	d.authentic = authentic && x.net.cfg.TLS != "off" && !replaced
	if x.sts != nil && !replaced {
		d.policy, d.sts = x.sts.Lookup(ctx, d.domain)
	}
	if x.results != nil && !replaced {
		d.watch()
	}
	for _, host := range hosts {
		d.add(ctx, host)
		if len(d.pools) >= maxExchangers {
			return d.pools[:maxExchangers], d.sessions, nil
		}
	}
	pools, reply := d.result()
	return pools, d.sessions, reply
}

// destination is the state of a search for the servers of one domain.
type destination struct {
	x         *exchangers
	domain    string
	authentic bool // the MX records are authentic, so DANE applies
	sts       bool // the domain has an MTA-STS policy
	policy    mtasts.Policy
	own       *PolicyConfig // our policy for the destination; nil: none
	lax       bool          // the message does not require TLS
	sessions  *sessions     // nil: not recorded

	pools     []*pool
	temporary error // why a server could not be looked up
	refused   error // why a server must not be used
}

// add adds the addresses of one server.
func (d *destination) add(ctx context.Context, host string) {
	h, err := lookupHost(ctx, d.x.net.dns, host)
	if errors.Is(err, resolve.ErrTemporary) {
		d.temporary = err
	}
	if len(h.addrs) == 0 {
		return
	}
	s := &server{network: "tcp", host: host, weight: 1}
	need := requirementFor(d.x.net.cfg, s)
	raised := false
	if d.authentic && h.authentic {
		records, base, err := dane.Lookup(ctx, d.x.net.dns, h.name, host, d.x.net.cfg.Port)
		if err != nil {
			d.temporary = err // continuing without it would help an attacker
			d.sessions.refused(tlsrpt.Policy{Type: tlsrpt.TLSA, Domain: d.domain, MX: tlsrpt.Strings{host}}, tlsrpt.DNSSECInvalid, host, nil)
			return
		}
		if raised = !records.None(); raised {
			need = need.withDANE(records, base, host, d.domain)
		}
	}
	if d.sts && !raised && !d.policy.Allows(host) && d.sessions != nil {
		d.sessions.refused(d.sessions.stsPolicy(), tlsrpt.ValidationFailure, host, nil)
	}
	if d.sts && !raised && d.policy.Mode == mtasts.Enforce {
		if !d.policy.Allows(host) {
			d.refused = fmt.Errorf("the MTA-STS policy of %s does not list its mail server %s", d.domain, host)
			return
		}
		need = need.withSTS()
	}
	if d.lax && need.least == clearText {
		need.policy = "not required by the message"
	}
	if d.own != nil {
		need = need.withPolicy(d.own)
	}
	for _, a := range h.addrs {
		if d.x.net.mayConnect(a) {
			d.pools = append(d.pools, d.x.pool(host, a, need))
		}
	}
}

// watch prepares the recording of TLS sessions, and records that the MTA-STS
// policy could not be fetched.
func (d *destination) watch() {
	d.sessions = &sessions{add: d.x.results.Add, domain: d.domain}
	if d.sts {
		d.sessions.sts = &d.policy
		return
	}
	if d.x.sts == nil {
		return
	}
	err := d.x.sts.Failed(d.domain)
	var certificate *tls.CertificateVerificationError
	switch {
	case err == nil:
	case errors.Is(err, mtasts.ErrInvalid):
		d.sessions.refused(d.sessions.stsPolicy(), tlsrpt.STSPolicyInvalid, "", err)
	case errors.As(err, &certificate):
		d.sessions.refused(d.sessions.stsPolicy(), tlsrpt.STSWebPKIInvalid, "", err)
	default:
		d.sessions.refused(d.sessions.stsPolicy(), tlsrpt.STSFetchError, "", err)
	}
}

func (d *destination) result() ([]*pool, *mail.Reply) {
	switch {
	case len(d.pools) > 0:
		return d.pools, nil
	case d.temporary != nil:
		return nil, &mail.Reply{Code: 451, Enhanced: "4.4.3", Text: "DNS gave no answer for the mail servers of " + d.domain, Cause: d.temporary}
	case d.refused != nil:
		return nil, &mail.Reply{Code: 451, Enhanced: "4.7.5", Text: d.refused.Error(), Cause: d.refused}
	}
	return nil, mail.NewReply(550, "5.4.4", "no mail server of %s has a usable address", d.domain)
}

// hostAddrs holds the addresses of a server.
type hostAddrs struct {
	name      string // after all CNAMEs
	addrs     []netip.Addr
	authentic bool // all answers were validated by DNSSEC
}

// lookupHost looks up the addresses of a server, IPv6 first.
func lookupHost(ctx context.Context, dns resolve.Resolver, host string) (hostAddrs, error) {
	h := hostAddrs{name: host, authentic: true}
	var failed error
	for _, t := range []resolve.Type{resolve.AAAA, resolve.A} {
		answer, err := dns.Lookup(ctx, host, t)
		if err != nil {
			if failed == nil || errors.Is(err, resolve.ErrTemporary) {
				failed = err
			}
			continue
		}
		h.name, h.authentic = answer.Name, h.authentic && answer.Authentic
		for _, r := range answer.Records {
			h.addrs = append(h.addrs, r.Addr)
		}
	}
	if len(h.addrs) > 0 {
		return h, nil
	}
	return h, failed
}

// hosts returns the names of a domain's servers, best first and with equal
// preferences in random order, and whether DNSSEC authenticated them. If there
// are no MX records, the domain itself is the server. DANE is not used in that
// case, because the absence of records is not authenticated.
func (x *exchangers) hosts(ctx context.Context, domain string) (names []string, authentic bool, refusal *mail.Reply) {
	answer, err := x.net.dns.Lookup(ctx, domain, resolve.MX)
	switch {
	case errors.Is(err, resolve.ErrNotFound):
		var e *resolve.Error
		if errors.As(err, &e) && e.NoDomain {
			return nil, false, mail.NewReply(550, "5.1.2", "the domain %s does not exist", domain)
		}
		return []string{domain}, false, nil // the implicit MX
	case err != nil:
		return nil, false, &mail.Reply{Code: 451, Enhanced: "4.4.3", Text: "DNS gave no answer for " + domain, Cause: err}
	}
	mx := append([]resolve.Record(nil), answer.Records...)
	if len(mx) == 1 && mx[0].Host == "" {
		return nil, false, mail.NewReply(556, "5.1.10", "the domain %s accepts no mail (null MX)", domain)
	}
	rand.Shuffle(len(mx), func(i, j int) { mx[i], mx[j] = mx[j], mx[i] })
	sort.SliceStable(mx, func(i, j int) bool { return mx[i].Pref < mx[j].Pref })
	for i, r := range mx {
		if x.own != nil && x.own(r.Host) {
			// Servers of the same or a worse preference could send the message
			// back to this server (RFC 5321, 5.1).
			for i > 0 && mx[i-1].Pref == r.Pref {
				i--
				names = names[:len(names)-1]
			}
			if len(names) == 0 {
				return nil, false, mail.NewReply(550, "5.4.6", "the best mail server of %s is this one, but no route leads there", domain)
			}
			return names, answer.Authentic, nil
		}
		names = append(names, r.Host)
	}
	return names, answer.Authentic, nil
}

// poolKey identifies connections that are interchangeable.
type poolKey struct {
	host, address string
	need          requirement
}

func (x *exchangers) pool(host string, a netip.Addr, need requirement) *pool {
	address := net.JoinHostPort(a.String(), strconv.Itoa(x.net.cfg.Port))
	s := &server{network: "tcp", address: address, host: host, weight: 1}
	key := poolKey{host, address, need}
	if p, ok := x.pools.Get(key); ok {
		return p
	}
	p := x.net.newPool(s, need)
	if old, ok, _ := x.pools.PeekOrAdd(key, p); ok {
		return old
	}
	return p
}
