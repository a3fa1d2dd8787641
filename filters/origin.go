package filters

import (
	"net/netip"

	"hoplite/mail"
	"hoplite/mail/received"
)

// maxTrusted is the number of our own hops that are skipped.
const maxTrusted = 20

// Origin returns the address and HELO name of the client that passed the
// message to the outermost of our own servers. It reads them from the oldest
// Received line in the unbroken run of lines written by trusted servers. There
// is no origin if such a line does not name a client, or if all of the clients
// are our own servers.
func Origin(m *mail.Message, trusted []netip.Prefix) (ip netip.Addr, helo string, ok bool) {
	n := 0
	for f := range mail.Fields(m.Head) {
		if !f.Is("Received") {
			continue
		}
		if n++; n > maxTrusted {
			break
		}
		hop := received.Parse(f.Value()) // written by a trusted server, like all lines above it
		ip = hop.From.Addr.Unmap()
		if !ip.IsValid() {
			break
		}
		if !ip.IsLoopback() && !contains(trusted, ip) {
			return ip, hop.Announced(), true
		}
	}
	return netip.Addr{}, "", false
}

func contains(nets []netip.Prefix, ip netip.Addr) bool {
	for _, p := range nets {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}
