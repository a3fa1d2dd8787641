package imap

import (
	"errors"
	"fmt"
	"io"

	"hoplite/imap/wire"
	"hoplite/maildrop"
)

// no is an error whose text is sent to the client after NO.
type no string

func (e no) Error() string { return string(e) }

func nof(format string, args ...any) error { return no(fmt.Sprintf(format, args...)) }

// badf returns an error that completes the command with BAD.
func badf(format string, args ...any) error {
	return &wire.SyntaxError{Text: fmt.Sprintf(format, args...)}
}

// Errors returned by several commands.
const (
	errReadOnly    = no("[READ-ONLY] Mailbox is read-only")
	errSearchLimit = no("[LIMIT] Search takes too long")
	errSearches    = no("[LIMIT] Too many searches of this account at a time")
	errWork        = no("[LIMIT] Too much data read for small parts of messages, try again in a minute")
	errName        = no("[CANNOT] Invalid mailbox name")
	errNonexistent = no("[NONEXISTENT] Mailbox doesn't exist")
	errTryCreate   = no("[TRYCREATE] Mailbox doesn't exist")
	errTLSRequired = no("[PRIVACYREQUIRED] Plaintext authentication disallowed on non-secure connections")
	errServer      = no("[SERVERBUG] Internal error, try again later")
	errExpungeElse = no("[EXPUNGEISSUED] Some of the messages no longer exist")
	errUnreadable  = no("[UNAVAILABLE] Message can't be read")
)

// refusals maps errors from the store to response texts.
var refusals = []struct {
	err  error
	text no
}{
	{maildrop.ErrNoFolder, errNonexistent},
	{maildrop.ErrFolderName, errNonexistent},
	{maildrop.ErrGone, "[NONEXISTENT] Mailbox was deleted"},
	{maildrop.ErrExists, "[ALREADYEXISTS] Mailbox already exists"},
	{maildrop.ErrQuota, "[OVERQUOTA] Quota exceeded"},
	{maildrop.ErrNoMessage, errExpungeElse},
	{maildrop.ErrUnreadable, errUnreadable},
	{maildrop.ErrKeywords, "[LIMIT] Too many keywords in this mailbox"},
	{maildrop.ErrKeywordName, "[CANNOT] Invalid keyword"},
	{maildrop.ErrAnnotations, "[METADATA TOOMANY] Too many annotations"},
	{maildrop.ErrInbox, "[CANNOT] INBOX can't be deleted"},
	{maildrop.ErrBusy, "[INUSE] Mailbox is locked, try again later"},
}

// fail sends NO for a valid command that could not be completed. It returns an
// error only if the connection cannot continue.
func (s *session) fail(c *call, err error) error {
	var lost *connError
	if errors.As(err, &lost) {
		return err
	}
	var text no
	if !errors.As(err, &text) {
		if errors.Is(err, errBye) || errors.Is(err, wire.ErrTooLong) || errors.Is(err, io.ErrUnexpectedEOF) || s.out.Err() != nil {
			return err
		}
		if text = refusal(err); text == errServer {
			s.log.Warn().Err(err).Str("command", c.name).Msg("imap command failed")
		}
	}
	s.out.tagged(c.tag, "NO "+string(text))
	return nil
}

// refusal returns the response text for an error from the store. An unknown
// error is reported as a temporary failure of the server.
func refusal(err error) no {
	for _, r := range refusals {
		if errors.Is(err, r.err) {
			return r.text
		}
	}
	return errServer
}
