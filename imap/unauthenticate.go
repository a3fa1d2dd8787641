package imap

import (
	"time"

	"hoplite/imap/wire"
)

// handleUnauthenticate runs UNAUTHENTICATE (RFC 8437): it returns to the not
// authenticated state, as if the client had just connected, except that TLS
// remains active. Deleted messages in a selected mailbox are not expunged.
func handleUnauthenticate(a *account, c *call) error {
	if err := c.args.End(); err != nil {
		return err
	}
	s := a.session
	if s.deflated {
		// Input that follows could be compressed or not.
		return nof("[CANNOT] Compression is active")
	}
	a.close()
	s.account, s.on = nil, features{}
	s.in.Limits = wire.Anonymous
	s.loginBy = time.Now().Add(s.srv.cfg.LoginTimeout)
	s.log = s.srv.log.With().Str("peer", s.conn.Client.String()).Logger()
	c.setCode("CAPABILITY %s", s.capabilities())
	return nil
}

// offerUnauthenticate announces UNAUTHENTICATE while it can be used.
func offerUnauthenticate(s *session) string {
	if s.deflated {
		return ""
	}
	return "UNAUTHENTICATE"
}
