package filters

import (
	"net/netip"

	"hoplite/mail"
	"hoplite/mail/received"
)

// maxTrusted is the maximum number of our own hops that are skipped.
const maxTrusted = 20

// Origin returns the address and HELO name of the client that passed the
// message to the outermost of our own servers. It reads them from the oldest
// Received line in the unbroken run of lines written by trusted servers. There
// is no origin if such a line does not name a client, or if all the clients are
// our own servers.
//
// A loopback address in such a line is a program on the server that wrote it,
// or a remote client behind a local proxy, whose lines prove nothing. It is
// trusted if trusted contains it, or if the line was written on this machine,
// as proved by c having connected to a loopback listener.
func Origin(c *mail.Client, m *mail.Message, trusted []netip.Prefix) (ip netip.Addr, helo string, ok bool) {
	here := c.Trusted && (!c.Addr.IsValid() || c.Addr.Addr().Unmap().IsLoopback())
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
		switch {
		case !ip.IsValid():
			return netip.Addr{}, "", false
		case ip.IsLoopback():
			if !here && !contains(trusted, ip) {
				return netip.Addr{}, "", false
			}
		case !contains(trusted, ip):
			return ip, hop.Announced(), true
		default:
			here = false
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
