package main

import (
	"fmt"
	"strings"

	"hoplite/internal/conf"
	"hoplite/mail"
	"hoplite/relay"
	"hoplite/relay/forward"
	"hoplite/relay/wire"
)

// relayTricks are the forms in which open relays were found over the years.
// OURS is a domain that we take mail for, VICTIM one that is none of our
// business.
var relayTricks = []string{
	"<user@VICTIM>", "<user@sub.VICTIM>", "<user@[192.0.2.99]>", "<user@[IPv6:2001:db8::99]>", "<user@192.0.2.99>",
	"<user%VICTIM@OURS>", "<user%VICTIM>", "<user%VICTIM%OURS>", "<user%VICTIM@[127.0.0.1]>", "<user%VICTIM@localhost>",
	"<VICTIM!user@OURS>", "<VICTIM!user>", "<OURS!VICTIM!user>", "<VICTIM!user@[127.0.0.1]>", "<user%VICTIM!OURS@OURS>",
	"<user@VICTIM@OURS>", "<user@VICTIM@>", "<user@@VICTIM>", `<"user@VICTIM"@OURS>`, `<"user@VICTIM">`, `<"user%VICTIM"@OURS>`,
	"<@OURS:user@VICTIM>", "<@localhost,@OURS:user@VICTIM>", "<@OURS:user%VICTIM>", "<@VICTIM:user@VICTIM>", "<@OURS:VICTIM!user>",
	"<user@VICTIM.>", "<user@VICTIM..OURS>", "<user@VICTIM\uff0eOURS>", "<user\uff20VICTIM@OURS>", "<user@OURS\u3002VICTIM>",
	"<user@VICTIM(OURS)>", "<user@VICTIM (comment)@OURS>", "<user@VICTIM\x00@OURS>", "<user@VICTIM\r@OURS>", "user@VICTIM",
}

// relayDoor is a listener as a stranger meets it.
type relayDoor struct {
	mailDoor
	chain *relay.Chain
	// sends are the hops that lead to other servers.
	sends map[string]bool
}

func (c *Config) relayDoor(d mailDoor) relayDoor {
	chain := &relay.Chain{}
	if ch := c.chain(d.Chain); ch != nil {
		for i := range ch.Routes {
			chain.Routes = append(chain.Routes, relay.NewRoute(&ch.Routes[i], c.names(), nil, nil))
		}
	}
	sends := map[string]bool{}
	for _, u := range c.Upstream {
		sends[u.Name] = true
	}
	return relayDoor{d, chain, sends}
}

// try says why a stranger's RCPT is refused or stays here, or the route by
// which it would go out into the world.
func (d relayDoor) try(arg string) (safe string, out *relay.Route) {
	path, err := wire.ParsePath(arg)
	if err != nil {
		return "refused: " + err.Error(), nil
	}
	to, err := mail.ParseAddress(path)
	if err != nil {
		return "refused: " + err.Error(), nil
	}
	tx := mail.NewTransaction(mail.Client{}, "stranger@elsewhere.example")
	route := d.chain.Find(tx, mail.Rcpt{To: to, Orig: to})
	switch {
	case route == nil:
		return "refused: no route", nil
	case !d.sends[route.HopName]:
		return "stays here: " + route.HopName, nil
	case forward.SourceRouted(to):
		return "refused: addressed by way of another server", nil
	}
	return "", route
}

// ours are the domains that the tricks lean on: those of the routes.
func (d relayDoor) ours() []string {
	list := []string{"localhost"}
	const most = 20
	for _, r := range d.chain.Routes {
		list = append(list, r.To.Domains()...)
	}
	return list[:min(len(list), most)]
}

// relayTest tries every trick at every listener that strangers may use, and
// reports those that open it. It returns how many were tried where.
func (c *Config) relayTest(diags *conf.Diagnostics) (tried, doors int) {
	const victim = "victim.invalid"
	for _, l := range c.mailDoors() {
		if !l.strangers() {
			continue
		}
		doors++
		d := c.relayDoor(l)
		for _, ours := range d.ours() {
			for _, trick := range relayTricks {
				tried++
				arg := strings.NewReplacer("OURS", ours, "VICTIM", victim).Replace(trick)
				if _, route := d.try(arg); route != nil {
					diags.Add(l.Range(), fmt.Sprintf("%s relays for strangers", l.title()),
						fmt.Sprintf("RCPT TO:%s would be sent on by route %q.", arg, route.Name))
					return tried, doors
				}
			}
		}
	}
	return tried, doors
}
