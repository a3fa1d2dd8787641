package check

import (
	"fmt"
	"strings"

	"hoplite/cmd/hoplite/internal/config"
	"hoplite/internal/conf"
)

// socket is one address on which a block listens.
type socket struct {
	conf.Listen
	owner string
	at    conf.Range
}

// checkSockets finds listeners with the same address.
func checkSockets(cfg *config.Config, diags *conf.Diagnostics) {
	all := sockets(cfg)
	if len(all) == 0 {
		diags.Warn(cfg.Range(), "nothing listens", `Write a block such as smtp "inbound" { ... }.`)
	}
	for _, l := range cfg.Listeners() {
		for i, at := range l.Listen {
			if l.Disagrees(at) {
				diags.Warn(l.Pos.Element("listen", i), fmt.Sprintf("clients expect another kind of TLS at %s than tls = %q", at, l.TLS),
					"They would hang or fail. Remove tls: then the port decides, \"implicit\" on 465, 993, 995 and 443.")
			}
		}
	}
	for i, s := range all {
		for _, before := range all[:i] {
			if collide(before.Listen, s.Listen) {
				diags.Add(s.at, fmt.Sprintf("%s already listens there", before.owner),
					fmt.Sprintf("%s and %s would both listen on %s.", before.owner, s.owner, s.Listen))
				break
			}
		}
	}
}

// sockets returns the addresses of all listeners in the order of their blocks.
func sockets(cfg *config.Config) []socket {
	var all []socket
	for _, l := range cfg.Listeners() {
		for i, at := range l.Listen {
			all = append(all, socket{at, l.Title, l.Pos.Element("listen", i)})
		}
	}
	return all
}

// collide reports whether two addresses cannot both be opened, because they are
// equal or one of them is the wildcard address with the same port.
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
