package main

import (
	"hoplite/internal/users"
	"hoplite/mail"
	"hoplite/mail/srs"
)

// sender is the reverse path towards a recipient. It is rewritten only where
// it must be: the mail is forwarded by an alias or an account of ours, from a
// stranger, to a stranger, whose server would otherwise find by SPF that we may
// not send for the former.
func (g *ground) sender(from mail.Address, r mail.Rcpt) mail.Address {
	own := g.own.Load()
	if own == nil || g.srs == nil || from == "" || len(r.Via) == 0 || own.Ours(from.Domain()) || own.Ours(r.To.Domain()) {
		return from
	}
	return g.srs.Forward(from)
}

// addresses leads addresses through aliases and forwards, and bounces of
// forwarded mail back to whom we forwarded it for.
type addresses struct {
	*users.Resolver
	srs *srs.Rewriter
}

// Resolve leads an address to its ends.
func (a addresses) Resolve(addr string) (users.Resolved, error) {
	given, err := mail.ParseAddress(addr)
	if err != nil || a.srs == nil || !a.srs.Ours(given) {
		return a.Resolver.Resolve(addr)
	}
	back, err := a.srs.Reverse(given)
	if err != nil {
		return users.Resolved{}, &mail.Reply{Code: 550, Enhanced: "5.1.1", Text: "no such address: it was not made here, or too long ago", Cause: err}
	}
	found, err := a.Resolver.Resolve(string(back))
	found.Path = append([]users.Step{{From: addr, To: []string{string(back)}, By: "rewritten sender"}}, found.Path...)
	return found, err
}
