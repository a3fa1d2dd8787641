package check

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"hoplite/cmd/hoplite/internal/config"
	"hoplite/internal/conf"
	"hoplite/relay"
	"hoplite/relay/forward"
)

// checkExposure finds settings that probably open the server to more clients
// than intended.
func checkExposure(cfg *config.Config, diags *conf.Diagnostics) {
	for i, p := range cfg.Trusted {
		if tooLarge(p) {
			diags.Warn(cfg.Element("trusted", i), fmt.Sprintf("%s trusts a large part of the Internet", p),
				"Clients in it are exempt from sender checks, and their Received lines are believed. Name your own servers.")
		}
	}
	for _, l := range cfg.MailListeners() {
		if r := unfiltered(cfg, l); r != nil {
			diags.Warn(l.Range(), fmt.Sprintf("%s accepts mail from any client, and chain %q has no filters", l.Title(), l.Chain),
				fmt.Sprintf("Mail by route %q passes no check. Add filters, or limit the route to your own clients: client = [...], or relay = true.", r.Name))
		}
	}
	for _, l := range cfg.Listeners() {
		if l.ProxyProtocol && len(l.ProxyFrom) == 0 && reachable(l.Listen) {
			diags.Warn(l.Pos.Attr("proxy_protocol"), fmt.Sprintf("any client of %s can claim any address", l.Title),
				"Name the proxies: proxy_from = [...].")
		}
	}
	for _, w := range cfg.Web {
		if w.ReverseProxy && reachable(w.Listen) {
			diags.Warn(w.Attr("reverse_proxy"), fmt.Sprintf("reverse_proxy has no effect at addresses of web %q that other machines can reach", w.Name),
				"The proxy must connect to a loopback address or socket file: listen on 127.0.0.1.")
		}
	}
	for _, p := range cfg.Proxied(time.Now()) {
		if l := behindProxy(cfg, p.Addr); l != nil {
			diags.Warn(l.Range(), fmt.Sprintf("most clients of the last days came from the trusted address %s, which looks like a proxy", p.Addr),
				"Sender checks are skipped for all of them. Set proxy_protocol = true here and in the proxy, or remove the address from trusted.")
		}
	}
	for _, l := range clearLogins(cfg) {
		diags.Warn(l.Pos.Attr("cleartext_login"), fmt.Sprintf("%s accepts passwords in clear text from the network", l.Title),
			"Anyone on the path can read them. Remove cleartext_login, or listen on 127.0.0.1.")
	}
	for _, u := range cfg.Upstream {
		if a := u.Auth; a != nil && a.Insecure && !onThisMachine(u) {
			diags.Warn(u.Range(), fmt.Sprintf("upstream %q receives the password without proof of its identity (insecure = true)", u.Name),
				"Anyone on the path can read it. Give the server a valid certificate, and remove insecure.")
		}
	}
}

// behindProxy returns the first listener that trusts addr without the PROXY
// protocol, or nil.
func behindProxy(cfg *config.Config, addr netip.Addr) *config.MailListener {
	if !addr.IsLoopback() && !slices.ContainsFunc(cfg.Trusted, func(p netip.Prefix) bool { return p.Contains(addr) }) {
		return nil
	}
	for _, l := range cfg.MailListeners() {
		if l.Protocol == "smtp" && l.Public() && !l.ProxyProtocol {
			return &l
		}
	}
	return nil
}

// unfiltered returns a route through which clients without special rights can
// send unchecked mail, or nil. LMTP listeners are exempt, because the mail
// server in front of them checks mail.
func unfiltered(cfg *config.Config, l config.MailListener) *relay.RouteConfig {
	ch := cfg.FindChain(l.Chain)
	if ch == nil || len(ch.Filters) > 0 || !l.Public() || l.Protocol != "smtp" {
		return nil
	}
	for i := range ch.Routes {
		if r := &ch.Routes[i]; r.Hop != "" && !r.Relay && len(r.User) == 0 && len(r.Client) == 0 {
			return r
		}
	}
	return nil
}

// clearLogins returns the listeners that accept passwords in clear text from
// other machines.
func clearLogins(cfg *config.Config) []config.Listener {
	clear := map[*conf.Pos]bool{}
	for _, l := range cfg.MailListeners() {
		clear[&l.Pos] = l.CleartextLogin && l.Auth != "off"
	}
	for _, l := range cfg.POP3 {
		clear[&l.Pos] = l.CleartextLogin
	}
	for _, l := range cfg.IMAP {
		clear[&l.Pos] = l.CleartextLogin
	}
	return slices.DeleteFunc(cfg.Listeners(), func(l config.Listener) bool {
		return !clear[l.Pos] || l.TLS == "implicit" || !reachable(l.Listen)
	})
}

// reachable reports whether other machines can connect to one of the addresses.
func reachable(list []conf.Listen) bool {
	return slices.ContainsFunc(list, func(at conf.Listen) bool { return !onHost(at) })
}

// onHost reports whether only programs on this machine can connect to an
// address.
func onHost(at conf.Listen) bool {
	switch at.Network {
	case "unix":
		return true
	case "tcp":
		host, _ := splitPort(at.Address)
		return loopback(host)
	}
	return false
}

// loopback reports whether a host, possibly in brackets, is a loopback address
// or name.
func loopback(host string) bool {
	if n := len(host); n > 2 && host[0] == '[' {
		host = host[1 : n-1]
	}
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// onThisMachine reports whether all servers of an upstream are reached through
// a loopback address or a socket file.
func onThisMachine(u *forward.Config) bool {
	return !u.MX && !slices.ContainsFunc(u.Servers, func(s string) bool {
		host, _, ok := serverAddress(s)
		return ok && !loopback(host)
	})
}

// serverAddress splits an entry of the servers attribute into host and port; ok
// is false for a socket file.
func serverAddress(s string) (host, port string, ok bool) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" {
		return "", "", false
	}
	host, port = u.Hostname(), u.Port()
	if port == "" {
		port = map[string]string{"smtp": "25", "smtps": "465", "lmtp": "24"}[u.Scheme]
	}
	return host, port, true
}
