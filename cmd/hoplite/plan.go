package main

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"hoplite/filters"
	"hoplite/internal/conf"
	"hoplite/relay"
	"hoplite/relay/forward"
)

// columns is what every terminal has.
const columns = 80

// plan writes what a configuration does, in words.
type plan struct {
	w   io.Writer
	cfg *Config
}

// say writes text under an indent; what does not fit goes on below it.
func (p plan) say(indent, format string, args ...any) {
	for _, line := range conf.Wrap(fmt.Sprintf(format, args...), indent, indent+"  ", columns) {
		fmt.Fprintln(p.w, line)
	}
}

func (p plan) write() {
	p.say("", "We are %s; everything is kept in %s.", p.cfg.Hostname, p.cfg.Data)
	for _, d := range p.cfg.mailDoors() {
		p.door(d)
	}
	for _, ch := range p.cfg.Chain {
		p.chain(ch)
	}
	for _, m := range p.cfg.Maildrop {
		fmt.Fprintln(p.w)
		p.say("", "maildrop %q", m.Name)
		p.say("    ", "A Maildir for each account: %s. Strangers' addresses are refused at RCPT.", m.Path)
	}
	for _, u := range p.cfg.Upstream {
		p.upstream(u)
	}
}

func (p plan) door(d mailDoor) {
	fmt.Fprintln(p.w)
	p.say("", "%s at %s", d.title(), join(d.Listen))
	who := "Anyone may connect"
	if d.local() {
		who = "Programs on this machine may connect"
	}
	tls := map[string]string{"starttls": "TLS by STARTTLS", "implicit": "TLS from the first octet", "off": "no TLS"}[d.TLS]
	if d.local() {
		tls = "clear text"
	}
	login := map[string]string{"off": "no logins", "optional": "logins", "required": "mail only after a login"}[d.Auth]
	p.say("    ", "%s; %s, %s.", who, tls, login)
	p.say("    ", "%s", p.mayRelay(d))
	p.say("    ", "Messages up to %s; a bare CR or LF is %s.", d.MaxSize, bareIs(d))
	p.say("    ", "Chain %q judges and routes the mail.", d.Chain)
}

func bareIs(d mailDoor) string {
	if d.Bare == "fix" || d.Bare == "" && len(d.RelayFrom) > 0 {
		return "put right"
	}
	return "refused"
}

func (p plan) mayRelay(d mailDoor) string {
	switch nets := join(d.RelayFrom); {
	case d.Auth != "off" && nets != "":
		return "May relay: who has logged in, and clients in " + nets + "."
	case d.Auth != "off":
		return "May relay: who has logged in."
	case nets != "":
		return "May relay, without a login: clients in " + nets + "."
	}
	return "Nobody may relay: mail goes to the recipients of the chain's open routes only."
}

func (p plan) chain(ch *relay.ChainConfig) {
	var users []string
	for _, d := range p.cfg.mailDoors() {
		if d.Chain == ch.Name {
			users = append(users, d.title())
		}
	}
	fmt.Fprintln(p.w)
	p.say("", "chain %q of %s", ch.Name, orNobody(users))
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

func orNobody(list []string) string {
	if len(list) == 0 {
		return "no listener"
	}
	return strings.Join(list, ", ")
}

func (p plan) filter(number string, f *filters.Config) {
	text := f.Name
	if written := f.Body.Written(); len(written) > 0 {
		text += ": " + strings.Join(written, ", ")
	}
	p.say("    ", "%s%s", number, text)
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
		words = []string{"to anyone"}
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
	if p.cfg.upstream(r.Hop) != nil {
		kind = "upstream"
	}
	p.say("    ", "%s -> %s %q", text, kind, r.Hop)
	for i := range r.Filters {
		p.filter("  then ", &r.Filters[i])
	}
}

func (p plan) upstream(u *forward.Config) {
	fmt.Fprintln(p.w)
	p.say("", "upstream %q", u.Name)
	where := strings.Join(u.Servers, ", ")
	if u.MX {
		where = fmt.Sprintf("The servers that DNS names for each domain, port %d", u.Port)
	}
	mode := map[string]string{
		"inline": "the client waits for the upstream's own answer",
		"queue":  "we answer for the message and send it on from the queue",
		"auto":   "in-line while the upstream answers, else from the queue",
	}[u.Mode]
	p.say("    ", "%s; %s.", where, mode)
	tls := map[string]string{"off": "Clear text", "may": "TLS when it is offered", "require": "TLS or nothing",
		"verify": "TLS with a good certificate or nothing"}[u.TLS]
	if u.Auth != nil {
		tls += fmt.Sprintf("; we log in as %s", u.Auth.User)
	}
	p.say("    ", "%s.", tls)
	switch {
	case u.MX || u.Recipients == "any":
		p.say("    ", "Recipients are not checked: what is refused there comes back as a bounce.")
	case u.Recipients == "call-ahead":
		p.say("    ", "Recipients are asked for at RCPT and remembered for %s.", conf.FormatDuration(u.KnownFor))
	default:
		p.say("    ", "Recipients are those in %s.", p.cfg.under(strings.TrimPrefix(u.Recipients, "file:")))
	}
	if u.Fallback != "" {
		p.say("    ", "When it can't be reached: upstream %q.", u.Fallback)
	}
}

// join writes a list of addresses or networks.
func join[T conf.Listen | netip.Prefix](list []T) string {
	words := make([]string, len(list))
	for i, x := range list {
		words[i] = fmt.Sprint(x)
	}
	return strings.Join(slices.Compact(words), ", ")
}
