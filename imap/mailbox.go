package imap

import (
	"slices"

	"hoplite/imap/wire"
	"hoplite/maildrop"
)

// mailbox is the selected state: the folder, the client's view of it, and the
// methods that update the view and report the changes.
type mailbox struct {
	account  *account
	out      output
	folder   *maildrop.Folder
	readOnly bool
	view     view
	// positions holds the positions in the large messages fetched most
	// recently.
	positions []*positions
	contexts  []*searchContext
	relevancy []uint8 // result of the latest fuzzy search, by index in the view
}

func (m *mailbox) session() *session { return m.account.session }

func (m *mailbox) close() { m.folder.Close() }

// poll checks the folder for changes and reports them. Unless expunge is set,
// expunged messages keep their numbers.
func (m *mailbox) poll(expunge bool) error {
	snap, err := m.folder.Sync()
	if err != nil {
		return m.lost(err)
	}
	return m.advance(snap, expunge, nil)
}

// lost ends a session whose folder no longer exists.
func (m *mailbox) lost(err error) error {
	m.session().log.Info().Err(err).Msg("imap: selected mailbox is lost")
	m.out.untagged("BYE Selected mailbox no longer exists")
	return errBye
}

// advance moves the view to snap and reports the changes. It does not report
// the flags of messages for which known returns true; known may be nil.
func (m *mailbox) advance(snap *maildrop.Snapshot, expunge bool, known func(*maildrop.Message) bool) error {
	if snap == m.view.Snapshot {
		return nil
	}
	if snap.Gone || snap.Validity != m.view.Validity {
		return m.lost(maildrop.ErrGone)
	}
	on := &m.session().on
	old := m.view.Snapshot
	u := m.view.update(snap, expunge)
	m.leaveContexts(old, u.expunged)
	m.sendExpunged(u)
	if u.keywords {
		m.sendFlagNames()
	}
	if len(u.added) > 0 {
		m.claimRecent(snap)
		m.sendCounts()
	}
	for _, msg := range u.flagged {
		if known != nil && known(msg) {
			continue
		}
		if i, ok := m.view.Find(msg.UID); ok {
			m.sendFlags(i, msg, on.condstore)
		}
	}
	if len(m.contexts) > 0 {
		m.updateContexts(slices.Concat(u.flagged, u.added))
	}
	return nil
}

// claimRecent marks messages that no session has seen as \Recent in this
// session.
func (m *mailbox) claimRecent(snap *maildrop.Snapshot) {
	m.view.claim(m.folder.Recent(snap, !m.readOnly))
}

// sendExpunged reports expunged messages.
func (m *mailbox) sendExpunged(u update) {
	if on := &m.session().on; on.qresync || on.uidOnly {
		m.sendVanished("VANISHED", u.expunged)
		return
	}
	for _, n := range u.numbers {
		b := appendInt(append(m.out.Room(64), "* "...), int64(n))
		m.out.Took(append(b, " EXPUNGE\r\n"...))
	}
}

// maxVanished is the maximum number of UIDs in a VANISHED response.
const maxVanished = 2000

// sendVanished sends "* VANISHED ..." for ascending UIDs.
func (m *mailbox) sendVanished(what string, uids []uint32) {
	for len(uids) > 0 {
		n := min(len(uids), maxVanished)
		m.out.untagged("%s %s", what, wire.AppendNumbers(nil, uids[:n]))
		uids = uids[n:]
	}
}

// sendVanishedSince reports the UIDs in set that were expunged after modseq
// (RFC 7162, 3.2.6).
func (m *mailbox) sendVanishedSince(set wire.Set, modseq uint64) {
	ranges := set.Resolve(max(m.view.Next, 2) - 1)
	var gone []uint32
	for _, uid := range m.folder.Vanished(m.view.Snapshot, modseq) {
		if within(ranges, uid) {
			gone = append(gone, uid)
		}
	}
	m.sendVanished("VANISHED (EARLIER)", gone)
}

func (m *mailbox) sendCounts() {
	m.out.untagged("%d EXISTS", len(m.view.Messages))
	if !m.session().on.rev2 {
		m.out.untagged("%d RECENT", m.view.countRecent())
	}
}

// sendFlagNames sends the flags used in the mailbox and the flags that it can
// store.
func (m *mailbox) sendFlagNames() {
	m.out.untagged("FLAGS (%s)", flagNames(m.view.Keywords))
	if !m.readOnly {
		m.out.untagged(`OK [PERMANENTFLAGS (%s \*)] Flags permitted`, flagNames(m.view.Keywords))
	}
}

// sendHighestModSeq reports the mailbox's HIGHESTMODSEQ to a client that has just
// enabled CONDSTORE (RFC 7162, 3.1).
func (m *mailbox) sendHighestModSeq() {
	m.out.untagged("OK [HIGHESTMODSEQ %d] Highest", m.view.highestModSeq())
}

// sendFlags sends the flags of the i-th message as an untagged FETCH.
func (m *mailbox) sendFlags(i int, msg *maildrop.Message, withUID bool) {
	b := m.beginFetch(i, msg, withUID)
	b = m.appendFlags(append(b, "FLAGS "...), msg)
	if m.session().on.condstore {
		b = appendModSeq(append(b, " MODSEQ "...), msg)
	}
	m.out.Took(append(b, ")\r\n"...))
}

// sendModSeq sends the MODSEQ of the i-th message as an untagged FETCH.
func (m *mailbox) sendModSeq(i int, msg *maildrop.Message, withUID bool) {
	b := m.beginFetch(i, msg, withUID)
	b = appendModSeq(append(b, "MODSEQ "...), msg)
	m.out.Took(append(b, ")\r\n"...))
}

// beginFetch returns the beginning of an untagged FETCH, for out.Took.
func (m *mailbox) beginFetch(i int, msg *maildrop.Message, withUID bool) []byte {
	b := append(m.out.Room(512), "* "...)
	if m.session().on.uidOnly {
		return append(appendInt(b, int64(msg.UID)), " UIDFETCH ("...)
	}
	b = append(appendInt(b, int64(i+1)), " FETCH ("...)
	if withUID {
		b = append(appendInt(append(b, "UID "...), int64(msg.UID)), ' ')
	}
	return b
}

// appendFlags appends a message's flags in parentheses.
func (m *mailbox) appendFlags(b []byte, msg *maildrop.Message) []byte {
	b = append(b, '(')
	start := len(b)
	b = append(b, flagTexts[msg.Flags&31]...)
	if !m.session().on.rev2 && m.view.isRecent(msg.UID) {
		if len(b) > start {
			b = append(b, ' ')
		}
		b = append(b, `\Recent`...)
	}
	if msg.Keywords != 0 {
		for _, k := range m.view.KeywordNames(msg) {
			if len(b) > start {
				b = append(b, ' ')
			}
			b = append(b, k...)
		}
	}
	return append(b, ')')
}
