package forward

import (
	"context"
	"fmt"
	"strings"

	"hoplite/mail"
)

// Offer holds the extensions that all of an upstream's servers are known to
// support.
type Offer struct {
	Known    bool  // a connection to at least one server was made
	Size     int64 // the smallest limit; 0 means no limit
	EightBit bool
	UTF8     bool
	DSN      bool
	Binary   bool
	Chunking bool
}

// Offer returns the extensions that a listener in front of the upstream may
// offer.
func (u *Upstream) Offer() Offer {
	o := Offer{EightBit: true, UTF8: true, DSN: true, Binary: true, Chunking: true}
	for p := range u.servers.known() {
		p.mu.Lock()
		seen, c := p.seen, p.caps
		p.mu.Unlock()
		if !seen {
			continue
		}
		o.Known = true
		o.EightBit = o.EightBit && (c.eightBit || u.cfg.Downgrade)
		o.UTF8 = o.UTF8 && (c.utf8 || u.cfg.Downgrade)
		o.DSN = o.DSN && c.dsn
		o.Binary = o.Binary && c.binary
		o.Chunking = o.Chunking && c.chunking
		if c.size > 0 && (o.Size == 0 || c.size < o.Size) {
			o.Size = c.size
		}
	}
	return o
}

// Look connects to each server once to provide Offer with information, and
// returns a description of the results.
func (u *Upstream) Look(ctx context.Context) []string {
	var said []string
	pools, err := u.servers.pools(ctx)
	if err != nil {
		said = append(said, err.Error())
	}
	for _, p := range pools {
		c, _, err := p.take(ctx, u.net.dialer, mail.Client{}, true)
		if err != nil {
			p.unreached(err)
			said = append(said, fmt.Sprintf("%s: %v", p.server.name(), err))
			continue
		}
		said = append(said, fmt.Sprintf("%s: %s", p.server.name(), c.describe()))
		p.give(c)
	}
	return said
}

func (c *conn) describe() string {
	words := []string{"HELO only"}
	if c.caps.esmtp {
		words = words[:0]
		for _, w := range []struct {
			on   bool
			text string
		}{{c.caps.pipelining, "PIPELINING"}, {c.caps.eightBit, "8BITMIME"}, {c.caps.utf8, "SMTPUTF8"},
			{c.caps.dsn, "DSN"}, {c.caps.chunking, "CHUNKING"}, {c.caps.requireTLS, "REQUIRETLS"}} {
			if w.on {
				words = append(words, w.text)
			}
		}
		if c.caps.size > 0 {
			words = append(words, fmt.Sprintf("SIZE %d", c.caps.size))
		}
		if c.caps.rcptMax > 0 {
			words = append(words, fmt.Sprintf("RCPTMAX %d", c.caps.rcptMax))
		}
		if c.caps.mailMax > 0 {
			words = append(words, fmt.Sprintf("MAILMAX %d", c.caps.mailMax))
		}
	}
	text := strings.Join(words, " ")
	return c.proof.String() + "; " + text
}
