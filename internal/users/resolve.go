package users

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/rs/zerolog"
)

// How far one address may lead.
const (
	maxDepth  = 30
	maxFinals = 1000
)

// ErrLoop means that an address leads only back to itself.
var ErrLoop = errors.New("address leads back to itself")

// ErrTooMany means that an address leads to more than 1,000 others, or over more
// than 30 steps.
var ErrTooMany = errors.New("address leads too far")

// Final is where an address ends: in an account, or outside of what this
// server's accounts and aliases know.
type Final struct {
	Address string // the account's name if it is one, else as it was written
	Account string // "" = outside: a route says what becomes of it
	Folder  string // of a sub-address user+folder, "" = the inbox
}

// Step is one rule on the way, for EXPN and explain.
type Step struct {
	From string
	To   []string
	By   string // "aliases:12", "forward", "catch-all aliases:3", "sub-address", "postmaster", "host name"
}

// Resolved is what became of an address.
type Resolved struct {
	Finals []Final // without duplicates, in the order of the rules
	Path   []Step
}

// Resolver leads addresses through aliases, forwards, sub-addresses and
// catch-alls. It may be used by many goroutines.
type Resolver struct {
	store      *Store
	hosts      []string
	postmaster string
	log        zerolog.Logger

	path   string
	file   watched
	load   sync.Mutex
	parsed atomic.Pointer[aliases]
}

// NewResolver reads the aliases file, which may be missing, and reports the
// mistakes in it. Hosts are the server's own names: a bare alias or account is
// meant to be at one of them. Postmaster is who gets mail for the postmaster of
// any of our domains where no alias or account says otherwise; empty, it is the
// first account with the role Admin, or the first of all.
func NewResolver(store *Store, path string, hosts []string, postmaster string, log zerolog.Logger) (*Resolver, error) {
	r := &Resolver{store: store, path: path, postmaster: Canonical(postmaster), log: log}
	for _, h := range hosts {
		r.hosts = append(r.hosts, Canonical(h))
	}
	r.file.path = path
	r.file.changed()
	as, err := readAliases(path)
	r.parsed.Store(as)
	return r, err
}

// Reload reads the aliases again if the file has changed; with mistakes in it,
// the old ones stay.
func (r *Resolver) Reload() error {
	r.load.Lock()
	defer r.load.Unlock()
	if r.path == "" || !r.file.changed() {
		return nil
	}
	as, err := readAliases(r.path)
	if err != nil {
		return err
	}
	r.parsed.Store(as)
	return nil
}

func (r *Resolver) aliases() *aliases {
	if r.file.due() {
		if err := r.Reload(); err != nil {
			r.log.Error().Err(err).Msg("aliases unchanged")
		}
	}
	return r.parsed.Load()
}

// Ours says whether a domain is one of our host names, or accounts or aliases
// are in it.
func (r *Resolver) Ours(domain string) bool {
	domain = Canonical(domain)
	return slices.Contains(r.hosts, domain) || r.aliases().domains[domain] || r.store.current().domains[domain] > 0
}

// Resolve leads one address to its ends. An address that no rule knows is its
// own end, outside.
func (r *Resolver) Resolve(addr string) (Resolved, error) {
	w := &walk{Resolver: r, as: r.aliases(), seen: map[string]bool{}}
	err := w.visit(addr, "", 0)
	if err == nil && len(w.out.Finals) == 0 {
		err = fmt.Errorf("%s: %w", addr, ErrLoop)
	}
	return w.out, err
}

// walk is one resolution. It goes depth first; an address is led on only the
// first time it comes by.
type walk struct {
	*Resolver
	as   *aliases
	seen map[string]bool
	out  Resolved
}

// visit leads one address on. As written it stays only where it ends outside:
// a local part's case is the other side's business.
func (w *walk) visit(written, folder string, depth int) error {
	if !strings.Contains(written, "@") {
		written += "@" + w.host()
	}
	addr := Canonical(written)
	key := addr + "\x00" + folder
	if w.seen[key] {
		return nil
	}
	if depth > maxDepth || len(w.seen) > maxFinals {
		return ErrTooMany
	}
	w.seen[key] = true
	to, by, sub := w.rule(addr)
	if sub != "" && folder == "" {
		folder = sub
	}
	if len(to) == 0 {
		return w.end(written, folder, depth)
	}
	w.out.Path = append(w.out.Path, Step{addr, to, by})
	for _, t := range to {
		var err error
		if c := Canonical(t); c == addr || c+"@"+w.host() == addr {
			err = w.end(written, folder, depth) // "ann ann, archive": she keeps a copy
		} else {
			err = w.visit(t, folder, depth+1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// host is where a bare name in the aliases file lives.
func (w *walk) host() string {
	if len(w.hosts) == 0 {
		return "localhost"
	}
	return w.hosts[0]
}

// rule finds what leads addr on: an alias first, then an account, then the
// sub-address, the postmaster and the catch-all. No rule means that addr is an
// end.
func (w *walk) rule(addr string) (to []string, by, folder string) {
	if a, ok := w.alias(addr); ok {
		return a.to, fmt.Sprintf("aliases:%d", a.line), ""
	}
	if w.account(addr) != nil {
		return nil, "", ""
	}
	local, domain := split(addr)
	if user, sub, ok := strings.Cut(local, "+"); ok && user != "" && sub != "" && local[0] != '"' {
		base := user + "@" + domain
		if _, ok := w.alias(base); ok || w.account(base) != nil {
			return []string{base}, "sub-address", sub
		}
	}
	if local == "postmaster" && w.postmaster != "" && w.postmaster != addr && w.Ours(domain) {
		return []string{w.postmaster}, "postmaster", ""
	}
	if a, ok := w.as.m["@"+domain]; ok {
		for _, t := range a.to {
			if t[0] == '@' {
				t = local + t
			}
			to = append(to, t)
		}
		return to, fmt.Sprintf("catch-all aliases:%d", a.line), ""
	}
	if local == "postmaster" && w.Ours(domain) {
		// RFC 5321, 4.5.1: somebody must get it, whatever was not configured.
		if a := w.store.keeper(); a != "" {
			return []string{a}, "postmaster, as none is configured", ""
		}
	}
	return nil, "", ""
}

// alias looks for the whole address, then for a bare name if it is at home here.
func (w *walk) alias(addr string) (alias, bool) {
	if a, ok := w.as.m[addr]; ok {
		return a, true
	}
	local, domain := split(addr)
	if !slices.Contains(w.hosts, domain) {
		return alias{}, false
	}
	a, ok := w.as.m[local]
	return a, ok
}

// account finds an account; one at a host name of ours is known under all of them.
func (w *walk) account(addr string) *Account {
	if a, ok := w.store.Account(addr); ok {
		return a
	}
	local, domain := split(addr)
	if !slices.Contains(w.hosts, domain) {
		return nil
	}
	for _, h := range w.hosts {
		if a, ok := w.store.Account(local + "@" + h); ok {
			return a
		}
	}
	return nil
}

// end adds an account, its forwards instead of it, or an address outside.
func (w *walk) end(written, folder string, depth int) error {
	f := Final{Address: written}
	if a := w.account(Canonical(written)); a != nil {
		f = Final{Address: a.Name, Account: a.Name, Folder: folder}
		if len(a.Forward) > 0 {
			return w.forward(a, f, depth)
		}
	}
	w.add(f)
	return nil
}

// forward leads an account's mail on. Its own name among the forwards keeps a
// copy; forwards that lead back here do the same, since no mail may get lost.
func (w *walk) forward(a *Account, own Final, depth int) error {
	key := a.Name + "\x00forward"
	if w.seen[key] {
		return nil
	}
	w.seen[key] = true
	w.out.Path = append(w.out.Path, Step{a.Name, a.Forward, "forward"})
	before := len(w.out.Finals)
	for _, t := range a.Forward {
		if Canonical(t) == a.Name {
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
	for _, o := range w.out.Finals {
		if o.Folder == f.Folder && strings.EqualFold(o.Address, f.Address) {
			return
		}
	}
	w.out.Finals = append(w.out.Finals, f)
}
