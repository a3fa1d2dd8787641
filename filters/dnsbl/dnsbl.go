// Package dnsbl is the filter that looks up clients and their names in DNS
// lists (RFC 5782). A list contains bad addresses, good addresses or bad
// domains, and has a weight.
package dnsbl

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"hoplite/filters"
	"hoplite/internal/conf"
	"hoplite/internal/resolve"
	"hoplite/mail"
	"hoplite/mail/safe"
)

// Config is the filter "dnsbl" { ... } block of a chain.
type Config struct {
	// Lists holds the lists, which are queried concurrently.
	Lists []List `hcl:"list,block"`
	// Threshold is the total weight at which the action is taken.
	Threshold int `hcl:"threshold,optional" default:"1"`
	// Action is the action for mail that reaches the threshold; below it,
	// listings are only recorded.
	Action string `hcl:"action,optional" enum:"tag|quarantine|defer|reject" default:"reject"`
}

// List is one list.
type List struct {
	// Zone is the domain of the list. Some lists require a key as part of it,
	// and most refuse queries from public resolvers.
	Zone string `hcl:"zone,label"`
	// Kind selects what is looked up: "address" for the client's address,
	// "domain" for its HELO name and the sender's domain.
	Kind string `hcl:"kind,optional" enum:"address|domain" default:"address"`
	// Weight is added when the client is listed; it is negative for a list of
	// good clients.
	Weight int `hcl:"weight,optional" default:"1"`
	// Codes lists the answers that mean that the client is listed: addresses,
	// networks, or ranges such as "127.0.0.2-127.0.0.11". The default is all of
	// 127.0.0.0/8 except 127.255.255.0/24, which lists use for errors.
	Codes []string `hcl:"codes,optional" example:"127.0.0.2-127.0.0.11"`
}

// Check reports invalid codes.
func (c *Config) Check() error {
	if len(c.Lists) == 0 {
		return errors.New(`no lists: want list "zone" { }`)
	}
	for _, l := range c.Lists {
		if _, err := parseCodes(l.Codes); err != nil {
			return conf.Fieldf("list", "%s: %w", l.Zone, err)
		}
	}
	return nil
}

// span is a range of answer addresses.
type span struct{ from, to netip.Addr }

func parseCodes(codes []string) ([]span, error) {
	var out []span
	for _, c := range codes {
		if p, err := netip.ParsePrefix(c); err == nil {
			to := p.Masked().Addr()
			for to.Next().IsValid() && p.Contains(to.Next()) && p.Bits() >= 16 {
				to = to.Next()
			}
			if p.Bits() < 16 {
				return nil, fmt.Errorf("code %q: want a network of /16 or smaller", c)
			}
			out = append(out, span{p.Masked().Addr(), to})
			continue
		}
		from, to, ranged := strings.Cut(c, "-")
		if !ranged {
			to = from
		}
		a, err1 := netip.ParseAddr(strings.TrimSpace(from))
		b, err2 := netip.ParseAddr(strings.TrimSpace(to))
		if err := errors.Join(err1, err2); err != nil || b.Less(a) {
			return nil, fmt.Errorf("code %q: want an address, a network or a range", c)
		}
		out = append(out, span{a, b})
	}
	return out, nil
}

// Filter queries the lists of a Config.
type Filter struct {
	cfg   Config
	codes [][]span
	dns   resolve.Resolver
}

// New returns the filter.
func New(cfg Config, env filters.Env) (filters.Filter, error) {
	f := &Filter{cfg: cfg, dns: env.DNS}
	for _, l := range cfg.Lists {
		c, err := parseCodes(l.Codes)
		if err != nil {
			return nil, err
		}
		f.codes = append(f.codes, c)
	}
	return f, nil
}

// Probe looks up the two test entries of each list: one that is always listed
// and one that is never listed (RFC 5782, 5).
func (f *Filter) Probe(ctx context.Context) error {
	var errs []error
	for i, l := range f.cfg.Lists {
		listed, not := f.ask(ctx, i, testListed, []string{"test"}), f.ask(ctx, i, testNot, []string{"invalid"})
		switch err := cmp.Or(listed.err, not.err); {
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", l.Zone, err))
		case listed.codes == nil:
			errs = append(errs, fmt.Errorf("%s does not list its own test entry: it may be closed, or codes excludes its answers", l.Zone))
		case not.codes != nil:
			errs = append(errs, fmt.Errorf("%s lists everything: it has been closed", l.Zone))
		}
	}
	return errors.Join(errs...)
}

var testListed, testNot = netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.1")

// hit is one list's answer for an address or domain.
type hit struct {
	what  string // the address or domain
	codes []string
	text  string
	err   error
}

// AtMail queries all lists. It runs at MAIL rather than at the greeting,
// because clients that log in are not looked up.
func (f *Filter) AtMail(ctx context.Context, tx *mail.Transaction) (filters.Verdict, error) {
	ip := tx.Client.Addr.Addr().Unmap()
	if filters.Known(&tx.Client) || !ip.IsValid() || ip.IsLoopback() {
		return filters.Verdict{}, nil
	}
	names := domains(tx)
	hits := make([]hit, len(f.cfg.Lists))
	var wait sync.WaitGroup
	for i := range f.cfg.Lists {
		wait.Go(func() { hits[i] = f.ask(ctx, i, ip, names) })
	}
	wait.Wait()
	var v filters.Verdict
	sum := 0
	var worst *hit
	worstList := ""
	for i := range hits {
		h, l := &hits[i], &f.cfg.Lists[i]
		switch {
		case h.err != nil: // a client is not listed if a query fails
			v.Facts = append(v.Facts, mail.Fact{Key: l.Zone, Value: "error: " + h.err.Error()})
		case h.codes != nil:
			sum += l.Weight
			v.Facts = append(v.Facts, mail.Fact{Key: l.Zone, Value: fmt.Sprintf("%s %s weight %d %s", h.what, strings.Join(h.codes, ","), l.Weight, h.text)})
			if l.Weight > 0 && worst == nil {
				worst, worstList = h, l.Zone
			}
		}
	}
	if worst == nil || sum < f.cfg.Threshold {
		if worst != nil {
			v.Action, v.Reason = filters.Tag, fmt.Sprintf("%s is listed in %s, weight %d of %d", worst.what, worstList, sum, f.cfg.Threshold)
		}
		return v, nil
	}
	text := fmt.Sprintf("%s is listed in %s", worst.what, worstList)
	if worst.text != "" {
		text += ": " + worst.text
	}
	w := filters.Acted(filters.Action(f.cfg.Action), 550, "5.7.1", "%s", text)
	w.Facts = v.Facts
	return w, nil
}

// Listing is one list's answer for an address.
type Listing struct {
	Zone   string
	Weight int
	Codes  []string // the answers; empty if the address is not listed
	Text   string   // the list's explanation
	Err    error
}

// Listings looks up ip in the lists of addresses. It does not act on the
// answers.
func (f *Filter) Listings(ctx context.Context, ip netip.Addr) []Listing {
	all := make([]Listing, len(f.cfg.Lists))
	var wait sync.WaitGroup
	for i, l := range f.cfg.Lists {
		if l.Kind == "domain" {
			continue
		}
		wait.Go(func() {
			h := f.ask(ctx, i, ip.Unmap(), nil)
			all[i] = Listing{Zone: l.Zone, Weight: l.Weight, Codes: h.codes, Text: h.text, Err: h.err}
		})
	}
	wait.Wait()
	return slices.DeleteFunc(all, func(l Listing) bool { return l.Zone == "" })
}

// domains returns the names to look up for a client.
func domains(tx *mail.Transaction) []string {
	var out []string
	for _, d := range []string{tx.Envelope.From.ASCIIDomain(), strings.ToLower(strings.TrimSuffix(tx.Client.Helo, ".")), tx.Client.Name} {
		if strings.Contains(d, ".") && !strings.HasPrefix(d, "[") && !slices.Contains(out, d) {
			if _, err := netip.ParseAddr(d); err != nil {
				out = append(out, d)
			}
		}
	}
	return out
}

func (f *Filter) ask(ctx context.Context, list int, ip netip.Addr, names []string) hit {
	l := &f.cfg.Lists[list]
	queries := map[string]string{ip.String(): resolve.Reverse(ip) + "." + l.Zone}
	order := []string{ip.String()}
	if l.Kind == "domain" {
		order = names
		for _, n := range names {
			queries[n] = n + "." + l.Zone
		}
	}
	var failed error
	for _, what := range order {
		a, err := f.dns.Lookup(ctx, queries[what], resolve.A)
		if err != nil {
			if !errors.Is(err, resolve.ErrNotFound) {
				failed = err
			}
			continue
		}
		h := hit{what: what}
		for _, r := range a.Records {
			switch {
			case f.counts(list, r.Addr):
				h.codes = append(h.codes, r.Addr.String())
			case complaint.Contains(r.Addr):
				failed = fmt.Errorf("the list refuses queries (%s): use a resolver of your own", r.Addr)
			}
		}
		if h.codes != nil {
			if txt, err := resolve.LookupTXT(ctx, f.dns, queries[what]); err == nil {
				h.text = safe.Clip(safe.Reply(txt[0]), 200)
			}
			return h
		}
	}
	return hit{err: failed}
}

var (
	loopback  = netip.MustParsePrefix("127.0.0.0/8")
	complaint = netip.MustParsePrefix("127.255.255.0/24")
)

func (f *Filter) counts(list int, a netip.Addr) bool {
	if !loopback.Contains(a) { // an expired domain may answer every query
		return false
	}
	if len(f.codes[list]) == 0 {
		return !complaint.Contains(a)
	}
	return slices.ContainsFunc(f.codes[list], func(s span) bool { return !a.Less(s.from) && !s.to.Less(a) })
}
