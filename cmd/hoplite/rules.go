package main

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"hoplite/internal/conf"
	"hoplite/mail"
	"hoplite/maildrop"
	"hoplite/relay"
	"hoplite/relay/forward"
)

// rules finds what no block can know alone: names that lead nowhere, routes
// that can't match, listeners that would send strangers' mail into the world.
func (c *Config) rules(diags *conf.Diagnostics) {
	c.checkHostnames(diags)
	c.checkNames(diags)
	c.checkPlaces(diags)
	c.checkAddresses(diags)
	for _, l := range c.mailDoors() {
		c.checkDoor(l, diags)
	}
	for _, ch := range c.Chain {
		c.checkChain(ch, diags)
	}
}

// checkHostnames finds names of this server that are no domain names.
func (c *Config) checkHostnames(diags *conf.Diagnostics) {
	if _, err := mail.ParseDomain(c.Hostname); err != nil {
		diags.Add(c.Attr("hostname"), fmt.Sprintf("hostname %q is not a valid domain name", c.Hostname), "")
	}
	for _, l := range c.mailDoors() {
		if _, err := mail.ParseDomain(l.Hostname); l.Hostname != "" && err != nil {
			diags.Add(l.Attr("hostname"), fmt.Sprintf("hostname %q is not a valid domain name", l.Hostname), "")
		}
	}
}

// checkPlaces finds maildrops that would keep the same boxes with different
// settings.
func (c *Config) checkPlaces(diags *conf.Diagnostics) {
	names := map[string]string{}
	for _, m := range c.Maildrop {
		path := maildrop.Location(*m, c.Data)
		if other, taken := names[path]; taken {
			diags.Add(m.Attr("path"), fmt.Sprintf("maildrop %q keeps its boxes at the same path", other), "Several routes can lead to one maildrop.")
		}
		names[path] = m.Name
	}
}

// mailDoors are the listeners that take mail.
func (c *Config) mailDoors() []mailDoor {
	var list []mailDoor
	for _, l := range c.SMTP {
		list = append(list, mailDoor{l, "smtp"})
	}
	for _, l := range c.LMTP {
		list = append(list, mailDoor{l, "lmtp"})
	}
	return list
}

type mailDoor struct {
	*relay.Config
	kind string
}

func (d mailDoor) title() string { return fmt.Sprintf("%s %q", d.kind, d.Name) }

// local tells whether only programs of this machine get at the door without
// passing a network: a socket file. A loopback port does not count, since a
// proxy or a NAT may stand in front of it.
func (d mailDoor) local() bool {
	return !slices.ContainsFunc(d.Listen, func(l conf.Listen) bool { return l.Network != "unix" })
}

// strangers tells whether somebody who has not logged in may send mail here.
func (d mailDoor) strangers() bool { return d.Auth != "required" && !d.local() }

// relays tells whether some client of the door may relay.
func (d mailDoor) relays() bool { return d.Auth != "off" || len(d.RelayFrom) > 0 }

func (c *Config) chain(name string) *relay.ChainConfig {
	for _, ch := range c.Chain {
		if ch.Name == name {
			return ch
		}
	}
	return nil
}

func (c *Config) upstream(name string) *forward.Config {
	for _, u := range c.Upstream {
		if u.Name == name {
			return u
		}
	}
	return nil
}

// checkNames looks for chains, hops and fallbacks that are not there.
func (c *Config) checkNames(diags *conf.Diagnostics) {
	var chains, hops, upstreams []string
	for _, ch := range c.Chain {
		chains = append(chains, ch.Name)
	}
	for _, m := range c.Maildrop {
		hops = append(hops, m.Name)
	}
	for _, u := range c.Upstream {
		if slices.Contains(hops, u.Name) {
			diags.Add(u.Range(), fmt.Sprintf("a maildrop is called %q too", u.Name), "A route could mean either: give one of them another name.")
		}
		upstreams = append(upstreams, u.Name)
	}
	hops = append(hops, upstreams...)
	used := map[string]bool{}
	for _, l := range c.mailDoors() {
		used[l.Chain] = true
		if !slices.Contains(chains, l.Chain) {
			diags.Add(l.Attr("chain"), fmt.Sprintf("there is no chain %q", l.Chain),
				conf.Known(l.Chain, chains, fmt.Sprintf("No chain is configured: write chain %q { ... }.", l.Chain)))
		}
	}
	for _, ch := range c.Chain {
		if !used[ch.Name] {
			diags.Warn(ch.Range(), fmt.Sprintf("no listener uses chain %q", ch.Name), "")
		}
		for i := range ch.Routes {
			if r := &ch.Routes[i]; r.Reply == "" && !slices.Contains(hops, r.Hop) {
				diags.Add(r.Attr("hop"), fmt.Sprintf("there is no hop %q", r.Hop),
					conf.Known(r.Hop, hops, "No maildrop or upstream is configured."))
			}
		}
	}
	for _, u := range c.Upstream {
		switch {
		case u.Fallback == "":
		case u.Fallback == u.Name:
			diags.Add(u.Attr("fallback"), "an upstream can't be its own fallback", "")
		case !slices.Contains(upstreams, u.Fallback):
			diags.Add(u.Attr("fallback"), fmt.Sprintf("there is no upstream %q", u.Fallback), conf.Known(u.Fallback, upstreams, ""))
		}
	}
}

// checkAddresses looks for two listeners at one place.
func (c *Config) checkAddresses(diags *conf.Diagnostics) {
	type place struct {
		conf.Listen
		who string
	}
	var taken []place
	defer func() {
		if len(taken) == 0 {
			diags.Warn(c.Range(), "nothing listens", `Write a block such as smtp "inbound" { ... }.`)
		}
	}()
	v := reflect.ValueOf(c).Elem()
	for sf, field := range v.Fields() {
		if sf.Type.Kind() != reflect.Slice || sf.Type.Elem().Kind() != reflect.Pointer {
			continue
		}
		for i := range field.Len() {
			block := field.Index(i).Elem()
			at, ok := block.FieldByName("Listen"), block.FieldByName("Name")
			list, isList := fieldValue(at).([]conf.Listen)
			pos, hasPos := block.Addr().Interface().(interface {
				Element(string, int) conf.Range
			})
			if !isList || !hasPos || !ok.IsValid() {
				continue
			}
			who := fmt.Sprintf("%s %q", strings.ToLower(sf.Name), ok.String())
			for n, l := range list {
				for _, t := range taken {
					if collide(t.Listen, l) {
						diags.Add(pos.Element("listen", n), fmt.Sprintf("%s listens there already", t.who),
							fmt.Sprintf("%s and %s would both want %s.", t.who, who, l))
						break
					}
				}
				taken = append(taken, place{l, who})
			}
		}
	}
}

func fieldValue(v reflect.Value) any {
	if !v.IsValid() {
		return nil
	}
	return v.Interface()
}

// collide tells whether two listeners can't both be opened: the same place, or
// one of them at every address of the port.
func collide(a, b conf.Listen) bool {
	if a.Network != b.Network {
		return false
	}
	if a.Network != "tcp" {
		return a.Address == b.Address
	}
	hostA, portA := splitPort(a.Address)
	hostB, portB := splitPort(b.Address)
	return portA == portB && portA != "0" && (hostA == hostB || hostA == "" || hostB == "")
}

func splitPort(s string) (host, port string) {
	i := strings.LastIndexByte(s, ':')
	host, port = s[:i], s[i+1:]
	if host == "0.0.0.0" || host == "[::]" {
		host = ""
	}
	return host, port
}

// checkDoor looks for a listener that relays for everybody.
func (c *Config) checkDoor(d mailDoor, diags *conf.Diagnostics) {
	for i, p := range d.RelayFrom {
		if half(p) {
			diags.Add(d.Element("relay_from", i), fmt.Sprintf("%s would let a large part of the world relay", p),
				"Name your own networks, or let people log in: auth = \"required\".")
		}
	}
	for i, p := range d.XclientFrom {
		if half(p) {
			diags.Add(d.Element("xclient_from", i), fmt.Sprintf("%s could pretend to be anybody", p),
				"Name the servers that stand in front of this one.")
		}
	}
	ch := c.chain(d.Chain)
	if ch == nil || !d.strangers() {
		return
	}
	for i := range ch.Routes {
		r := &ch.Routes[i]
		wide := widest(r.To)
		if r.Relay || len(r.User) > 0 || len(r.Client) > 0 || wide == "" || c.upstream(r.Hop) == nil {
			continue
		}
		what := "every recipient"
		if wide != "*" {
			what = "every domain below " + strings.TrimPrefix(wide, ".")
		}
		detail := fmt.Sprintf("A stranger at %s could send mail to %s through upstream %q.\n"+
			"Write which domains are yours, to = [\"example.org\"], or relay = true for clients that may relay.", d.title(), what, r.Hop)
		if len(r.From) > 0 {
			detail += "\nfrom is no protection: anybody can write any sender."
		}
		diags.Add(r.Range(), fmt.Sprintf("route %q makes %s an open relay", r.Name, d.title()), detail)
	}
}

// half tells whether a network is so large that nobody owns it. Private ones
// are as large as they are.
func half(p netip.Prefix) bool {
	if p.Addr().Is4() {
		return p.Bits() < 8
	}
	return p.Bits() < 16 && !netip.MustParsePrefix("fc00::/7").Contains(p.Addr())
}

// widest is a pattern that is no domain of somebody's own: "*" for no pattern
// at all, ".org" for a whole top level domain; "" when all are narrow.
func widest(to []string) string {
	if len(to) == 0 {
		return "*"
	}
	for _, t := range to {
		if strings.HasPrefix(t, ".") && strings.Count(strings.Trim(t, "."), ".") == 0 {
			return t
		}
	}
	return ""
}

// checkChain looks for routes that can never match.
func (c *Config) checkChain(ch *relay.ChainConfig, diags *conf.Diagnostics) {
	if len(ch.Routes) == 0 {
		diags.Warn(ch.Range(), fmt.Sprintf("chain %q has no route", ch.Name), "All its mail is refused with 550 5.7.1.")
	}
	relays := false
	for _, d := range c.mailDoors() {
		relays = relays || d.Chain == ch.Name && d.relays()
	}
	for i := range ch.Routes {
		r := &ch.Routes[i]
		if r.Relay && !relays {
			diags.Add(r.Attr("relay"), fmt.Sprintf("route %q can never match", r.Name),
				fmt.Sprintf("It is for clients that may relay, and no listener of chain %q lets anybody: give one auth or relay_from.", ch.Name))
		}
		for j := range i {
			if before := &ch.Routes[j]; covers(before, r) {
				diags.Add(r.Range(), fmt.Sprintf("route %q can never match", r.Name),
					fmt.Sprintf("Route %q in line %d stands before it and takes all its mail.", before.Name, before.Range().Start.Line))
				break
			}
		}
	}
}

// covers tells whether every recipient that b takes is taken by a.
func covers(a, b *relay.RouteConfig) bool {
	if a.Relay && !b.Relay {
		return false
	}
	return coversAll(a.To, b.To, coversPattern) && coversAll(a.From, b.From, coversPattern) &&
		coversAll(a.User, b.User, strings.EqualFold) &&
		coversAll(a.Client, b.Client, func(x, y netip.Prefix) bool { return x.Bits() <= y.Bits() && x.Contains(y.Addr()) })
}

// coversAll tells whether each condition of b lies within one of a. No
// condition is the widest of all.
func coversAll[T any](a, b []T, covers func(T, T) bool) bool {
	if len(a) == 0 {
		return true
	}
	if len(b) == 0 {
		return false
	}
	for _, y := range b {
		if !slices.ContainsFunc(a, func(x T) bool { return covers(x, y) }) {
			return false
		}
	}
	return true
}

// coversPattern reports whether the pattern a of a route selects everything that
// b selects.
func coversPattern(a, b string) bool {
	p, errA := mail.ParsePattern(a)
	q, errB := mail.ParsePattern(b)
	return errA == nil && errB == nil && p.Covers(q)
}
