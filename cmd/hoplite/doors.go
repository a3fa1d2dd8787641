package main

import (
	"context"
	"fmt"

	"hoplite/imap"
	"hoplite/internal/listen"
	"hoplite/mail"
	"hoplite/maildrop"
	"hoplite/pop3"
	"hoplite/relay"
)

// door is one block that listens, and who serves what comes in.
type door struct {
	name   string
	cfg    *listen.Config
	refuse func(listen.Reason) string
	handle func(context.Context, *listen.Conn)
	drain  func() // asks the sessions to end, as the protocol says it
	close  func() // after the last connection
}

func (h *house) buildDoors() error {
	for _, c := range h.cfg.SMTP {
		h.addRelay(c, "smtp")
	}
	for _, c := range h.cfg.LMTP {
		h.addRelay(c, "lmtp")
	}
	for _, c := range h.cfg.POP3 {
		s, err := pop3.New(*c, pop3.Env{
			Box: h.box, Gate: h.logins, Hostname: h.cfg.Hostname,
			Log: h.log.With().Str("listener", c.Name).Logger(),
		})
		if err != nil {
			return fmt.Errorf("pop3 %q: %w", c.Name, err)
		}
		h.doors = append(h.doors, door{
			name: c.Name, cfg: &c.Config, refuse: pop3.Refuse, handle: s.Handle, drain: s.Shutdown, close: func() {},
		})
	}
	for _, c := range h.cfg.IMAP {
		s := imap.New(*c, imap.Env{
			Box: h.box, Gate: h.logins, Tally: &h.imapTally, Hostname: h.cfg.Hostname, Version: version,
			Log: h.log.With().Str("listener", c.Name).Logger(),
		})
		h.doors = append(h.doors, door{
			name: c.Name, cfg: &c.Config, refuse: imap.Refuse, handle: s.Handle, drain: s.Shutdown, close: func() {},
		})
	}
	for _, c := range h.cfg.Web {
		if err := h.addWeb(c); err != nil {
			return err
		}
	}
	return nil
}

// addRelay makes the door of an smtp or lmtp block.
func (h *house) addRelay(c *relay.Config, protocol string) {
	chain, ok := h.chains[c.Chain]
	if !ok {
		return // check has said so
	}
	s := relay.New(c, protocol, relay.Env{
		Hostname:   h.cfg.Hostname,
		Log:        h.log,
		Spool:      h.spool,
		Chain:      chain,
		Trusted:    h.cfg.Trusted,
		Postmaster: h.cfg.Postmaster,
		Addresses:  addresses{h.resolver, h.srs},
		Login:      h.logins,
		DNS:        h.dns,
		History:    h.history.Add,
		Metrics:    h.doorFigures,
		Carry:      h.carry(chain),
		Later:      h.later,
		Bounce:     h.queue.Bounce,
		Learn:      h.clocks.Learn,
		Verify:     h.verify(chain),
		Run:        func(domain string) (int, error) { return h.queue.Flush(domain), nil },
	})
	h.doors = append(h.doors, door{
		name: c.Name, cfg: &c.Config,
		refuse: s.Refuse,
		handle: func(_ context.Context, conn *listen.Conn) { s.Handle(conn) },
		drain:  s.Drain, close: s.Close,
	})
}

// box opens the box of an account, in the maildrop that a route of ours would
// deliver its mail to.
func (h *house) box(a mail.Address) (*maildrop.Box, error) {
	tx := mail.NewTransaction(mail.Client{}, "")
	r := mail.Rcpt{To: a, Orig: a}
	for _, c := range h.cfg.Chain {
		if route := h.chains[c.Name].Find(tx, r); route != nil {
			if store, ok := h.boxes[route.HopName]; ok {
				return store.Box(a)
			}
		}
	}
	for _, c := range h.cfg.Maildrop {
		return h.boxes[c.Name].Box(a)
	}
	return nil, fmt.Errorf("no maildrop is configured")
}
