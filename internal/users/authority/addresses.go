package authority

import (
	"context"
	"errors"
	"strings"
	"time"

	"hoplite/internal/directory"
	"hoplite/mail"
)

// findTimeout limits a question about an address, because a client waits for it.
const findTimeout = time.Minute

// Find returns an account's full name and forwards, for mail/alias. An entry of
// a directory is an account with its primary address as name, and a group one
// that forwards to its members.
func (a *Accounts) Find(name string) (full string, forward []string, ok bool) {
	if full, forward, ok = a.Store.Find(name); ok {
		return full, forward, ok
	}
	d := a.addresses[domainOf(name)]
	if d == nil {
		return "", nil, false
	}
	ctx, cancel := context.WithTimeout(context.Background(), findTimeout)
	defer cancel()
	e, err := d.Find(ctx, mail.Key(name))
	if err != nil || e.Ambiguous || e.Address == "" {
		return "", nil, false
	}
	if !e.Group {
		return e.Address, nil, true
	}
	members, err := d.Members(ctx, e)
	return e.Address, members, err == nil && len(members) > 0
}

// HasDomain reports whether an account is in a domain in normal form, or a
// directory has its addresses.
func (a *Accounts) HasDomain(domain string) bool {
	return a.addresses[domain] != nil || a.Store.HasDomain(domain)
}

// Missing returns nil if an address that Find did not find certainly does not
// exist, otherwise the reason why that is not known.
func (a *Accounts) Missing(address string) error {
	d := a.addresses[domainOf(address)]
	if d == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), findTimeout)
	defer cancel()
	e, err := d.Find(ctx, mail.Key(address))
	switch {
	case errors.Is(err, directory.ErrUnknown):
		return nil
	case err == nil && e.Ambiguous:
		return errors.New("several entries of the directory have the address")
	case err == nil && e.Group:
		_, err = d.Members(ctx, e)
	}
	return err
}

// domainOf returns the domain of an address in normal form.
func domainOf(address string) string {
	key := mail.Key(address)
	return key[strings.LastIndexByte(key, '@')+1:]
}
