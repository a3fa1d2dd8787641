// Package spf is the filter that asks a sender's domain whether the client may
// send for it (RFC 7208), for the HELO name and for the reverse path.
//
// What it learns goes to Authentication-Results and to the filter dmarc behind
// it, which usually decides; on its own the filter only does what its settings
// say.
package spf

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"blitiri.com.ar/go/spf"

	"hoplite/filters"
	"hoplite/internal/resolve"
	"hoplite/mail"
	"hoplite/mail/safe"
)

// checkTime bounds one check with all its look-ups (RFC 7208, 4.6.4).
const checkTime = 20 * time.Second

// Config is the block filter "spf" { ... } of a chain.
type Config struct {
	// Fail is what becomes of mail that the sender's domain disowns ("-all").
	// Forwarded mail fails, too: leave the decision to the filter "dmarc" unless
	// you know better.
	Fail string `hcl:"fail,optional" enum:"pass|tag|quarantine|defer|reject" default:"tag"`
	// Softfail is the same for what it probably disowns ("~all").
	Softfail string `hcl:"softfail,optional" enum:"pass|tag|quarantine|defer|reject" default:"pass"`
	// HeloFail is what becomes of mail from a client whose HELO name disowns it.
	// Few domains publish a record for that name without meaning it.
	HeloFail string `hcl:"helo_fail,optional" enum:"pass|tag|quarantine|defer|reject" default:"tag"`
	// Permerror is what becomes of mail whose sender's record is broken.
	Permerror string `hcl:"permerror,optional" enum:"pass|tag|quarantine|defer|reject" default:"pass"`
	// Forwarders are networks that forward mail to you without changing its
	// sender: their mail is not checked.
	Forwarders []netip.Prefix `hcl:"forwarders,optional" example:"192.0.2.0/24"`
	// Relayed judges mail that comes from a server of yours (one in trusted) by
	// the client that its Received line names. Without it such mail is not checked.
	Relayed bool `hcl:"relayed,optional"`
}

// Filter checks by a Config.
type Filter struct {
	cfg     Config
	dns     resolve.Resolver
	trusted []netip.Prefix
}

// New makes the filter.
func New(cfg Config, env filters.Env) (filters.Filter, error) {
	return &Filter{cfg, env.DNS, env.Trusted}, nil
}

// Result is what one check came to.
type Result struct {
	Value  string // RFC 7208, 2.6
	Domain string // whose record it was
	Term   string // the term that matched, or the error in a few words
}

// AtMail checks HELO name and reverse path.
func (f *Filter) AtMail(ctx context.Context, tx *mail.Transaction) (filters.Verdict, error) {
	ip := tx.Client.Addr.Addr().Unmap()
	if filters.Known(&tx.Client) || !ip.IsValid() {
		return filters.Verdict{}, nil
	}
	return f.judge(ctx, ip, tx.Client.Helo, tx.Envelope.From), nil
}

// AtData checks mail that a server of ours brings, if that is wanted.
func (f *Filter) AtData(ctx context.Context, tx *mail.Transaction, m *mail.Message) (filters.Verdict, error) {
	if !f.cfg.Relayed || !tx.Client.Trusted || tx.Client.MayRelay || tx.Client.User != "" {
		return filters.Verdict{}, nil
	}
	ip, helo, ok := filters.Origin(m, f.trusted)
	if !ok {
		return filters.Verdict{}, nil
	}
	v := f.judge(ctx, ip, helo, tx.Envelope.From)
	v.Facts = append(v.Facts, mail.Fact{Key: "origin", Value: ip.String()})
	return v, nil
}

// judge checks the two names of a client.
func (f *Filter) judge(ctx context.Context, ip netip.Addr, helo string, from mail.Address) filters.Verdict {
	for _, p := range f.cfg.Forwarders {
		if p.Contains(ip) {
			return filters.Verdict{Reason: "forwarder " + p.String()}
		}
	}
	var v filters.Verdict
	if isDomain(helo) {
		r := Check(ctx, f.dns, ip, helo, mail.Address("postmaster@"+strings.ToLower(helo)))
		v = f.verdict(ip, r, f.cfg.HeloFail)
		v.Auth = append(v.Auth, r.authResult("helo", helo))
		v.Facts = append(v.Facts, mail.Fact{Key: "helo", Value: r.Value + " " + r.Term})
	}
	if from != "" && v.Action != filters.Reject && v.Action != filters.Defer {
		r := Check(ctx, f.dns, ip, helo, from)
		heloAuth, facts := v.Auth, v.Facts
		if w := f.verdict(ip, r, f.cfg.Fail); w.Action != "" || v.Action == "" {
			v = w
		}
		v.Auth = append(heloAuth, r.authResult("mailfrom", string(from)))
		v.Facts = append(facts, mail.Fact{Key: "mailfrom", Value: r.Value + " " + r.Term})
	}
	return v
}

// verdict is what follows from a result. A temporary error is no reason to
// refuse anything.
func (f *Filter) verdict(ip netip.Addr, r Result, fail string) filters.Verdict {
	action := ""
	switch r.Value {
	case "fail":
		action = fail
	case "softfail":
		action = f.cfg.Softfail
	case "permerror":
		action = f.cfg.Permerror
	}
	if action == "" || action == "pass" {
		return filters.Verdict{}
	}
	return filters.Acted(filters.Action(action), 550, "5.7.23", "SPF: %s does not let %s send its mail (%s, %s)", r.Domain, ip, r.Value, r.Term)
}

// authResult is the result as Authentication-Results has it.
func (r Result) authResult(property, value string) mail.AuthResult {
	return mail.AuthResult{
		Method: "spf", Value: r.Value, Comment: r.Term,
		Props: []mail.AuthProp{{Type: "smtp", Name: property, Value: value}},
	}
}

// isDomain says whether a HELO argument is a name that may have a record.
func isDomain(helo string) bool {
	return strings.Contains(strings.Trim(helo, "."), ".") && !strings.HasPrefix(helo, "[") && len(helo) <= 253
}

// Check evaluates the record of a reverse path's domain for a client.
func Check(ctx context.Context, dns resolve.Resolver, ip netip.Addr, helo string, from mail.Address) Result {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	r := Result{Domain: from.ASCIIDomain()}
	if r.Domain == "" {
		r.Domain = helo
	}
	trace := func(format string, args ...any) {
		if len(args) > 0 && strings.HasPrefix(format, "%q") {
			r.Term = strings.ReplaceAll(fmt.Sprint(args[0]), slashOctet, "/")
		}
	}
	// The local part is for macros only; the address goes in with A-labels.
	sender := strings.ReplaceAll(from.Local(), "@", "_") + "@" + r.Domain
	value, err := spf.CheckHostWithSender(ip.AsSlice(), helo, sender,
		spf.WithContext(ctx), spf.WithResolver(&adapter{dns: dns, ip: ip.Unmap()}), spf.WithTraceFunc(trace))
	r.Value = string(value)
	switch {
	case ctx.Err() != nil:
		r.Value, r.Term = "temperror", "it took longer than "+checkTime.String()
	case errors.Is(err, spf.ErrMatchedAll):
		r.Term = "matched all"
	case errors.Is(err, spf.ErrNoResult):
		r.Term = "no record"
	case r.Value == "neutral" && err == nil:
		r.Term = "no term matched"
	case r.Value == "permerror" || r.Value == "temperror":
		if err != nil {
			r.Term = short(err)
		}
	case r.Term != "":
		r.Term = "matched " + r.Term
	}
	return r
}

// short is the text of an error, which may quote a remote record at length.
func short(err error) string { return safe.Clip(safe.Reply(err.Error()), 100) }

// adapter asks our resolver in the spf package's words, for one check.
type adapter struct {
	dns    resolve.Resolver
	ip     netip.Addr
	names  []string // of ip, for the macro p
	looked bool
}

func dnsError(name string, err error) error {
	if err == nil {
		return nil
	}
	return &net.DNSError{
		Err: err.Error(), Name: name, IsNotFound: errors.Is(err, resolve.ErrNotFound),
		IsTemporary: errors.Is(err, resolve.ErrTemporary),
	}
}

// LookupTXT finds records; one with a mistake in it becomes one that no module
// takes.
func (a *adapter) LookupTXT(ctx context.Context, name string) ([]string, error) {
	name = strings.ReplaceAll(name, slashOctet, "/")
	txt, err := resolve.LookupTXT(ctx, a.dns, name)
	for i, t := range txt {
		switch {
		case !isRecord(t):
		case !wellFormed(t):
			txt[i] = "v=spf1 \"mistake\"" // which is one for the module, too
		default:
			txt[i] = a.rewrite(ctx, name, t)
		}
	}
	return txt, dnsError(name, err)
}

// LookupMX finds mail servers.
func (a *adapter) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	mx, err := resolve.LookupMX(ctx, a.dns, strings.ReplaceAll(name, slashOctet, "/"))
	var out []*net.MX
	for _, m := range mx {
		out = append(out, &net.MX{Host: m.Host + ".", Pref: m.Pref})
	}
	return out, dnsError(name, err)
}

// LookupIPAddr finds addresses.
func (a *adapter) LookupIPAddr(ctx context.Context, name string) ([]net.IPAddr, error) {
	addrs, err := resolve.LookupHosts(ctx, a.dns, strings.ReplaceAll(name, slashOctet, "/"))
	var out []net.IPAddr
	for _, ip := range addrs {
		out = append(out, net.IPAddr{IP: ip.AsSlice()})
	}
	return out, dnsError(name, err)
}

// LookupAddr finds names of an address.
func (a *adapter) LookupAddr(ctx context.Context, addr string) ([]string, error) {
	ip, err := netip.ParseAddr(addr)
	if err != nil {
		return nil, dnsError(addr, err)
	}
	names, err := resolve.LookupPTR(ctx, a.dns, ip)
	for i := range names {
		names[i] += "."
	}
	return names, dnsError(addr, err)
}
