package imap

// errUIDRequired refuses a command with message numbers after ENABLE UIDONLY.
var errUIDRequired = badf("[UIDREQUIRED] Message numbers are not permitted")

// enableUIDOnly ends the use of message numbers (RFC 9586): from now on, UIDFETCH
// and VANISHED replace FETCH and EXPUNGE, and commands with message numbers are
// refused.
func (a *account) enableUIDOnly() { a.session.on.uidOnly = true }

// checkNumbers returns an error if a command uses message numbers and they are
// not permitted.
func (s *session) checkNumbers(cmd command) error {
	if cmd.numbered && s.on.uidOnly {
		return errUIDRequired
	}
	return nil
}
