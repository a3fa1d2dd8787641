package pop3

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"hoplite/maildrop"
	"hoplite/maildrop/maildir"
)

// order is the place that an earlier server gave a message, 0 for none.
func order(m *maildrop.Message) uint64 {
	n, err := strconv.ParseUint(maildir.ExtKey(m.Ext, 'O'), 10, 32)
	if err != nil {
		return 0
	}
	return n
}

// number reads a message number and answers when it is none.
func (s *session) number(arg string) (i int, ok bool) {
	n, err := strconv.ParseUint(arg, 10, 31)
	switch {
	case err != nil || n == 0:
		s.err("give a message number")
	case int(n) > len(s.inbox.msgs):
		s.err("no such message, there are %d", len(s.inbox.msgs))
	case s.inbox.deleted[int(n)-1]:
		s.err("message %d is deleted", n)
	default:
		return int(n) - 1, true
	}
	return 0, false
}

func (s *session) stat(string) error {
	count, size := s.inbox.totals()
	s.ok("%d %d", count, size)
	return nil
}

// totals are the messages that are not deleted, and their octets.
func (in *inbox) totals() (count int, size int64) {
	for i, m := range in.msgs {
		if len(in.deleted) == 0 || !in.deleted[i] {
			count++
			size += m.Wire
		}
	}
	return count, size
}

func (s *session) list(arg string) error {
	return s.each(arg, func(b []byte, m *maildrop.Message) []byte { return strconv.AppendInt(b, m.Wire, 10) })
}

func (s *session) doUIDL(arg string) error {
	return s.each(arg, func(b []byte, m *maildrop.Message) []byte {
		return append(b, s.srv.uidl.name(s.inbox.snap.Validity, m)...)
	})
}

// each answers LIST and UIDL: one line for one message or for all.
func (s *session) each(arg string, value func([]byte, *maildrop.Message) []byte) error {
	if arg != "" {
		if i, ok := s.number(arg); ok {
			s.ok("%d %s", i+1, value(nil, s.inbox.msgs[i]))
		}
		return nil
	}
	count, size := s.inbox.totals()
	s.ok("%d messages (%d octets)", count, size)
	var line []byte
	for i, m := range s.inbox.msgs {
		if s.inbox.deleted[i] {
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

func (s *session) dele(arg string) error {
	if i, ok := s.number(arg); ok {
		s.inbox.deleted[i] = true
		s.ok("message %d will be deleted", i+1)
	}
	return nil
}

func (s *session) rset(string) error {
	clear(s.inbox.deleted)
	count, size := s.inbox.totals()
	s.ok("%d messages (%d octets)", count, size)
	return nil
}

func (s *session) noop(string) error {
	s.ok("still here")
	return nil
}

// quit is QUIT: only now are messages deleted (RFC 1939, 6).
func (s *session) quit(string) error {
	s.bye = true
	if s.inbox == nil {
		s.ok("bye")
		return nil
	}
	if err := s.update(); err != nil {
		s.log.Error().Err(err).Str("user", s.account.Name).Msg("pop3 update")
		s.err("[SYS/TEMP] some deleted messages were not removed")
		return nil
	}
	s.closeInbox()
	s.ok("bye")
	return nil
}

// update makes the session's deletions real and marks as seen what was fetched.
func (s *session) update() error {
	in := s.inbox
	gone, seen := in.uids(in.deleted), []uint32(nil)
	if !s.srv.cfg.KeepUnseen {
		for i := range in.fetched {
			if m := in.msgs[i]; !in.deleted[i] && m.Flags&maildrop.Seen == 0 {
				seen = append(seen, m.UID)
			}
		}
	}
	if len(seen) > 0 {
		slices.Sort(seen)
		// Only a convenience for IMAP clients: a failure must not keep the
		// client from deleting.
		if _, _, err := in.folder.Store(seen, maildrop.FlagChange{Flags: maildrop.Seen}); err != nil {
			s.log.Warn().Err(err).Msg("pop3 flags")
		}
	}
	if len(gone) == 0 {
		return nil
	}
	if now, err := in.folder.Sync(); err != nil || now.Validity != in.snap.Validity {
		return fmt.Errorf("mailbox was replaced meanwhile: %w", err)
	}
	_, _, err := in.folder.Expunge(gone)
	return err
}

func (in *inbox) uids(marked map[int]bool) []uint32 {
	uids := make([]uint32, 0, len(marked))
	for i := range marked {
		uids = append(uids, in.msgs[i].UID)
	}
	slices.Sort(uids)
	return uids
}

// twoNumbers reads the arguments of TOP.
func twoNumbers(arg string) (first string, lines int64, ok bool) {
	first, rest, found := strings.Cut(arg, " ")
	lines, err := strconv.ParseInt(rest, 10, 63)
	return first, lines, found && err == nil && lines >= 0
}
