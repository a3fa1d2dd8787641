package check

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/rs/zerolog"

	"hoplite/cmd/hoplite/internal/config"
	"hoplite/internal/conf"
	"hoplite/internal/users"
	"hoplite/internal/users/authority"
	"hoplite/mail"
	"hoplite/mail/alias"
	"hoplite/relay"
)

// maxAliasWarnings limits the number of warnings about one aliases file.
const maxAliasWarnings = 20

// Addresses resolves the addresses of a configuration, using its accounts, its
// aliases and the routes of all chains.
type Addresses struct {
	cfg      *config.Config
	accounts *users.Store
	table    *alias.Table
	resolver *alias.Resolver
	chains   []*relay.Chain
	maildrop map[string]bool
	mistakes error // in the aliases file
}

func newAddresses(cfg *config.Config, accounts *users.Store, table *alias.Table) *Addresses {
	a := &Addresses{cfg: cfg, accounts: accounts, table: table, maildrop: map[string]bool{}}
	a.resolver = alias.New(accounts, func() *alias.Table { return a.table }, cfg.Names(), cfg.Postmaster)
	for _, ch := range cfg.Chain {
		chain := &relay.Chain{}
		for i := range ch.Routes {
			chain.Routes = append(chain.Routes, relay.NewRoute(&ch.Routes[i], cfg.Names(), nil, nil))
		}
		a.chains = append(a.chains, chain)
	}
	for _, m := range cfg.Maildrop {
		a.maildrop[m.Name] = true
	}
	return a
}

// Table returns the aliases, or nil if there is no aliases file.
func (a *Addresses) Table() *alias.Table { return a.table }

// With returns a copy of the addresses that uses another alias table.
func (a *Addresses) With(table *alias.Table) *Addresses {
	return newAddresses(a.cfg, a.accounts, table)
}

// Resolve follows aliases and forwards to the final addresses.
func (a *Addresses) Resolve(addr string) (alias.Resolved, error) { return a.resolver.Resolve(addr) }

// Hops returns the maildrops and upstreams that accept mail for a final
// address, one for each chain with a route for it, and the reason why it cannot
// be delivered, or "".
func (a *Addresses) Hops(f alias.Final) (hops []string, problem string) {
	to, err := mail.ParseAddress(f.Address)
	if err != nil {
		return nil, fmt.Sprintf("%s is not an address", f.Address)
	}
	tx := mail.NewTransaction(mail.Client{MayRelay: true}, "")
	boxed, elsewhere := false, false
	for _, ch := range a.chains {
		r := ch.Find(tx, mail.Rcpt{To: to, Orig: to})
		if r == nil {
			continue
		}
		boxed, elsewhere = boxed || a.maildrop[r.HopName], elsewhere || !a.maildrop[r.HopName]
		if !slices.Contains(hops, r.HopName) {
			hops = append(hops, r.HopName)
		}
	}
	switch {
	case elsewhere: // only the upstream knows its recipients
	case !boxed && len(a.chains) > 0 && !conditional(a.cfg):
		return hops, fmt.Sprintf("no route takes mail for %s", f.Address)
	case boxed && f.Account == "" && !a.inDirectory(to):
		return hops, fmt.Sprintf("there is no account %s", f.Address)
	}
	return hops, ""
}

// Incomplete returns the reason why mail for an address reaches only some of its
// final addresses through a chain, or "": the chain has no route for the others.
func (a *Addresses) Incomplete(address string, finals []alias.Final) string {
	if conditional(a.cfg) {
		return ""
	}
	tx := mail.NewTransaction(mail.Client{MayRelay: true}, "")
	for i, ch := range a.chains {
		routed, missing := 0, ""
		for _, f := range finals {
			to, err := mail.ParseAddress(f.Address)
			if err != nil {
				continue
			}
			if ch.Find(tx, mail.Rcpt{To: to, Orig: to}) != nil {
				routed++
			} else {
				missing = f.Address
			}
		}
		if routed > 0 && missing != "" {
			return fmt.Sprintf("chain %q delivers mail for %s only in part: it has no route for %s", a.cfg.Chain[i].Name, address, missing)
		}
	}
	return ""
}

// inDirectory reports whether only a directory knows if an address exists.
func (a *Addresses) inDirectory(to mail.Address) bool {
	return slices.ContainsFunc(a.cfg.Accounts, func(c *authority.Config) bool { return c.Addresses != "" && c.Name == to.ASCIIDomain() })
}

// problem returns the reason why mail to a final address cannot be delivered,
// or "".
func (a *Addresses) problem(f alias.Final) string {
	_, problem := a.Hops(f)
	return problem
}

// conditional reports whether a route depends on the sender, login or network
// of the client, in which case an address may have a route that Hops does not
// find.
func conditional(cfg *config.Config) bool {
	for _, ch := range cfg.Chain {
		for i := range ch.Routes {
			if r := &ch.Routes[i]; len(r.From)+len(r.User)+len(r.Client) > 0 {
				return true
			}
		}
	}
	return false
}

// check finds aliases, accounts and a postmaster whose mail cannot be
// delivered.
func (a *Addresses) check(diags *conf.Diagnostics) {
	switch {
	case a.cfg.Postmaster != "":
		a.checkPostmaster(diags)
	case len(a.cfg.Maildrop) == 0 && len(postmasterOf(a.cfg)) == 0:
		diags.Warn(a.cfg.Range(), "mail for the postmaster has no recipient",
			"Every domain must accept it (RFC 5321, 4.5.1), and reports that cannot be returned go there: set postmaster.")
	}
	a.checkAliases(diags)
	seen := map[string]bool{}
	for _, acc := range a.accounts.Accounts() {
		a.checkForward(acc, diags)
		to, err := mail.ParseAddress(acc.Name)
		if err != nil || seen[to.Domain()] {
			continue
		}
		seen[to.Domain()] = true
		if why := a.problem(alias.Final{Address: acc.Name, Account: acc.Name}); why != "" {
			diags.Warn(conf.Range{Filename: a.cfg.Under("users")}, fmt.Sprintf("%s, although it is an account", why),
				"Add the domain to a route.")
		}
	}
}

func (a *Addresses) checkPostmaster(diags *conf.Diagnostics) {
	found, err := a.resolver.Resolve(a.cfg.Postmaster)
	why := ""
	if err != nil {
		why = err.Error()
	}
	for _, f := range found.Finals {
		if why == "" {
			why = a.problem(f)
		}
	}
	if why != "" {
		diags.Warn(a.cfg.Attr("postmaster"), "mail for the postmaster can't be delivered: "+why,
			"Reports that cannot be returned go there, too.")
	}
}

func (a *Addresses) checkAliases(diags *conf.Diagnostics) {
	file, found, last := a.cfg.Under(a.cfg.Aliases), 0, 0
	a.table.Each(func(pattern string, to []string, line int) {
		problem, loop := a.aliasProblem(pattern, to)
		if problem == "" {
			return
		}
		switch found++; {
		case found > maxAliasWarnings:
			last = line
		case loop:
			diags.Tolerate(lineOf(file, line), problem, "Mail to it is refused.")
		default:
			diags.Warn(lineOf(file, line), problem, "")
		}
	})
	if more := found - maxAliasWarnings; more > 0 {
		diags.Warn(lineOf(file, last), fmt.Sprintf("%d more aliases have problems, which are not listed", more), "")
	}
}

// aliasProblem returns the reason why mail to an alias is not delivered to all
// its addresses, or "". loop is set if mail to it is refused because it leads to
// itself or to too many addresses.
func (a *Addresses) aliasProblem(pattern string, to []string) (problem string, loop bool) {
	if strings.HasPrefix(pattern, "/") && strings.LastIndexByte(pattern, '/') > 0 {
		return pattern + ": regular expressions are not supported; this matches one address only", false
	}
	address, ok := sample(pattern)
	if !ok {
		return "", false
	}
	found, err := a.resolver.Resolve(address)
	switch {
	case errors.Is(err, alias.ErrLoop):
		return fmt.Sprintf("%s: %v", address, alias.ErrLoop), true
	case errors.Is(err, alias.ErrTooMany):
		return fmt.Sprintf("%s: %v", address, alias.ErrTooMany), true
	case err != nil:
		return "", false
	case strings.HasPrefix(address, "any-name@") && len(to) == 1 && to[0][0] == '@':
		return "", false // a whole domain, whose addresses are unknown
	}
	for _, f := range found.Finals {
		if why := a.problem(f); why != "" {
			return address + ": " + why, false
		}
	}
	if why := a.Incomplete(address, found.Finals); why != "" {
		return address + ": " + why, false
	}
	return "", false
}

// sample returns an address that a pattern is for; ok is false if it is for none.
func sample(pattern string) (addr string, ok bool) {
	switch {
	case strings.HasPrefix(pattern, "@"):
		return "any-name" + pattern, true
	case strings.HasPrefix(pattern, "/") && strings.LastIndexByte(pattern, '/') > 0:
		return "", false // a regular expression, which is not supported
	case !strings.Contains(pattern, "@") && strings.Contains(pattern, "."):
		return "", false // virtual(5): declares a domain
	}
	return pattern, true
}

// Loops returns the error of each alias that leads back to itself, or to too many
// addresses.
func (a *Addresses) Loops() map[string]error {
	loops := map[string]error{}
	a.table.Each(func(pattern string, _ []string, _ int) {
		addr, ok := sample(pattern)
		if !ok {
			return
		}
		if _, err := a.resolver.Resolve(addr); errors.Is(err, alias.ErrLoop) {
			loops[pattern] = fmt.Errorf("%s: %w", addr, alias.ErrLoop)
		} else if errors.Is(err, alias.ErrTooMany) {
			loops[pattern] = fmt.Errorf("%s: %w", addr, alias.ErrTooMany)
		}
	})
	return loops
}

// checkForward finds an account that forwards mail to an address without a route.
func (a *Addresses) checkForward(acc *users.Account, diags *conf.Diagnostics) {
	if len(acc.Forward) == 0 {
		return
	}
	found, err := a.resolver.Resolve(acc.Name)
	if err != nil {
		return
	}
	if why := a.Incomplete(acc.Name, found.Finals); why != "" {
		diags.Warn(conf.Range{Filename: a.cfg.Under("users")}, why,
			"It forwards its mail. Give the chain a route for such addresses: relay = true and the upstream to the Internet.")
	}
}

// lineOf returns the range of a line in a file other than the configuration.
func lineOf(file string, line int) conf.Range {
	at := conf.Range{Filename: file}
	at.Start.Line, at.Start.Column, at.Start.Byte = line, 1, line // findings are sorted by Byte
	return at
}

// forwardsOut reports whether an alias or an account forwards mail to another
// server, by the route r of a chain.
func (a *Addresses) forwardsOut(r *relay.RouteConfig) bool {
	route := relay.NewRoute(r, a.cfg.Names(), nil, nil)
	one := &relay.Chain{Routes: []relay.Route{route}}
	tx := mail.NewTransaction(mail.Client{MayRelay: true}, "")
	out := false
	try := func(from string) {
		found, err := a.resolver.Resolve(from)
		if err != nil {
			return
		}
		for _, f := range found.Finals {
			to, err := mail.ParseAddress(f.Address)
			out = out || err == nil && f.Account == "" && one.Find(tx, mail.Rcpt{To: to, Orig: to}) != nil
		}
	}
	a.table.Each(func(pattern string, _ []string, _ int) {
		if !strings.HasPrefix(pattern, "@") {
			try(pattern)
		}
	})
	for _, acc := range a.accounts.Accounts() {
		try(acc.Name)
	}
	return out
}

// ReadAddresses reads accounts and aliases.
func ReadAddresses(cfg *config.Config) (*Addresses, error) {
	a, err := readAddresses(cfg)
	if err == nil && a.mistakes != nil {
		return nil, a.mistakes
	}
	return a, err
}

// readAddresses reads them as the server does, without aliases that have a mistake.
func readAddresses(cfg *config.Config) (*Addresses, error) {
	accounts, err := users.Open(cfg.Under("users"), cfg.Names(), zerolog.Nop())
	if err != nil {
		return nil, err
	}
	path := cfg.Under(cfg.Aliases)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return newAddresses(cfg, accounts, nil), nil
	}
	if err != nil {
		return nil, fmt.Errorf("read aliases: %w", err)
	}
	defer f.Close()
	table, err := alias.Parse(f, path)
	if _, rest := alias.Mistakes(err); rest != nil {
		return nil, rest
	}
	a := newAddresses(cfg, accounts, table)
	a.mistakes = err
	return a, nil
}
