package relay

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"hoplite/mail"
	"hoplite/mail/alias"
)

// Router is a hop that sends each recipient along the first matching route. It
// delivers reports, and queued mail whose upstream is no longer configured.
// Because the server itself sends such mail, routes to the outside also apply.
type Router struct {
	addresses Addresses
	chains    []*Chain
}

// NewRouter returns a Router that resolves addresses and then searches the
// routes of chains in order.
func NewRouter(addresses Addresses, chains []*Chain) *Router {
	return &Router{addresses: addresses, chains: chains}
}

// Route returns the name of the hop for r and the recipient as passed to that
// hop, without asking the hop. The error is temporary if r resolves to several
// addresses.
func (o *Router) Route(tx *mail.Transaction, r mail.Rcpt) (string, mail.Rcpt, error) {
	ends, err := o.find(tx, r)
	switch {
	case err != nil:
		return "", r, err
	case len(ends) > 1:
		return "", r, mail.NewReply(450, "4.3.0", "<%s> leads to %d addresses", r.To, len(ends))
	}
	return ends[0].route.HopName, ends[0].rcpt, nil
}

// end is a final address and its route.
type end struct {
	route *Route
	rcpt  mail.Rcpt
}

// find resolves a recipient to its final addresses and finds their routes. An
// address without a route is omitted if another one has a route. A recipient
// with a hop was already resolved when its message arrived. If it is one of its
// own final addresses, the others received the message at that time.
func (o *Router) find(tx *mail.Transaction, r mail.Rcpt) ([]end, error) {
	found, err := o.addresses.Resolve(string(r.To))
	switch {
	case errors.Is(err, alias.ErrMistake):
		return nil, mail.AsReply(err)
	case errors.Is(err, alias.ErrLoop), errors.Is(err, alias.ErrTooMany):
		// The message has already been accepted, and the aliases can be corrected.
		return nil, &mail.Reply{Code: 451, Enhanced: "4.4.6", Text: "Alias loop detected", Cause: err}
	}
	if err != nil || len(found.Finals) == 0 {
		return nil, &mail.Reply{Code: 550, Enhanced: "5.1.1", Text: "Recipient address rejected: no such user", Cause: err}
	}
	finals := found.Finals
	if r.Hop != "" {
		itself := func(f alias.Final) bool { return mail.Key(f.Address) == r.To.Key() }
		if i := slices.IndexFunc(finals, itself); i >= 0 {
			finals = finals[i : i+1]
		}
	}
	own := *tx
	own.Client.MayRelay = true
	var ends []end
	for _, f := range finals {
		to := r
		if a, err := mail.ParseAddress(f.Address); err == nil {
			to.To = a
		}
		to.Folder = cmp.Or(f.Folder, r.Folder)
		if route := o.routeOf(&own, to); route != nil {
			ends = append(ends, end{route, to})
		}
	}
	if len(ends) == 0 {
		return nil, mail.NewReply(550, "5.7.1", "no route accepts mail for %s", r.To.Domain())
	}
	return ends, nil
}

func (o *Router) routeOf(tx *mail.Transaction, r mail.Rcpt) *Route {
	for _, c := range o.chains {
		if route := c.Find(tx, r); route != nil {
			return route
		}
	}
	return nil
}

// Open begins a message. Each hop is opened when the first recipient needs it.
func (o *Router) Open(_ context.Context, tx *mail.Transaction) (mail.Handoff, error) {
	return &routed{router: o, tx: tx, handoffs: map[string]mail.Handoff{}}, nil
}

// routed is a handoff to one or more hops.
type routed struct {
	router   *Router
	tx       *mail.Transaction
	rcpts    []routedRcpt
	handoffs map[string]mail.Handoff // by hop name
}

// routedRcpt is an accepted recipient, with the hop of each accepted final
// address.
type routedRcpt struct {
	to   mail.Address
	hops []string
}

// Rcpt finds the routes of a recipient and offers it to their hops. At least
// one of its final addresses must be accepted.
func (h *routed) Rcpt(ctx context.Context, r mail.Rcpt) error {
	ends, err := h.router.find(h.tx, r)
	if err != nil {
		return err
	}
	accepted := routedRcpt{to: r.To}
	if len(ends) == 1 {
		accepted.to = ends[0].rcpt.To
	}
	for _, e := range ends {
		if refused := h.offer(ctx, e); refused == nil {
			accepted.hops = append(accepted.hops, e.route.HopName)
		} else if err == nil || mail.AsReply(err).Permanent() {
			err = refused // a temporary refusal takes precedence
		}
	}
	if len(accepted.hops) == 0 {
		return err
	}
	h.rcpts = append(h.rcpts, accepted)
	return nil
}

// offer offers one final address to its hop.
func (h *routed) offer(ctx context.Context, e end) error {
	handoff, ok := h.handoffs[e.route.HopName]
	if !ok {
		var err error
		if handoff, err = e.route.Hop.Open(ctx, h.tx); err != nil {
			return err
		}
		h.handoffs[e.route.HopName] = handoff
	}
	return handoff.Rcpt(ctx, e.rcpt)
}

// Send passes the message to every hop and returns the outcomes in the order of
// the recipients. The outcome of a recipient with several final addresses is
// the best of theirs, because these messages are reports, and a single copy is
// enough to notify the sender.
func (h *routed) Send(ctx context.Context, m *mail.Message) []mail.Outcome {
	sent := map[string][]mail.Outcome{}
	for _, r := range h.rcpts {
		for _, hop := range r.hops {
			if _, ok := sent[hop]; !ok {
				sent[hop] = h.handoffs[hop].Send(ctx, m)
			}
		}
	}
	out := make([]mail.Outcome, len(h.rcpts))
	for i, r := range h.rcpts {
		for k, hop := range r.hops {
			o := mail.Outcome{Rcpt: r.to, Hop: hop, Reply: noOutcome}
			if left := sent[hop]; len(left) > 0 {
				o, sent[hop] = left[0], left[1:]
			}
			if k == 0 || better(&o.Reply, &out[i].Reply) {
				out[i] = o
			}
		}
		if len(r.hops) > 1 {
			out[i].Rcpt = r.to
		}
	}
	return out
}

// better reports whether a is closer to success than b.
func better(a, b *mail.Reply) bool {
	return a.Positive() && !b.Positive() || !a.Permanent() && b.Permanent()
}

// noOutcome is used if a hop does not return an outcome.
var noOutcome = mail.Reply{Code: 451, Enhanced: "4.3.0", Text: "the next hop returned no result for this recipient"}

// Close closes all handoffs.
func (h *routed) Close() error {
	for _, handoff := range h.handoffs {
		handoff.Close()
	}
	return nil
}
