// Package reverse is the filter that holds a client's address, its name in the
// DNS and the name that it gives in HELO against each other.
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

// maxNames is how many reverse names of an address are looked at.
const maxNames = 5

// Config is the block filter "reverse" { ... } of a chain.
type Config struct {
	// NoName is what becomes of mail from an address without a reverse name, or
	// whose name does not lead back to it. Large servers refuse such mail.
	NoName string `hcl:"no_name,optional" enum:"pass|tag|quarantine|defer|reject" default:"tag"`
	// HeloForged is for clients that give our own name in HELO, or another
	// address than theirs.
	HeloForged string `hcl:"helo_forged,optional" enum:"pass|tag|quarantine|defer|reject" default:"reject"`
	// HeloSyntax is for a HELO that is neither a full name nor an address in
	// brackets (RFC 5321, 4.1.1.1).
	HeloSyntax string `hcl:"helo_syntax,optional" enum:"pass|tag|quarantine|defer|reject" default:"tag"`
	// HeloUnknown is for a HELO name that the DNS does not know.
	HeloUnknown string `hcl:"helo_unknown,optional" enum:"pass|tag|quarantine|defer|reject" default:"tag"`
}

// Filter checks by a Config.
type Filter struct {
	cfg  Config
	host string
	dns  resolve.Resolver
}

// New makes the filter.
func New(cfg Config, env filters.Env) (filters.Filter, error) {
	return &Filter{cfg, strings.ToLower(env.Hostname), env.DNS}, nil
}

// AtMail checks both names. It waits for MAIL, since whoever logs in is not
// checked.
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
		act(f.cfg.NoName, "5.7.25", "%s has no reverse name that leads back to it", ip) // RFC 7372, 3.3
	}
	return v, nil
}

// helo says what is wrong with a HELO, and what follows.
func (f *Filter) helo(ctx context.Context, helo string, ip netip.Addr) (problem, action string) {
	name := strings.ToLower(strings.TrimSuffix(helo, "."))
	if literal, ok := strings.CutPrefix(name, "["); ok {
		literal = strings.TrimPrefix(strings.TrimSuffix(literal, "]"), "ipv6:")
		a, err := netip.ParseAddr(literal)
		switch {
		case err != nil:
			return helo + " is no address", f.cfg.HeloSyntax
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
		return helo + " is not a full host name", f.cfg.HeloSyntax
	}
	_, err = resolve.LookupHosts(ctx, f.dns, a.ASCIIDomain())
	if errors.Is(err, resolve.ErrNotFound) {
		if _, err = resolve.LookupMX(ctx, f.dns, a.ASCIIDomain()); errors.Is(err, resolve.ErrNotFound) {
			return helo + " is unknown in the DNS", f.cfg.HeloUnknown
		}
	}
	return "", ""
}

// Confirm finds the name of an address that leads back to it (RFC 8601, 3): pass
// with the name; fail if none does; permerror without any; temperror.
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
