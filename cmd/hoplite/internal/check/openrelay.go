package check

import (
	"fmt"
	"strings"

	"hoplite/cmd/hoplite/internal/config"
	"hoplite/internal/conf"
	"hoplite/mail"
	"hoplite/relay"
	"hoplite/relay/forward"
	"hoplite/relay/wire"
)

// relayForms lists the address forms that have revealed open relays. OURS
// represents a domain for which the server accepts mail, VICTIM any other.
var relayForms = []string{
	"<user@VICTIM>", "<user@sub.VICTIM>", "<user@[192.0.2.99]>", "<user@[IPv6:2001:db8::99]>", "<user@192.0.2.99>",
	"<user%VICTIM@OURS>", "<user%VICTIM>", "<user%VICTIM%OURS>", "<user%VICTIM@[127.0.0.1]>", "<user%VICTIM@localhost>",
	"<VICTIM!user@OURS>", "<VICTIM!user>", "<OURS!VICTIM!user>", "<VICTIM!user@[127.0.0.1]>", "<user%VICTIM!OURS@OURS>",
	"<user@VICTIM@OURS>", "<user@VICTIM@>", "<user@@VICTIM>", `<"user@VICTIM"@OURS>`, `<"user@VICTIM">`, `<"user%VICTIM"@OURS>`,
	"<@OURS:user@VICTIM>", "<@localhost,@OURS:user@VICTIM>", "<@OURS:user%VICTIM>", "<@VICTIM:user@VICTIM>", "<@OURS:VICTIM!user>",
	"<user@VICTIM.>", "<user@VICTIM..OURS>", "<user@VICTIM\uff0eOURS>", "<user\uff20VICTIM@OURS>", "<user@OURS\u3002VICTIM>",
	"<user@VICTIM(OURS)>", "<user@VICTIM (comment)@OURS>", "<user@VICTIM\x00@OURS>", "<user@VICTIM\r@OURS>", "user@VICTIM",
}

// relayTest is a listener as seen by an unauthenticated remote client.
type relayTest struct {
	chain *relay.Chain
	// outside is the set of hops that send to other servers.
	outside map[string]bool
}

func newRelayTest(cfg *config.Config, l config.MailListener) relayTest {
	t := relayTest{&relay.Chain{}, map[string]bool{}}
	if ch := cfg.FindChain(l.Chain); ch != nil {
		for i := range ch.Routes {
			t.chain.Routes = append(t.chain.Routes, relay.NewRoute(&ch.Routes[i], cfg.Names(), nil, nil))
		}
	}
	for _, u := range cfg.Upstream {
		t.outside[u.Name] = true
	}
	return t
}

// try returns the route that would relay a client's recipient to another
// server, or nil if the recipient is refused or delivered locally.
func (t relayTest) try(arg string) *relay.Route {
	path, err := wire.ParsePath(arg)
	if err != nil {
		return nil
	}
	to, err := mail.ParseAddress(path)
	if err != nil {
		return nil
	}
	tx := mail.NewTransaction(mail.Client{}, "stranger@elsewhere.example")
	route := t.chain.Find(tx, mail.Rcpt{To: to, Orig: to})
	if route == nil || !t.outside[route.HopName] || forward.SourceRouted(to) {
		return nil
	}
	return route
}

// ours returns the domains to use in the address forms, which are those of the
// routes.
func (t relayTest) ours() []string {
	list := []string{"localhost"}
	const most = 20
	for _, r := range t.chain.Routes {
		list = append(list, r.To.Domains()...)
	}
	return list[:min(len(list), most)]
}

// OpenRelay tries every address form at every public listener and adds the
// first one that would be relayed to diags. It returns the numbers of forms and
// listeners tried.
func OpenRelay(cfg *config.Config, diags *conf.Diagnostics) (tried, listeners int) {
	const victim = "victim.invalid"
	for _, l := range cfg.MailListeners() {
		if !l.Public() {
			continue
		}
		listeners++
		t := newRelayTest(cfg, l)
		for _, ours := range t.ours() {
			for _, form := range relayForms {
				tried++
				arg := strings.NewReplacer("OURS", ours, "VICTIM", victim).Replace(form)
				if route := t.try(arg); route != nil {
					diags.Add(l.Range(), fmt.Sprintf("%s relays for everyone", l.Title()),
						fmt.Sprintf("RCPT TO:%s would be relayed by route %q.", arg, route.Name))
					return tried, listeners
				}
			}
		}
	}
	return tried, listeners
}
