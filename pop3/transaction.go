package pop3

import (
	"strconv"

	"hoplite/maildrop"
)

// handleStat runs STAT (RFC 1939, 5).
func handleStat(s *session, in *inbox, _ string) error {
	count, size := in.totals()
	s.ok("%d %d", count, size)
	return nil
}

// handleList runs LIST (RFC 1939, 5).
func handleList(s *session, in *inbox, arg string) error {
	return s.listing(in, arg, func(b []byte, m *maildrop.Message) []byte { return strconv.AppendInt(b, m.Wire, 10) })
}

// handleUIDL runs UIDL (RFC 1939, 7).
func handleUIDL(s *session, in *inbox, arg string) error {
	return s.listing(in, arg, func(b []byte, m *maildrop.Message) []byte {
		return append(b, s.srv.uidl.id(in.snap.Validity, m)...)
	})
}

// listing sends a number and a value for one message or for all messages.
func (s *session) listing(in *inbox, arg string, value func([]byte, *maildrop.Message) []byte) error {
	if arg != "" {
		i, err := in.find(arg)
		if err != nil {
			s.err("%s", err)
			return nil
		}
		s.ok("%d %s", i+1, value(nil, in.messages[i]))
		return nil
	}
	count, size := in.totals()
	s.ok("%d messages (%d octets)", count, size)
	var line []byte
	for i, m := range in.messages {
		if in.deleted[i] {
			continue
		}
		line = append(strconv.AppendInt(line[:0], int64(i)+1, 10), ' ')
		line = append(value(line, m), "\r\n"...)
		if _, err := s.w.Write(line); err != nil {
			return err
		}
	}
	s.w.WriteString(".\r\n")
	return nil
}

// handleDele runs DELE (RFC 1939, 5).
func handleDele(s *session, in *inbox, arg string) error {
	i, err := in.find(arg)
	if err != nil {
		s.err("%s", err)
		return nil
	}
	in.deleted[i] = true
	s.ok("Message %d marked for deletion", i+1)
	return nil
}

// handleRset runs RSET (RFC 1939, 5).
func handleRset(s *session, in *inbox, _ string) error {
	clear(in.deleted)
	count, size := in.totals()
	s.ok("%d messages (%d octets)", count, size)
	return nil
}

// handleNoop runs NOOP (RFC 1939, 5).
func handleNoop(s *session, _ *inbox, _ string) error {
	s.ok("NOOP completed")
	return nil
}

// handleQuit runs QUIT in the transaction state. The session then enters the
// update state, which deletes messages (RFC 1939, 6).
func handleQuit(s *session, in *inbox, _ string) error {
	s.ended = true
	if !s.srv.cfg.KeepUnseen {
		// A failure must not prevent the deletion of messages.
		if err := in.markSeen(); err != nil {
			s.log.Warn().Err(err).Msg("pop3 flags")
		}
	}
	if err := in.expunge(); err != nil {
		s.log.Error().Err(err).Str("user", in.account).Msg("pop3 update")
		s.err("[SYS/TEMP] Some deleted messages were not removed")
		return nil
	}
	s.closeInbox()
	s.ok("Logging out")
	return nil
}
