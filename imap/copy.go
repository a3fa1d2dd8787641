package imap

import (
	"errors"
	"fmt"

	"hoplite/imap/wire"
	"hoplite/maildrop"
)

// handleCopy runs COPY and UID COPY (RFC 9051, 6.4.7).
func handleCopy(m *mailbox, c *call) error {
	done, err := transfer(m, c, m.folder.Copy)
	if err == nil && len(done.From) > 0 {
		c.setCode("%s", copyUID(done))
	}
	return err
}

// handleMove runs MOVE and UID MOVE (RFC 9051, 6.4.8).
func handleMove(m *mailbox, c *call) error {
	move := m.folder.Move
	if m.readOnly {
		move = func([]uint32, *maildrop.Folder) (maildrop.Copied, error) { return maildrop.Copied{}, errReadOnly }
	}
	done, err := transfer(m, c, move)
	if err == nil && len(done.From) > 0 {
		// The code must precede the EXPUNGE responses.
		c.out.untagged("OK [%s] Moved", copyUID(done))
	}
	return err
}

// transfer reads the arguments of COPY and MOVE and runs the operation.
func transfer(m *mailbox, c *call, run func([]uint32, *maildrop.Folder) (maildrop.Copied, error)) (done maildrop.Copied, err error) {
	c.args.SP()
	set := c.args.Set()
	c.args.SP()
	wireName := c.args.AString()
	if err := c.args.End(); err != nil {
		return done, err
	}
	idx, err := m.view.resolve(set, c.uid)
	if err != nil {
		return done, err
	}
	to, err := m.account.open(wireName)
	if err != nil {
		return done, tryCreate(err)
	}
	defer to.Close()
	if len(idx) == 0 {
		return done, nil
	}
	p := c.begin(0)
	defer p.end()
	done, err = run(m.view.uids(idx), to)
	if err == nil && len(done.From) == 0 && !c.uid {
		err = maildrop.ErrNoMessage
	}
	return done, err
}

func copyUID(done maildrop.Copied) string {
	return fmt.Sprintf("COPYUID %d %s %s", done.Validity, wire.AppendNumbers(nil, done.From), wire.AppendNumbers(nil, done.To))
}

// tryCreate replaces the error for a nonexistent mailbox in commands that store
// messages, because the client may then create the mailbox.
func tryCreate(err error) error {
	if errors.Is(err, maildrop.ErrNoFolder) {
		return errTryCreate
	}
	return err
}
