package relay

import (
	"context"
	"crypto/tls"
	"net/netip"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"hoplite/internal/quiet"
	"hoplite/internal/resolve"
	"hoplite/mail"
	"hoplite/relay/wire"
)

// reverseName is the reverse DNS name of a client's address. The look-up runs
// concurrently with the session, which waits for the name only when it needs
// it.
type reverseName struct {
	found chan string // nil once name is known
	name  string
}

// nameTime is the maximum duration of the look-up.
const nameTime = 5 * time.Second

// find starts the look-up, unless the name is known or the address cannot have
// one.
func (n *reverseName) find(ctx context.Context, dns resolve.Resolver, id wire.Ident, log *zerolog.Logger) {
	addr := id.Client.Addr()
	if dns == nil || id.Name != "" || !addr.IsValid() || addr.IsLoopback() {
		n.name = id.Name
		return
	}
	n.found = make(chan string, 1)
	go func(found chan<- string) {
		defer close(found) // even after a panic, so that get does not block
		defer func() {
			if p := recover(); p != nil {
				quiet.Panic(log.Error(), p).Msg("look-up of a reverse name ended by a panic")
			}
		}()
		ctx, cancel := context.WithTimeout(ctx, nameTime)
		defer cancel()
		found <- confirmedName(ctx, dns, addr)
	}(n.found)
}

// get returns the name, or "" if there is none.
func (n *reverseName) get() string {
	if n.found != nil {
		n.name, n.found = <-n.found, nil
	}
	return n.name
}

// confirmedName returns a reverse name of addr that resolves back to addr, or
// "".
func confirmedName(ctx context.Context, dns resolve.Resolver, addr netip.Addr) string {
	names, err := resolve.LookupPTR(ctx, dns, addr)
	if err != nil {
		return ""
	}
	for _, n := range names[:min(len(names), 3)] {
		addrs, _ := resolve.LookupHosts(ctx, dns, n)
		for _, a := range addrs {
			if a.Unmap() == addr {
				return strings.TrimSuffix(strings.ToLower(n), ".")
			}
		}
	}
	return ""
}

// client returns a description of the client.
func (s *session) client() mail.Client {
	id, cfg := s.conn.Ident(), s.srv.cfg
	helo, esmtp := s.conn.Helo()
	c := mail.Client{
		Listener: cfg.Name, Protocol: "smtp",
		Addr: id.Client, Peer: s.conn.Socket().Peer, Local: id.Local,
		Helo: helo, ESMTP: esmtp, Name: s.name.get(),
	}
	if s.srv.lmtp {
		c.Protocol = "lmtp"
	}
	if state, ok := s.conn.Socket().TLS(); ok {
		c.TLS = &mail.TLS{
			Version: tlsVersion(state.Version), Cipher: tls.CipherSuiteName(state.CipherSuite),
			Name: state.ServerName, Legacy: s.conn.Socket().Legacy(),
		}
	}
	c.User = s.conn.Login()
	addr := id.Client.Addr()
	c.MayRelay = c.User != "" || within(cfg.RelayFrom, addr)
	c.Trusted = s.onHost(addr) || !addr.IsLoopback() && within(s.srv.env.Trusted, addr)
	return c
}

// onHost reports whether the client is a program on this machine, connected to
// a loopback listener or to a socket file for LMTP. Addresses given by PROXY or
// XCLIENT prove nothing.
func (s *session) onHost(addr netip.Addr) bool {
	sock := s.conn.Socket()
	if sock.Peer.Addr() != addr || s.conn.Ident().Claimed {
		return false
	}
	return sock.OnHost() && (addr.IsValid() || s.srv.lmtp)
}

// tlsVersion returns the name of a TLS version as used in Received fields.
func tlsVersion(v uint16) string {
	switch v {
	case tls.VersionTLS13:
		return "TLSv1.3"
	case tls.VersionTLS12:
		return "TLSv1.2"
	case tls.VersionTLS11:
		return "TLSv1.1"
	}
	return "TLSv1"
}
