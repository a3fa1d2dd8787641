package dryrun

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"hoplite/filters"
	"hoplite/mail"
	"hoplite/relay"
)

// Rule is a rule that applies to the message but has produced no verdict: a
// filter that was not reached, a limit of the server, or a change that the
// route makes to the outgoing message.
type Rule struct {
	Stage mail.Stage `json:"stage"`
	Name  string     `json:"name"`
	Text  string     `json:"text"`
}

// rules returns the rules without a verdict, in the order in which they apply
// to a message.
func (r *run) rules(chain *relay.Chain, client *mail.Client, trail *mail.Trail) []Rule {
	list := clientRules(client)
	for _, stage := range []mail.Stage{mail.StageConnect, mail.StageMail, mail.StageRcpt, mail.StageData} {
		for i := range chain.Filters.Entries {
			if e := &chain.Filters.Entries[i]; takesPart(e.Filter, stage) && !judged(trail, stage, e.Name) {
				list = append(list, Rule{stage, e.Name, r.whyNot(e, stage)})
			}
		}
	}
	if !slices.ContainsFunc(chain.Filters.Entries, func(e filters.Entry) bool { return e.Name == "hops" && !e.Shadow }) {
		list = append(list, Rule{mail.StageData, "hops", "no filter hops: a message with more than 100 Received fields is refused"})
	}
	list = append(list, Rule{mail.StageData, "loop", "refuses a message that this server has already received for the recipient"})
	return append(list, r.sendRules(chain, client)...)
}

// clientRules describes the checks that the client is exempt from.
func clientRules(c *mail.Client) (list []Rule) {
	add := func(text string) { list = append(list, Rule{mail.StageConnect, "client", text}) }
	switch {
	case c.User != "":
		add("may relay, and is exempt from sender checks: it has logged in")
	case c.MayRelay:
		add("may relay, and is exempt from sender checks: it is in relay_from")
	}
	switch {
	case c.Trusted && c.Addr.Addr().IsLoopback():
		add("is trusted, and exempt from sender checks: a program on this machine, on a loopback listener")
	case c.Trusted:
		add("is trusted, and exempt from sender checks: it is in trusted")
	case c.Addr.Addr().IsLoopback():
		add("is not trusted: the listener is open to other machines, and its loopback address may be that of a proxy")
	}
	return list
}

// takesPart reports whether a filter does anything at a stage.
func takesPart(f filters.Filter, stage mail.Stage) (ok bool) {
	switch stage {
	case mail.StageConnect:
		_, ok = f.(filters.Connecter)
	case mail.StageMail:
		_, ok = f.(filters.Mailer)
	case mail.StageRcpt:
		_, ok = f.(filters.Rcpter)
	case mail.StageData:
		_, ok = f.(filters.Dataer)
	}
	return ok
}

func judged(trail *mail.Trail, stage mail.Stage, name string) bool {
	return slices.ContainsFunc(trail.Events, func(e mail.Event) bool { return e.Stage == stage && e.By == name })
}

// whyNot returns the reason why a filter returned no verdict.
func (r *run) whyNot(e *filters.Entry, stage mail.Stage) string {
	applies := e.Only.Empty() || slices.ContainsFunc(r.q.To, func(to string) bool {
		a, err := mail.ParseAddress(to)
		return err == nil && e.Only.Match(a)
	})
	switch {
	case !applies:
		return "does not apply to the recipients (only)"
	case stage == mail.StageData && r.q.Message == nil:
		return "needs the message: name a FILE"
	}
	return "not reached"
}

// sendRules describes the processing of the message on its way to the accepted
// recipients.
func (r *run) sendRules(chain *relay.Chain, client *mail.Client) (list []Rule) {
	from, _ := mail.ParseAddress(r.q.From)
	tx := mail.NewTransaction(*client, from)
	add := func(rule Rule) {
		if !slices.Contains(list, rule) {
			list = append(list, rule)
		}
	}
	for _, w := range r.taken.list {
		to, err := mail.ParseAddress(w.To)
		if err != nil {
			continue
		}
		route := chain.Find(tx, mail.Rcpt{To: to, Orig: to})
		if route == nil {
			continue
		}
		if r.g.Rewrites(from, w.rcpt) {
			add(Rule{mail.StageSend, "srs", "the sender is rewritten, because an alias or account forwards the mail to another server"})
		}
		for _, f := range route.Finish {
			add(Rule{mail.StageSend, f.Name, fmt.Sprintf("runs in route %q, after all other changes", route.Name)})
		}
	}
	return list
}

// onLoopback returns an address of the listener at which a loopback client is
// considered a program on this machine; ok is false if there is none.
func onLoopback(l *relay.Config, client netip.Addr) (address string, ok bool) {
	if !client.IsLoopback() {
		return "", false
	}
	for _, at := range l.Listen {
		if at.Network == "tcp" && at.Loopback() && strings.HasPrefix(at.Address, "[") == client.Is6() {
			if client.Is6() {
				return "[::1]:0", true
			}
			return "127.0.0.1:0", true
		}
	}
	return "", false
}
