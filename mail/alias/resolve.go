// Package alias resolves addresses through aliases, forwards, sub-addresses,
// catch-alls and the postmaster to accounts or to addresses on other servers.
//
// [Parse] reads an aliases file, and [Resolver] applies the rules. The
// interface [Accounts] abstracts the storage of accounts. The caller reads
// files and watches them for changes; routes handle addresses that are not
// local. Start with Resolver.
package alias

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"hoplite/mail"
)

// Limits on one resolution.
const (
	maxDepth  = 30
	maxFinals = 1000
)

// ErrLoop means that an address resolves only to itself.
var ErrLoop = errors.New("address resolves to itself")

// ErrTooMany means that an address resolves to more than 1,000 others or
// requires more than 30 steps.
var ErrTooMany = errors.New("address resolves to too many others")

// Accounts looks up the accounts of this server. users.Store implements it.
type Accounts interface {
	// Find returns the full name of an account and the addresses that its mail
	// is forwarded to. Names are compared by [mail.Key].
	Find(name string) (full string, forward []string, ok bool)
	// HasDomain reports whether any account is in the given domain, which is in
	// normal form.
	HasDomain(domain string) bool
	// Keeper returns the account that receives mail for the postmaster if none
	// is configured, or "" if there are no accounts.
	Keeper() string
}

// Final is one of the final addresses that an address resolves to.
type Final struct {
	Address string // the account name, or the address as written
	Account string // empty for an address that is not a local account
	Folder  string // folder of a sub-address user+folder; empty for the inbox
}

// Step is one rule that was applied, for EXPN and explain.
type Step struct {
	From string
	To   []string
	By   string // "aliases:12", "forward", "catch-all aliases:3", "sub-address", "postmaster"
}

// Resolved is the result of resolving an address.
type Resolved struct {
	Finals []Final // without duplicates, in rule order
	Path   []Step
}

// Resolver resolves addresses. It is safe for concurrent use.
type Resolver struct {
	accounts   Accounts
	table      func() *Table
	hosts      []string // in normal form
	postmaster string   // a Key
	uncertain  []string // in normal form; see MayHold
}

// New returns a resolver for accounts and the aliases that table returns. hosts
// lists the names of this server; aliases and accounts without a domain belong
// to them. postmaster receives mail for the postmaster of any local domain that
// has no alias or account for it. If postmaster is empty, the mail goes to the
// account returned by [Accounts.Keeper].
func New(accounts Accounts, table func() *Table, hosts []string, postmaster string) *Resolver {
	r := &Resolver{accounts: accounts, table: table, postmaster: mail.Key(postmaster)}
	for _, h := range hosts {
		if d, err := mail.ParseDomain(h); err == nil {
			r.hosts = append(r.hosts, d)
		}
	}
	return r
}

// MayHold names domains, besides those of accounts and known aliases, that the
// aliases file may contain. While the file cannot be read, addresses in them
// resolve to [ErrMistake]. It must be called before the first resolution.
func (r *Resolver) MayHold(domains []string) { r.uncertain = domains }

// Ours reports whether a domain is a name of this server, or has accounts or
// aliases.
func (r *Resolver) Ours(domain string) bool {
	d, err := mail.ParseDomain(domain)
	return err == nil && r.isLocal(d, r.table())
}

func (r *Resolver) isLocal(domain string, t *Table) bool {
	return slices.Contains(r.hosts, domain) || t.hasDomain(domain) || r.accounts.HasDomain(domain)
}

// Resolve follows the rules from an address to all its final addresses. An
// address without a matching rule is final.
func (r *Resolver) Resolve(addr string) (Resolved, error) {
	w := &walk{Resolver: r, t: r.table(), seen: map[string]bool{}}
	err := w.visit(addr, "", 0)
	if err == nil && len(w.out.Finals) == 0 {
		err = fmt.Errorf("%s: %w", addr, ErrLoop)
	}
	return w.out, err
}

// walk is one resolution, in depth-first order. An address is followed only the
// first time it appears.
type walk struct {
	*Resolver
	t    *Table
	seen map[string]bool
	out  Resolved
}

// visit follows the rules for one address. Its spelling is preserved only if it
// is on another server, since only that server knows whether the case of the
// local part matters.
func (w *walk) visit(written, folder string, depth int) error {
	if !strings.Contains(written, "@") {
		written += "@" + w.host()
	}
	key := mail.Key(written)
	if w.visited(key + "\x00" + folder) {
		return nil
	}
	if depth > maxDepth || len(w.seen) > maxFinals {
		return ErrTooMany
	}
	to, by, sub, err := w.rule(key)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", key, ErrMistake, err)
	}
	if sub != "" && folder == "" {
		folder = sub
	}
	if len(to) == 0 {
		return w.end(written, folder, depth)
	}
	w.out.Path = append(w.out.Path, Step{key, to, by})
	for _, t := range to {
		var err error
		if k := mail.Key(t); k == key || k+"@"+w.host() == key {
			err = w.end(written, folder, depth) // "ann ann, archive" keeps a copy for ann
		} else {
			err = w.visit(t, folder, depth+1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// visited reports whether it has already been called with what.
func (w *walk) visited(what string) bool {
	if w.seen[what] {
		return true
	}
	w.seen[what] = true
	return false
}

// host returns the default domain for names without one.
func (w *walk) host() string {
	if len(w.hosts) == 0 {
		return "localhost"
	}
	return w.hosts[0]
}

// rule returns the first rule for an address: an alias, then an account, then
// the sub-address, the postmaster and the catch-all. An address without a rule
// is final. An error is the mistake in its alias.
func (w *walk) rule(key string) (to []string, by, folder string, err error) {
	if a, ok := w.alias(key); ok {
		return a.to, fmt.Sprintf("aliases:%d", a.line), "", a.err
	}
	if _, _, ok := w.account(key); ok {
		return nil, "", "", nil
	}
	local, domain := split(key)
	if base, sub, ok := w.subAddress(local, domain); ok {
		return []string{base}, "sub-address", sub, nil
	}
	if local == "postmaster" && w.postmaster != "" && w.postmaster != key && w.isLocal(domain, w.t) {
		return []string{w.postmaster}, "postmaster", "", nil
	}
	if a, ok := w.t.get("@" + domain); ok {
		for _, t := range a.to {
			if t[0] == '@' {
				t = local + t
			}
			to = append(to, t)
		}
		return to, fmt.Sprintf("catch-all aliases:%d", a.line), "", a.err
	}
	if local == "postmaster" && w.isLocal(domain, w.t) {
		// RFC 5321, 4.5.1: mail for the postmaster must be accepted.
		if a := w.accounts.Keeper(); a != "" {
			return []string{a}, "postmaster, as none is configured", "", nil
		}
	}
	if w.t != nil && w.t.unread != nil && (w.isLocal(domain, w.t) || w.t.cut && slices.Contains(w.uncertain, domain)) {
		return nil, "", "", w.t.unread // it may be the alias for this address
	}
	return nil, "", "", nil
}

// subAddress splits user+folder if user has an alias or account.
func (w *walk) subAddress(local, domain string) (base, folder string, ok bool) {
	user, folder, ok := strings.Cut(local, "+")
	if !ok || user == "" || folder == "" || local[0] == '"' {
		return "", "", false
	}
	base = user + "@" + domain
	if _, ok := w.alias(base); ok {
		return base, folder, true
	}
	_, _, ok = w.account(base)
	return base, folder, ok
}

// alias finds the alias of the whole address, or of its local part alone if the
// domain is a name of this server.
func (w *walk) alias(key string) (entry, bool) {
	if a, ok := w.t.get(key); ok {
		return a, true
	}
	local, domain := split(key)
	if !slices.Contains(w.hosts, domain) {
		return entry{}, false
	}
	return w.t.get(local)
}

// account finds an account. An account at one of this server's names is found
// under all of them.
func (w *walk) account(key string) (name string, forward []string, ok bool) {
	if name, forward, ok = w.accounts.Find(key); ok {
		return name, forward, true
	}
	local, domain := split(key)
	if !slices.Contains(w.hosts, domain) {
		return "", nil, false
	}
	for _, h := range w.hosts {
		if name, forward, ok = w.accounts.Find(local + "@" + h); ok {
			return name, forward, true
		}
	}
	return "", nil, false
}

// end adds an account, the account's forwards instead, or an address on another
// server.
func (w *walk) end(written, folder string, depth int) error {
	name, forward, ok := w.account(mail.Key(written))
	if !ok {
		w.add(Final{Address: written})
		return nil
	}
	own := Final{Address: name, Account: name, Folder: folder}
	if len(forward) > 0 {
		return w.forward(own, forward, depth)
	}
	w.add(own)
	return nil
}

// forward follows an account's forwards. If they include the account itself,
// the account keeps a copy. It also keeps one if all forwards lead back to it,
// so that no mail is lost.
func (w *walk) forward(own Final, forward []string, depth int) error {
	if w.visited(own.Account + "\x00forward") {
		return nil
	}
	w.out.Path = append(w.out.Path, Step{own.Account, forward, "forward"})
	before := len(w.out.Finals)
	for _, t := range forward {
		if mail.Key(t) == mail.Key(own.Account) {
			w.add(own)
		} else if err := w.visit(t, "", depth+1); err != nil {
			return err
		}
	}
	if len(w.out.Finals) == before {
		w.add(own)
	}
	return nil
}

func (w *walk) add(f Final) {
	key := mail.Key(f.Address)
	for _, o := range w.out.Finals {
		if o.Folder == f.Folder && mail.Key(o.Address) == key {
			return
		}
	}
	w.out.Finals = append(w.out.Finals, f)
}

// split splits an address at its last @.
func split(key string) (local, domain string) {
	i := strings.LastIndexByte(key, '@')
	if i < 0 {
		return "", ""
	}
	return key[:i], key[i+1:]
}
