// Package spf is the filter that checks whether the domains of the HELO name
// and the reverse path authorise the client to send their mail (RFC 7208).
//
// Its results are used in Authentication-Results and by a subsequent dmarc
// filter, which usually makes the decision; this filter only takes the
// configured actions.
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

// checkTime limits the duration of one check with its look-ups (RFC 7208,
// 4.6.4).
const checkTime = 20 * time.Second

// Config is the filter "spf" { ... } block of a chain.
type Config struct {
	// Fail is the action for mail that the sender's domain does not authorise
	// ("-all"). Forwarded mail fails as well, so it is usually best to leave
	// the decision to the "dmarc" filter.
	Fail string `hcl:"fail,optional" enum:"pass|tag|quarantine|defer|reject" default:"tag"`
	// Softfail is the action for mail that is probably not authorised ("~all").
	Softfail string `hcl:"softfail,optional" enum:"pass|tag|quarantine|defer|reject" default:"pass"`
	// HeloFail is the action for mail from a client whose HELO name does not
	// authorise it. Domains rarely publish a record for that name by accident.
	HeloFail string `hcl:"helo_fail,optional" enum:"pass|tag|quarantine|defer|reject" default:"tag"`
	// Permerror is the action for mail from a domain with an invalid record.
	Permerror string `hcl:"permerror,optional" enum:"pass|tag|quarantine|defer|reject" default:"pass"`
	// Forwarders lists networks that forward mail to you and keep the original
	// sender; their mail is not checked.
	Forwarders []netip.Prefix `hcl:"forwarders,optional" example:"192.0.2.0/24"`
	// Relayed checks mail from one of your servers (in trusted) against the
	// client named in that server's Received line. Without it such mail is not
	// checked. If a content filter on that server passes mail on through
	// 127.0.0.1, add 127.0.0.0/8 to trusted; do not if remote clients reach the
	// server through a local proxy.
	Relayed bool `hcl:"relayed,optional"`
}

// Filter applies a Config.
type Filter struct {
	cfg     Config
	dns     resolve.Resolver
	trusted []netip.Prefix
}

// New returns the filter.
func New(cfg Config, env filters.Env) (filters.Filter, error) {
	return &Filter{cfg, env.DNS, env.Trusted}, nil
}

// Result is the outcome of one check.
type Result struct {
	Value  string // RFC 7208, 2.6
	Domain string // the domain whose record was evaluated
	Term   string // the term that matched, or a short error text
}

// AtMail checks the domains of the HELO name and the reverse path.
func (f *Filter) AtMail(ctx context.Context, tx *mail.Transaction) (filters.Verdict, error) {
	ip := tx.Client.Addr.Addr().Unmap()
	if filters.Known(&tx.Client) || !ip.IsValid() {
		return filters.Verdict{}, nil
	}
	return f.judge(ctx, ip, tx.Client.Helo, tx.Envelope.From), nil
}

// AtData checks mail from one of our servers, if relayed is set.
func (f *Filter) AtData(ctx context.Context, tx *mail.Transaction, m *mail.Message) (filters.Verdict, error) {
	if !f.cfg.Relayed || !tx.Client.Trusted || tx.Client.MayRelay || tx.Client.User != "" {
		return filters.Verdict{}, nil
	}
	ip, helo, ok := filters.Origin(&tx.Client, m, f.trusted)
	if !ok {
		return filters.Verdict{}, nil
	}
	v := f.judge(ctx, ip, helo, tx.Envelope.From)
	v.Facts = append(v.Facts, mail.Fact{Key: "origin", Value: ip.String()})
	return v, nil
}

// judge checks both domains against a client.
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

// verdict returns the verdict for a result. Mail is never rejected because of a
// temporary error.
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
	return filters.Acted(filters.Action(action), 550, "5.7.23", "SPF: %s does not authorise %s to send its mail (%s, %s)", r.Domain, ip, r.Value, r.Term)
}

// authResult returns the result for Authentication-Results.
func (r Result) authResult(property, value string) mail.AuthResult {
	return mail.AuthResult{
		Method: "spf", Value: r.Value, Comment: r.Term,
		Props: []mail.AuthProp{{Type: "smtp", Name: property, Value: value}},
	}
}

// AuthResult returns the result of a check of the reverse path from or, if from
// is empty, of the HELO name.
func (r Result) AuthResult(from mail.Address, helo string) mail.AuthResult {
	if from == "" {
		return r.authResult("helo", helo)
	}
	return r.authResult("mailfrom", string(from))
}

// isDomain reports whether a HELO argument is a name that may have a record.
func isDomain(helo string) bool {
	return strings.Contains(strings.Trim(helo, "."), ".") && !strings.HasPrefix(helo, "[") && len(helo) <= 253
}

// Check evaluates the record of the reverse path's domain for a client.
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
	// The local part is used only by macros; the domain is passed as A-labels.
	sender := strings.ReplaceAll(from.Local(), "@", "_") + "@" + r.Domain
	value, err := spf.CheckHostWithSender(ip.AsSlice(), helo, sender,
		spf.WithContext(ctx), spf.WithResolver(&adapter{dns: dns, ip: ip.Unmap()}), spf.WithTraceFunc(trace))
	r.Value = string(value)
	switch {
	case ctx.Err() != nil:
		r.Value, r.Term = "temperror", "the check took longer than "+checkTime.String()
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

// short shortens the text of an error, which may quote a long remote record.
func short(err error) string { return safe.Clip(safe.Reply(err.Error()), 100) }

// adapter passes the queries of the spf package to our resolver during a check.
type adapter struct {
	dns    resolve.Resolver
	ip     netip.Addr
	names  []string // names of ip, for the macro p
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

// LookupTXT looks up TXT records; a malformed SPF record is replaced by one
// that the spf package rejects.
func (a *adapter) LookupTXT(ctx context.Context, name string) ([]string, error) {
	name = strings.ReplaceAll(name, slashOctet, "/")
	txt, err := resolve.LookupTXT(ctx, a.dns, name)
	for i, t := range txt {
		switch {
		case !isRecord(t):
		case !wellFormed(t):
			txt[i] = "v=spf1 \"mistake\"" // a syntax error in the spf package as well
		default:
			txt[i] = a.rewrite(ctx, name, t)
		}
	}
	return txt, dnsError(name, err)
}

// LookupMX looks up the mail servers of a domain.
func (a *adapter) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	mx, err := resolve.LookupMX(ctx, a.dns, strings.ReplaceAll(name, slashOctet, "/"))
	var out []*net.MX
	for _, m := range mx {
		out = append(out, &net.MX{Host: m.Host + ".", Pref: m.Pref})
	}
	return out, dnsError(name, err)
}

// LookupIPAddr looks up the addresses of a name.
func (a *adapter) LookupIPAddr(ctx context.Context, name string) ([]net.IPAddr, error) {
	addrs, err := resolve.LookupHosts(ctx, a.dns, strings.ReplaceAll(name, slashOctet, "/"))
	var out []net.IPAddr
	for _, ip := range addrs {
		out = append(out, net.IPAddr{IP: ip.AsSlice()})
	}
	return out, dnsError(name, err)
}

// LookupAddr looks up the names of an address.
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
