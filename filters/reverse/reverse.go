// Package reverse is the filter that compares a client's address, its reverse
// DNS name and its HELO name.
package reverse

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"hoplite/filters"
	"hoplite/internal/resolve"
	"hoplite/mail"
)

// maxNames is the maximum number of reverse names that are checked for an
// address.
const maxNames = 5

// Config is the filter "reverse" { ... } block of a chain.
type Config struct {
	// NoName is the action for mail from an address without a reverse name, or
	// with one that does not resolve back to it. Large providers reject such
	// mail.
	NoName string `hcl:"no_name,optional" enum:"pass|tag|quarantine|defer|reject" default:"tag"`
	// HeloForged is the action for mail from clients that use our name, or an
	// address other than their own, in HELO.
	HeloForged string `hcl:"helo_forged,optional" enum:"pass|tag|quarantine|defer|reject" default:"reject"`
	// HeloSyntax is the action for mail with a HELO argument that is neither a
	// fully qualified domain name nor an address in brackets (RFC 5321,
	// 4.1.1.1).
	HeloSyntax string `hcl:"helo_syntax,optional" enum:"pass|tag|quarantine|defer|reject" default:"tag"`
	// HeloUnknown is the action for mail with a HELO name that does not exist
	// in DNS.
	HeloUnknown string `hcl:"helo_unknown,optional" enum:"pass|tag|quarantine|defer|reject" default:"tag"`
}

// Filter applies a Config.
type Filter struct {
	cfg  Config
	host string
	dns  resolve.Resolver
}

// New returns the filter.
func New(cfg Config, env filters.Env) (filters.Filter, error) {
	return &Filter{cfg, strings.ToLower(env.Hostname), env.DNS}, nil
}

// AtMail checks both names. It runs at MAIL, because clients that log in are
// not checked.
func (f *Filter) AtMail(ctx context.Context, tx *mail.Transaction) (filters.Verdict, error) {
	ip := tx.Client.Addr.Addr().Unmap()
	if filters.Known(&tx.Client) || !ip.IsValid() {
		return filters.Verdict{}, nil
	}
	name, value := Confirm(ctx, f.dns, ip)
	v := filters.Verdict{
		Auth:  []mail.AuthResult{{Method: "iprev", Value: value, Comment: name, Props: []mail.AuthProp{{Type: "policy", Name: "iprev", Value: ip.String()}}}},
		Facts: []mail.Fact{{Key: "name", Value: name}, {Key: "iprev", Value: value}},
	}
	act := func(action, enhanced, format string, args ...any) bool {
		if action == "" || action == "pass" {
			return false
		}
		w := filters.Acted(filters.Action(action), 550, enhanced, format, args...)
		w.Auth, w.Facts = v.Auth, v.Facts
		if refuses := w.Action == filters.Reject || w.Action == filters.Defer; refuses || v.Action == "" || w.Action == filters.Quarantine {
			v = w
			return refuses
		}
		return false
	}
	if problem, action := f.helo(ctx, tx.Client.Helo, ip); problem != "" && act(action, "5.7.1", "HELO %s", problem) {
		return v, nil
	}
	if value == "fail" || value == "permerror" {
		act(f.cfg.NoName, "5.7.25", "%s has no reverse name that resolves back to it", ip) // RFC 7372, 3.3
	}
	return v, nil
}

// helo describes the problem with a HELO argument and returns the action for
// it.
func (f *Filter) helo(ctx context.Context, helo string, ip netip.Addr) (problem, action string) {
	name := strings.ToLower(strings.TrimSuffix(helo, "."))
	if literal, ok := strings.CutPrefix(name, "["); ok {
		literal = strings.TrimPrefix(strings.TrimSuffix(literal, "]"), "ipv6:")
		a, err := netip.ParseAddr(literal)
		switch {
		case err != nil:
			return helo + " is not an address", f.cfg.HeloSyntax
		case a.Unmap() != ip:
			return helo + " is not your address", f.cfg.HeloForged
		}
		return "", ""
	}
	a, err := mail.Join("x", name)
	_, isIP := netip.ParseAddr(name)
	switch {
	case name == f.host || name == "localhost" && !ip.IsLoopback():
		return helo + " is not your name", f.cfg.HeloForged
	case err != nil || isIP == nil || !strings.Contains(name, "."):
		return helo + " is not a fully qualified host name", f.cfg.HeloSyntax
	}
	_, err = resolve.LookupHosts(ctx, f.dns, a.ASCIIDomain())
	if errors.Is(err, resolve.ErrNotFound) {
		if _, err = resolve.LookupMX(ctx, f.dns, a.ASCIIDomain()); errors.Is(err, resolve.ErrNotFound) {
			return helo + " does not exist in DNS", f.cfg.HeloUnknown
		}
	}
	return "", ""
}

// Confirm looks for a name of an address that resolves back to it (RFC 8601,
// 3). It returns pass with the name, fail if no name resolves back, permerror
// if there are no names, or temperror.
func Confirm(ctx context.Context, dns resolve.Resolver, ip netip.Addr) (name, value string) {
	names, err := resolve.LookupPTR(ctx, dns, ip)
	switch {
	case errors.Is(err, resolve.ErrNotFound):
		return "", "permerror"
	case err != nil:
		return "", "temperror"
	}
	value = "fail"
	for _, n := range names[:min(len(names), maxNames)] {
		addrs, err := resolve.LookupHosts(ctx, dns, n)
		if slices.Contains(addrs, ip) {
			return n, "pass"
		}
		if errors.Is(err, resolve.ErrTemporary) {
			value = "temperror"
		}
	}
	return "", value
}
