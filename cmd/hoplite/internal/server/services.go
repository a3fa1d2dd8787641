package server

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"hoplite/cmd/hoplite/internal/config"
	"hoplite/imap"
	"hoplite/internal/conf"
	"hoplite/internal/listen"
	"hoplite/pop3"
	"hoplite/relay"
)

// service is a listener block and its server.
type service struct {
	name   string
	title  string // smtp "inbound"
	cfg    *listen.Config
	http   bool
	exempt []netip.Prefix // clients exempt from the limits per address
	// readers is set if the clients are mail readers.
	readers bool
	refuse  func(listen.Reason) string
	handle  func(context.Context, *listen.Conn)
	drain   func() // asks the sessions to end, as the protocol requires
	close   func() // called after the last connection has ended
}

// tls returns the TLS mode of an address: "starttls", "implicit" or "off". HTTP
// has no STARTTLS.
func (s *service) tls(at conf.Listen) string {
	mode := s.cfg.Mode(at)
	if s.http && mode == "starttls" {
		return "off"
	}
	return mode
}

// addServices creates the servers of all listeners.
func (s *serving) addServices() error {
	for _, l := range s.Config.MailListeners() {
		s.addRelay(l)
	}
	for _, c := range s.Config.POP3 {
		p, err := pop3.New(*c, pop3.Env{
			Box: s.Box, Gate: s.Logins, Hostname: s.Config.Hostname,
			Log: s.Log.With().Str("listener", c.Name).Logger(),
		})
		if err != nil {
			return fmt.Errorf("pop3 %q: %w", c.Name, err)
		}
		s.services = append(s.services, service{
			name: c.Name, title: fmt.Sprintf("pop3 %q", c.Name), cfg: &c.Config, readers: true, refuse: pop3.Refuse, handle: p.Handle, drain: p.Shutdown, close: func() {},
		})
	}
	for _, c := range s.Config.IMAP {
		i := imap.New(*c, imap.Env{
			Box: s.Box, Gate: s.Logins, Tally: &s.runtime.imapTally, Works: &s.runtime.imapWorks, Hostname: s.Config.Hostname, Version: s.version,
			Log: s.Log.With().Str("listener", c.Name).Logger(),
		})
		s.services = append(s.services, service{
			name: c.Name, title: fmt.Sprintf("imap %q", c.Name), cfg: &c.Config, readers: true, refuse: imap.Refuse, handle: i.Handle, drain: i.Shutdown, close: func() {},
		})
	}
	for _, c := range s.Config.Web {
		if err := s.addWeb(c); err != nil {
			return err
		}
	}
	return nil
}

// names returns this server's names from the configuration and from its
// certificates. Wildcards are omitted.
func (s *serving) names() []string {
	names := s.Config.Names()
	if s.certs == nil {
		return names
	}
	for _, leaf := range s.certs.Leaves() {
		for _, name := range leaf.DNSNames {
			if !strings.Contains(name, "*") {
				names = append(names, name)
			}
		}
	}
	return names
}

// addRelay adds the server of an smtp or lmtp block.
func (s *serving) addRelay(l config.MailListener) {
	chain, ok := s.Chains[l.Chain]
	if !ok {
		return // already reported by Examine
	}
	rt := s.runtime
	r := relay.New(l.Config, l.Protocol, relay.Env{
		Hostname:   s.Config.Hostname,
		Names:      s.names,
		Log:        s.Log,
		Spool:      rt.spool,
		Chain:      chain,
		Trusted:    s.Config.Trusted,
		Postmaster: s.Config.Postmaster,
		Addresses:  s.Directory,
		Login:      s.Logins,
		Rewritten:  s.Rewritten,
		DNS:        s.DNS,
		History:    rt.history.Add,
		Metrics:    rt.metrics.relay,
		Carry:      s.Carry(chain),
		Later:      rt.queue.Later,
		Bounce:     rt.queue.Bounce,
		Learn:      rt.clocks.Learn,
		Verify:     s.Verify(chain),
		Proxied: func(addr netip.Addr) {
			if err := s.Config.NoteProxied(addr, time.Now()); err != nil {
				s.Log.Warn().Err(err).Msg("suspected proxy not recorded")
			}
		},
		Run: func(domain string) (int, error) { return rt.queue.Flush(domain), nil },
	})
	s.services = append(s.services, service{
		name: l.Name, title: l.Title(), cfg: &l.Config.Config,
		exempt: slices.Concat(l.RelayFrom, l.XclientFrom),
		refuse: r.Refuse,
		handle: func(_ context.Context, conn *listen.Conn) { r.Handle(conn) },
		drain:  r.Drain, close: r.Close,
	})
}
