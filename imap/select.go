package imap

import (
	"hoplite/imap/wire"
)

// handleSelect runs SELECT (RFC 9051, 6.3.2).
func handleSelect(a *account, c *call) error { return selectMailbox(a, c, false) }

// handleExamine runs EXAMINE (RFC 9051, 6.3.3).
func handleExamine(a *account, c *call) error { return selectMailbox(a, c, true) }

func selectMailbox(a *account, c *call, readOnly bool) error {
	c.args.SP()
	args := c.args.Select()
	if err := c.args.End(); err != nil {
		return err
	}
	on := &a.session.on
	if args.QResync != nil && !on.qresync {
		return badf("ENABLE QRESYNC first")
	}
	if q := args.QResync; on.uidOnly && q != nil && q.SeqMatch != nil {
		return errUIDRequired
	}
	if a.selected != nil {
		a.unselect()
		if on.qresync || on.rev2 {
			c.out.untagged("OK [CLOSED] Previous mailbox closed")
		}
	}
	if args.CondStore || args.QResync != nil {
		on.condstore = true
	}
	folder, err := a.open(args.Mailbox)
	if err != nil {
		return err
	}
	snap, err := folder.Sync()
	if err != nil {
		folder.Close()
		return err
	}
	m := &mailbox{account: a, out: c.out, folder: folder, readOnly: readOnly, view: view{Snapshot: snap}}
	a.selected = m
	m.claimRecent(snap)
	describe(m)
	if args.QResync != nil {
		resync(m, args.QResync)
	}
	c.current = true
	if readOnly {
		c.setCode("READ-ONLY")
	} else {
		c.setCode("READ-WRITE")
	}
	return nil
}

// describe sends the responses required by SELECT.
func describe(m *mailbox) {
	v, on, names := &m.view, &m.session().on, &m.account.names
	m.sendFlagNames()
	if m.readOnly {
		m.out.untagged("OK [PERMANENTFLAGS ()] Read-only mailbox")
	}
	m.sendCounts()
	if !on.rev2 && !on.uidOnly {
		if first := v.Counts().FirstUnseen; first >= 0 {
			m.out.untagged("OK [UNSEEN %d] First unseen", first+1)
		}
	}
	m.out.untagged("OK [UIDVALIDITY %d] UIDs valid", v.Validity)
	m.out.untagged("OK [UIDNEXT %d] Predicted next UID", v.Next)
	m.sendHighestModSeq()
	if m.session().srv.dialect.has("OBJECTID") {
		m.out.untagged("OK [MAILBOXID (%s)] Ok", mailboxID(v.Snapshot))
	}
	if on.rev2 {
		m.out.untagged("LIST () %s %s", names.quotedSeparator(), names.encode(m.folder.Name()))
	}
}

// resync reports the changes since the state that the client cached (RFC 7162,
// 3.2.5.2).
func resync(m *mailbox, q *wire.QResyncState) {
	v := &m.view
	if q.Validity != v.Validity {
		return
	}
	known := func(uint32) bool { return true }
	if q.Known != nil {
		set := wire.Set{Ranges: q.Known}.Resolve(0)
		known = func(uid uint32) bool { return within(set, uid) }
	}
	below := unchangedBelow(v, q)
	var gone []uint32
	for _, uid := range m.folder.Vanished(v.Snapshot, q.ModSeq) {
		if uid > below && known(uid) {
			gone = append(gone, uid)
		}
	}
	m.sendVanished("VANISHED (EARLIER)", gone)
	for i, msg := range v.Messages {
		if msg.ModSeq > q.ModSeq && known(msg.UID) {
			m.sendFlags(i, msg, true)
		}
	}
}

// unchangedBelow returns a UID up to which no message was expunged. It compares
// the message numbers and UIDs cached by the client.
func unchangedBelow(v *view, q *wire.QResyncState) uint32 {
	uid := uint32(0)
	seqs, uids := expand(q.SeqMatch), expand(q.MatchUIDs)
	for i := 0; i < len(seqs) && i < len(uids); i++ {
		n := int(seqs[i])
		if n > len(v.Messages) || v.Messages[n-1].UID != uids[i] {
			break
		}
		uid = uids[i]
	}
	return uid
}

// maxMatched is the maximum number of QRESYNC message numbers that are
// compared.
const maxMatched = 10_000

// expand returns the numbers in ranges.
func expand(ranges []wire.Range) []uint32 {
	var out []uint32
	for _, r := range ranges {
		for n := r.Lo; n <= r.Hi && len(out) < maxMatched; n++ {
			out = append(out, n)
		}
	}
	return out
}

// handleCheck runs CHECK (RFC 3501, 6.4.1). The store has no checkpoints.
func handleCheck(_ *mailbox, c *call) error { return c.args.End() }

// handleUnselect runs UNSELECT (RFC 9051, 6.4.2).
func handleUnselect(m *mailbox, c *call) error {
	if err := c.args.End(); err != nil {
		return err
	}
	m.account.unselect()
	return nil
}

// handleClose runs CLOSE (RFC 9051, 6.4.1).
func handleClose(m *mailbox, c *call) error {
	if err := c.args.End(); err != nil {
		return err
	}
	defer m.account.unselect()
	if m.readOnly {
		return nil
	}
	_, err := expunge(m, m.view.deleted(m.view.all()))
	return err
}
