package filters

import (
	"net/netip"

	"hoplite/mail"
	"hoplite/mail/received"
)

// maxTrusted is how many hops of ours are looked through.
const maxTrusted = 20

// Origin finds who handed a message to the first of our own servers in front of
// us: the address and HELO name in the Received line of the last server that we
// trust, seen from here. There is none if a line of theirs does not name a
// client, or if all of them are ours.
func Origin(m *mail.Message, trusted []netip.Prefix) (ip netip.Addr, helo string, ok bool) {
	n := 0
	for f := range mail.Fields(m.Head) {
		if !f.Is("Received") {
			continue
		}
		if n++; n > maxTrusted {
			break
		}
		hop := received.Parse(f.Value()) // written by a server that we trust, as are all above it
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
