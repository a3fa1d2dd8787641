package check

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"hoplite/cmd/hoplite/internal/config"
	"hoplite/cmd/hoplite/internal/terminal"
	"hoplite/filters"
	"hoplite/internal/conf"
	"hoplite/internal/listen"
	"hoplite/relay"
	"hoplite/relay/forward"
)

// plan prints a description of a configuration.
type plan struct {
	w   io.Writer
	cfg *config.Config
	// unwrapped prints each text on one line, for programs.
	unwrapped bool
}

// Plan prints a description of each listener, chain and hop.
func Plan(w io.Writer, cfg *config.Config) { plan{w: w, cfg: cfg}.all() }

func (p plan) all() {
	w, cfg := p.w, p.cfg
	p.say("", "We are %s; all state is kept in %s.", cfg.Hostname, cfg.Data)
	p.surroundings()
	for _, l := range cfg.MailListeners() {
		p.listener(l)
	}
	p.readers()
	for _, ch := range cfg.Chain {
		p.chain(ch)
	}
	for _, m := range cfg.Maildrop {
		fmt.Fprintln(w)
		p.say("", "maildrop %q", m.Name)
		p.say("    ", "A Maildir for each account: %s. Unknown recipients are refused at RCPT.", m.Path)
	}
	for _, u := range cfg.Upstream {
		p.upstream(u)
	}
	for _, d := range cfg.Directory {
		p.directory(d)
	}
	for _, a := range cfg.Accounts {
		p.accounts(a)
	}
}

// say prints indented text; continuation lines are indented further.
func (p plan) say(indent, format string, args ...any) {
	if p.unwrapped {
		fmt.Fprintln(p.w, indent+fmt.Sprintf(format, args...))
		return
	}
	terminal.Indent(p.w, indent, indent+"  ", fmt.Sprintf(format, args...))
}

func (p plan) listener(l config.MailListener) {
	fmt.Fprintln(p.w)
	p.say("", "%s at %s", l.Title(), join(l.Listen))
	who := "Any client may connect"
	tls := tlsModes(&l.Config.Config)
	if l.Local() {
		who, tls = "Programs on this machine may connect", "clear text"
	}
	login := map[string]string{"off": "no logins", "optional": "logins", "required": "mail only after a login"}[l.Auth]
	p.say("    ", "%s; %s, %s.", who, tls, login)
	p.say("    ", "%s", mayRelay(l))
	p.say("    ", "Messages up to %s; a bare CR or LF is %s.", l.MaxSize, bareIs(l))
	p.say("    ", "Chain %q filters and routes the mail.", l.Chain)
}

// tlsModes describes the use of TLS, separately for each address if it differs.
func tlsModes(c *listen.Config) string {
	var all []string
	for _, at := range c.Listen {
		mode := map[string]string{"starttls": "TLS by STARTTLS", "implicit": "TLS from the first octet", "off": "no TLS"}[c.Mode(at)]
		if !slices.Contains(all, mode) {
			all = append(all, mode)
		}
	}
	return strings.Join(all, " or ")
}

func bareIs(l config.MailListener) string {
	if l.Bare == "fix" || l.Bare == "" && len(l.RelayFrom) > 0 {
		return "corrected"
	}
	return "refused"
}

func mayRelay(l config.MailListener) string {
	switch nets := join(l.RelayFrom); {
	case l.Auth != "off" && nets != "":
		return "May relay: clients that have logged in, and clients in " + nets + "."
	case l.Auth != "off":
		return "May relay: clients that have logged in."
	case nets != "":
		return "May relay, without a login: clients in " + nets + "."
	}
	return "No client may relay: mail is accepted for the chain's own recipients only."
}

func (p plan) chain(ch *relay.ChainConfig) {
	users := "no listener"
	var titles []string
	for _, l := range p.cfg.MailListeners() {
		if l.Chain == ch.Name {
			titles = append(titles, l.Title())
		}
	}
	if len(titles) > 0 {
		users = strings.Join(titles, ", ")
	}
	fmt.Fprintln(p.w)
	p.say("", "chain %q of %s", ch.Name, users)
	if len(ch.Filters) == 0 {
		p.say("    ", "No filters.")
	}
	for i := range ch.Filters {
		p.filter(fmt.Sprintf("%d. ", i+1), &ch.Filters[i])
	}
	for i := range ch.Routes {
		p.route(&ch.Routes[i])
	}
	p.say("    ", "all other recipients: refused with 550 5.7.1")
}

func (p plan) filter(number string, f *filters.Config) {
	text := f.Name
	if written := f.Body.Written(); len(written) > 0 {
		text += ": " + strings.Join(written, ", ")
	}
	p.say("    ", "%s%s", number, text)
	p.inner("       ", f.Body)
}

// inner prints the rules within a filter.
func (p plan) inner(indent string, body conf.Body) {
	for _, in := range body.Inner() {
		text := in.Title
		if written := in.Written(); len(written) > 0 {
			text += ": " + strings.Join(written, ", ")
		}
		p.say(indent, "%s", text)
		p.inner(indent+"  ", in.Body)
	}
}

func (p plan) route(r *relay.RouteConfig) {
	var words []string
	for _, c := range []struct{ word, list string }{
		{"to", strings.Join(r.To, ", ")}, {"from", strings.Join(r.From, ", ")},
		{"of login", strings.Join(r.User, ", ")}, {"of clients in", join(r.Client)},
	} {
		if c.list != "" {
			words = append(words, c.word+" "+c.list)
		}
	}
	if len(words) == 0 {
		words = []string{"to any recipient"}
	}
	text := strings.Join(words, ", ")
	if r.Relay {
		text += ", of clients that may relay"
	}
	if r.Reply != "" {
		p.say("    ", "%s: refused with %s", text, r.Reply)
		return
	}
	kind := "maildrop"
	if p.cfg.FindUpstream(r.Hop) != nil {
		kind = "upstream"
	}
	p.say("    ", "%s -> %s %q", text, kind, r.Hop)
	for _, from := range slices.Sorted(maps.Keys(r.Rewrite)) {
		p.say("    ", "  the sender %s becomes %s", from, r.Rewrite[from])
	}
	if r.Sender != "" {
		p.say("    ", "  sent as %s; signed messages are refused", r.Sender)
	}
	for i := range r.Filters {
		p.filter("  then ", &r.Filters[i])
	}
}

func (p plan) upstream(u *forward.Config) {
	fmt.Fprintln(p.w)
	p.say("", "upstream %q", u.Name)
	where := strings.Join(u.Servers, ", ")
	if u.MX {
		where = fmt.Sprintf("The MX hosts of each domain, port %d", u.Port)
	}
	mode := map[string]string{
		"inline": "in-line, the client receives the upstream's own reply",
		"queue":  "from the queue, after the message has been accepted",
		"auto":   "in-line while the upstream answers, else from the queue",
	}[u.Mode]
	p.say("    ", "%s; %s.", where, mode)
	const verified = "TLS with a verified certificate required"
	tls := map[string]string{"off": "Clear text", "may": "TLS if the server offers it", "require": "TLS required", "verify": verified}[u.TLS]
	switch some, all := u.LoginVerified(); {
	case all:
		tls = verified
	case some && u.TLS != "verify":
		tls = verified + ", except on this machine"
	}
	if u.Certificate != "" {
		tls += fmt.Sprintf("; client certificate %q", u.Certificate)
	}
	if u.Auth != nil {
		tls += "; login as " + cmp.Or(u.Auth.User, "the certificate's name")
		if u.Auth.OAuth2 != nil {
			tls += " by OAuth"
		}
	}
	p.say("    ", "%s.", tls)
	if u.MX {
		for _, c := range p.cfg.Policy {
			p.say("    ", "%s.", upper(c.String()))
		}
	}
	if u.Rate.Count > 0 {
		p.say("    ", "At most %s messages on %d connections; more wait.", u.Rate, u.Connections)
	}
	if u.RecipientsPerDay > 0 {
		p.say("    ", "At most %d recipients in 24 hours; more mail waits.", u.RecipientsPerDay)
	}
	if u.Sender != "" {
		p.say("    ", "All mail is sent as %s; signed messages are refused.", u.Sender)
	}
	file, listed := u.RecipientsFile()
	directory, asked := u.RecipientsDirectory()
	switch {
	case u.MX || u.Recipients == "any":
		p.say("    ", "Recipients are not checked. A refusal after acceptance is reported to the sender if the client may relay or SPF or DMARC proves the sender, otherwise to the postmaster.")
	case listed:
		p.say("    ", "Recipients are those listed in %s.", p.cfg.Under(file))
	case asked:
		p.say("    ", "Recipients are those in directory %q; the upstream expands groups.", directory)
	default:
		p.say("    ", "Recipients are checked with the upstream at RCPT; answers are kept for %s.", conf.FormatDuration(u.KnownFor))
	}
	if u.Fallback != "" {
		p.say("    ", "If it can't be reached: upstream %q.", u.Fallback)
	}
}

// join returns a list of addresses or networks as text.
func join[T conf.Listen | netip.Prefix](list []T) string {
	words := make([]string, len(list))
	for i, x := range list {
		words[i] = fmt.Sprint(x)
	}
	return strings.Join(slices.Compact(words), ", ")
}
