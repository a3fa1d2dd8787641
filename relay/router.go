package relay

import (
	"cmp"
	"context"

	"hoplite/mail"
)

// Router is a hop that sends each recipient along the first route that matches.
// It delivers reports, and queued mail whose upstream is no longer configured. As
// the server itself sends these, routes to the outside apply, too.
type Router struct {
	addresses Addresses
	chains    []*Chain
}

// NewRouter returns a Router that resolves addresses and then searches the
// routes of chains in order.
func NewRouter(addresses Addresses, chains []*Chain) *Router {
	return &Router{addresses: addresses, chains: chains}
}

// Way returns the name of the hop for r and the recipient as passed to that
// hop, without asking the hop.
func (o *Router) Route(tx *mail.Transaction, r mail.Rcpt) (string, mail.Rcpt, error) {
	route, r, err := o.find(tx, r)
	if err != nil {
		return "", r, err
	}
	return route.HopName, r, nil
}

// find resolves a recipient to a single final address and finds its route.
func (o *Router) find(tx *mail.Transaction, r mail.Rcpt) (*Route, mail.Rcpt, error) {
	found, err := o.addresses.Resolve(string(r.To))
	if err != nil || len(found.Finals) != 1 {
		return nil, r, &mail.Reply{Code: 550, Enhanced: "5.1.1", Text: "this address does not resolve to exactly one mailbox", Cause: err}
	}
	if a, err := mail.ParseAddress(found.Finals[0].Address); err == nil {
		r.To = a
	}
	r.Folder = cmp.Or(found.Finals[0].Folder, r.Folder)
	own := *tx
	own.Client.MayRelay = true
	for _, c := range o.chains {
		if route := c.Find(&own, r); route != nil {
			return route, r, nil
		}
	}
	return nil, r, mail.NewReply(550, "5.7.1", "no route accepts mail for %s", r.To.Domain())
}

// Open begins a message. Hops are opened when the first recipient needs them.
func (o *Router) Open(_ context.Context, tx *mail.Transaction) (mail.Handoff, error) {
	return &routed{router: o, tx: tx, handoffs: map[string]mail.Handoff{}}, nil
}

// routed is a handoff to one or more hops.
type routed struct {
	router   *Router
	tx       *mail.Transaction
	rcpts    []routedRcpt
	handoffs map[string]mail.Handoff // by the name of the hop
}

// routedRcpt is an accepted recipient and the hop that accepted it.
type routedRcpt struct {
	to  mail.Address
	hop string
}

// Rcpt finds the route of a recipient and offers the recipient to its hop.
func (h *routed) Rcpt(ctx context.Context, r mail.Rcpt) error {
	route, r, err := h.router.find(h.tx, r)
	if err != nil {
		return err
	}
	handoff, ok := h.handoffs[route.HopName]
	if !ok {
		if handoff, err = route.Hop.Open(ctx, h.tx); err != nil {
			return err
		}
		h.handoffs[route.HopName] = handoff
	}
	if err := handoff.Rcpt(ctx, r); err != nil {
		return err
	}
	h.rcpts = append(h.rcpts, routedRcpt{r.To, route.HopName})
	return nil
}

// Send passes the message to every hop and returns the outcomes in the order of
// the recipients.
func (h *routed) Send(ctx context.Context, m *mail.Message) []mail.Outcome {
	sent := map[string][]mail.Outcome{}
	out := make([]mail.Outcome, len(h.rcpts))
	for i, r := range h.rcpts {
		left, ok := sent[r.hop]
		if !ok {
			left = h.handoffs[r.hop].Send(ctx, m)
		}
		if len(left) == 0 {
			out[i] = mail.Outcome{Rcpt: r.to, Hop: r.hop, Reply: noOutcome}
			left = []mail.Outcome{}
		} else {
			out[i], left = left[0], left[1:]
		}
		sent[r.hop] = left
	}
	return out
}

// noOutcome replaces an outcome that a hop did not return.
var noOutcome = mail.Reply{Code: 451, Enhanced: "4.3.0", Text: "the next hop returned no result for this recipient"}

// Close closes all handoffs.
func (h *routed) Close() error {
	for _, handoff := range h.handoffs {
		handoff.Close()
	}
	return nil
}
