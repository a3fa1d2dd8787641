package pop3

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"hoplite/internal/users"
	"hoplite/mail"
	"hoplite/maildrop"
	"hoplite/maildrop/maildir"
)

// inbox is the transaction state: the logged-in account's INBOX, locked for
// exclusive use by this session.
type inbox struct {
	account  string
	box      *maildrop.Box
	unlock   func()
	folder   *maildrop.Folder
	snap     *maildrop.Snapshot
	messages []*maildrop.Message // by message number - 1
	deleted  map[int]bool        // marked by DELE, by index
	fetched  map[int]bool        // sent by RETR, by index
	octets   int64               // total size sent by RETR
}

var errInUse = errors.New("mailbox in use")

// openInbox opens and locks an account's INBOX.
func openInbox(srv *Server, account *users.Account) (*inbox, error) {
	box, err := srv.env.Box(mail.Address(account.Name))
	if err != nil {
		return nil, err
	}
	unlock, ok := box.LockPOP3()
	if !ok {
		box.Close()
		return nil, errInUse
	}
	in := &inbox{account: account.Name, box: box, unlock: unlock, deleted: map[int]bool{}, fetched: map[int]bool{}}
	if in.folder, err = box.Folder(maildir.Inbox); err == nil {
		if in.snap, err = in.folder.Sync(); err != nil {
			in.folder.Close()
		}
	}
	if err != nil {
		unlock()
		box.Close()
		return nil, err
	}
	in.messages = byOrder(in.snap.Messages)
	return in, nil
}

func (in *inbox) close() {
	in.folder.Close()
	in.unlock()
	in.box.Close()
}

// byOrder returns the messages in the order of their numbers: by UID, unless an
// earlier server recorded another order in the uidlist.
func byOrder(msgs []*maildrop.Message) []*maildrop.Message {
	if !slices.ContainsFunc(msgs, func(m *maildrop.Message) bool { return m.Ext != "" && order(m) > 0 }) {
		return msgs
	}
	msgs = slices.Clone(msgs)
	// Messages without a recorded position arrived later, so they are last.
	slices.SortStableFunc(msgs, func(a, b *maildrop.Message) int {
		x, y := order(a), order(b)
		switch {
		case x == y:
			return 0
		case x == 0:
			return 1
		case y == 0 || x < y:
			return -1
		}
		return 1
	})
	return msgs
}

// order returns the position that an earlier server recorded for a message, or
// 0 if there is none.
func order(m *maildrop.Message) uint64 {
	n, err := strconv.ParseUint(maildir.ExtKey(m.Ext, 'O'), 10, 32)
	if err != nil {
		return 0
	}
	return n
}

// refusal is an error whose text is sent to the client.
type refusal string

func (r refusal) Error() string { return string(r) }

// find returns the index of the message with the number in arg. Its errors are
// refusals.
func (in *inbox) find(arg string) (int, error) {
	n, err := strconv.ParseUint(arg, 10, 31)
	switch {
	case err != nil || n == 0:
		return 0, refusal("Invalid message number")
	case int(n) > len(in.messages):
		return 0, refusal(fmt.Sprintf("No such message, there are %d", len(in.messages)))
	case in.deleted[int(n)-1]:
		return 0, refusal(fmt.Sprintf("Message %d is deleted", n))
	}
	return int(n) - 1, nil
}

// totals returns the number and total size of the messages that are not
// deleted.
func (in *inbox) totals() (count int, size int64) {
	for i, m := range in.messages {
		if len(in.deleted) == 0 || !in.deleted[i] {
			count++
			size += m.Wire
		}
	}
	return count, size
}

// markSeen marks downloaded messages that are not deleted as seen.
func (in *inbox) markSeen() error {
	var seen []uint32
	for i := range in.fetched {
		if m := in.messages[i]; !in.deleted[i] && m.Flags&maildrop.Seen == 0 {
			seen = append(seen, m.UID)
		}
	}
	if len(seen) == 0 {
		return nil
	}
	slices.Sort(seen)
	_, _, err := in.folder.Store(seen, maildrop.FlagChange{Flags: maildrop.Seen})
	return err
}

// expunge removes the messages that are marked as deleted.
func (in *inbox) expunge() error {
	if len(in.deleted) == 0 {
		return nil
	}
	uids := make([]uint32, 0, len(in.deleted))
	for i := range in.deleted {
		uids = append(uids, in.messages[i].UID)
	}
	slices.Sort(uids)
	now, err := in.folder.Sync()
	if err != nil {
		return err
	}
	if now.Validity != in.snap.Validity {
		return errors.New("the mailbox was replaced during the session")
	}
	_, _, err = in.folder.Expunge(uids)
	return err
}
