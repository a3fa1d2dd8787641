package relay

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"hoplite/filters"
	"hoplite/mail"
	"hoplite/mail/rewrite"
)

// Chain determines how a listener handles mail: filters decide whether it is
// accepted, and routes select its destination.
type Chain struct {
	Filters *filters.Chain
	Routes  []Route
}

// has reports whether the chain has a filter with that name.
func (c *Chain) has(name string) bool {
	return c.Filters != nil && slices.ContainsFunc(c.Filters.Entries, func(e filters.Entry) bool { return e.Name == name && !e.Shadow })
}

// Route sends recipients to a hop. All of its conditions must hold; an empty
// condition always holds.
type Route struct {
	Name     string
	To, From mail.Patterns // empty: any address
	User     []string      // normal form
	Client   []netip.Prefix
	Relay    bool // only for clients that may relay
	HopName  string
	Hop      mail.Hop
	// Rules change the sender of mail along the route. It is nil if nothing
	// changes.
	Rules *rewrite.Rules
	// Finish holds the filters of the last stage, which sign or seal the
	// message.
	Finish []Finisher
}

// Finisher is a filter of a route's last stage with its configured name.
type Finisher struct {
	Name string
	filters.Finisher
}

// NewRoute returns the route of a block. local lists the names that the pattern
// "local" matches. hop is ignored for a route that only replies.
func NewRoute(c *RouteConfig, local []string, hop mail.Hop, finish []Finisher) Route {
	r := Route{Name: c.Name, Client: c.Client, Relay: c.Relay, HopName: c.Hop, Hop: hop, Finish: finish}
	if reply, err := parseReply(c.Reply); err == nil {
		r.Hop, r.HopName = refusing{reply}, "a reply"
	}
	// RouteConfig.Check has reported addresses and patterns that cannot be parsed.
	r.Rules, _ = c.Rules()
	r.To, _ = mail.ParsePatterns(c.To, local...)
	r.From, _ = mail.ParsePatterns(c.From, local...)
	for _, u := range c.User {
		r.User = append(r.User, mail.Key(u))
	}
	return r
}

// SendAs sets a as the sender of all mail along the route, unless a is empty.
func (t *Route) SendAs(a mail.Address) {
	if a == "" {
		return
	}
	rules := rewrite.Rules{}
	if t.Rules != nil {
		rules = *t.Rules
	}
	rules.Sender = a
	t.Rules = &rules
}

// matches reports whether the route matches r.
func (t *Route) matches(tx *mail.Transaction, r mail.Rcpt) bool {
	c := &tx.Client
	return (t.To.Empty() || t.To.Match(r.To)) && (t.From.Empty() || t.From.Match(tx.Envelope.From)) &&
		(len(t.User) == 0 || c.User != "" && slices.Contains(t.User, mail.Key(c.User))) &&
		(len(t.Client) == 0 || within(t.Client, c.Addr.Addr()))
}

func within(nets []netip.Prefix, a netip.Addr) bool {
	for _, n := range nets {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// Find returns the first route that accepts r, or nil. Routes to the outside
// are skipped for clients that may not relay, unless r results from an alias, a
// forward or a filter, in which case an administrator has authorized the
// destination for every sender. The other conditions of a route apply as usual,
// and so do the chain's filters, which check each final address. The queue
// rewrites the sender of such mail.
func (c *Chain) Find(tx *mail.Transaction, r mail.Rcpt) *Route {
	for i := range c.Routes {
		t := &c.Routes[i]
		if t.Relay && !tx.Client.MayRelay && len(r.Via) == 0 {
			continue
		}
		if t.matches(tx, r) {
			return t
		}
	}
	return nil
}

// replies reports whether the route only replies.
func (t *Route) replies() bool {
	_, ok := t.Hop.(refusing)
	return ok
}

// refusing is the hop of a route that only replies. It refuses all recipients.
type refusing struct{ reply *mail.Reply }

func (h refusing) Open(context.Context, *mail.Transaction) (mail.Handoff, error) { return h, nil }

func (h refusing) Rcpt(context.Context, mail.Rcpt) error { return h.reply }

func (h refusing) Send(context.Context, *mail.Message) []mail.Outcome { return nil }

func (h refusing) Close() error { return nil }

// parseReply parses a reply as written in the configuration, such as "551 5.1.6
// text".
func parseReply(s string) (*mail.Reply, error) {
	word, text, _ := strings.Cut(strings.TrimSpace(s), " ")
	code, err := strconv.Atoi(word)
	if err != nil || code < 400 || code > 599 {
		return nil, fmt.Errorf("%q is not a 4xx or 5xx reply; write one such as \"551 5.1.6 text\"", s)
	}
	r := &mail.Reply{Code: code, Enhanced: word[:1] + ".0.0", Text: strings.TrimSpace(text)}
	if e, rest, _ := strings.Cut(r.Text, " "); strings.HasPrefix(e, word[:1]+".") && strings.Count(e, ".") == 2 && strings.Trim(e, "0123456789.") == "" {
		r.Enhanced, r.Text = e, strings.TrimSpace(rest)
	}
	if r.Text == "" || strings.ContainsAny(r.Text, "\r\n") {
		return nil, fmt.Errorf("%q has no text, or more than one line; write a reply such as \"551 5.1.6 text\"", s)
	}
	return r, nil
}
