package imap

import (
	"hoplite/imap/wire"
	"hoplite/maildrop"
)

// storeModes maps STORE operations to modes.
var storeModes = map[wire.StoreOp]maildrop.Mode{wire.Replace: maildrop.Replace, wire.Add: maildrop.Add, wire.Remove: maildrop.Remove}

// handleStore runs STORE and UID STORE (RFC 9051, 6.4.6; RFC 7162, 3.1.3).
func handleStore(m *mailbox, c *call) error {
	c.args.SP()
	cmd := c.args.Store()
	if err := c.args.End(); err != nil {
		return err
	}
	flags, keywords, err := parseFlags(cmd.Flags)
	if err != nil {
		return err
	}
	idx, err := m.view.resolve(cmd.Set, c.uid)
	if err != nil {
		return err
	}
	if m.readOnly {
		return errReadOnly
	}
	if cmd.Conditional {
		m.account.enableCondstore()
	}
	// Report other changes first, because they would otherwise look like
	// effects of this command.
	if err := m.poll(false); err != nil {
		return err
	}
	uids := m.view.uids(idx)
	modified, snap, err := m.folder.Store(uids, maildrop.FlagChange{Mode: storeModes[cmd.Op], Flags: flags, Keywords: keywords,
		Conditional: cmd.Conditional, Unchanged: cmd.UnchangedSince})
	if err != nil {
		return err
	}
	gone, err := sendStored(m, c, &cmd, snap, uids, modified)
	if err != nil {
		return err
	}
	switch {
	case len(modified) > 0:
		nums := make([]uint32, 0, len(modified))
		for _, i := range m.view.places(modified) {
			nums = append(nums, m.view.number(i, c.uid))
		}
		c.setCode("MODIFIED %s", wire.AppendNumbers(nil, nums))
	case gone && !c.uid:
		return maildrop.ErrNoMessage
	}
	return nil
}

// sendStored reports the flags of all messages named in STORE, whether changed
// or not. gone reports whether some of them no longer exist.
func sendStored(m *mailbox, c *call, cmd *wire.Store, snap *maildrop.Snapshot, uids, modified []uint32) (gone bool, err error) {
	old := m.view.Snapshot
	if err := m.advance(snap, false, func(msg *maildrop.Message) bool { return contains(uids, msg.UID) }); err != nil {
		return false, err
	}
	on := &m.session().on
	withUID := c.uid || on.qresync
	for _, uid := range uids {
		i, ok := m.view.Find(uid)
		if !ok {
			continue
		}
		if m.view.held {
			if _, ok := snap.Find(uid); !ok {
				gone = true
				continue
			}
		}
		if contains(modified, uid) {
			continue // refused by UNCHANGEDSINCE
		}
		msg := m.view.Messages[i]
		if !cmd.Silent {
			m.sendFlags(i, msg, withUID)
			continue
		}
		j, ok := old.Find(uid)
		if changed := !ok || old.Messages[j] != msg; changed && on.condstore {
			// Even a silent STORE reports the new MODSEQ (RFC 7162, 3.1.3).
			m.sendModSeq(i, msg, withUID)
		}
	}
	return gone, nil
}

// handleExpunge runs EXPUNGE (RFC 9051, 6.4.3).
func handleExpunge(m *mailbox, c *call) error {
	if err := c.args.End(); err != nil {
		return err
	}
	if err := m.poll(true); err != nil { // other sessions may have set \Deleted
		return err
	}
	return expungeDeleted(m, c, m.view.all())
}

// handleUIDExpunge runs UID EXPUNGE (RFC 4315, 2.1).
func handleUIDExpunge(m *mailbox, c *call) error {
	c.args.SP()
	set := c.args.Set()
	if err := c.args.End(); err != nil {
		return err
	}
	idx, err := m.view.resolve(set, true)
	if err != nil {
		return err
	}
	return expungeDeleted(m, c, idx)
}

// expungeDeleted removes messages marked \Deleted.
func expungeDeleted(m *mailbox, c *call, idx []int) error {
	if m.readOnly {
		return errReadOnly
	}
	uids := m.view.deleted(idx)
	snap, err := expunge(m, uids)
	if err != nil {
		return err
	}
	if err := m.advance(snap, true, nil); err != nil {
		return err
	}
	if m.session().on.condstore && len(uids) > 0 {
		c.setCode("HIGHESTMODSEQ %d", m.view.highestModSeq())
	}
	c.current = true
	return nil
}

// expunge removes messages and returns the folder's new state.
func expunge(m *mailbox, uids []uint32) (*maildrop.Snapshot, error) {
	if len(uids) == 0 {
		return m.folder.Sync()
	}
	_, snap, err := m.folder.Expunge(uids)
	return snap, err
}
