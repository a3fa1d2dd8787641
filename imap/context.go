package imap

import (
	"context"
	"slices"

	"hoplite/imap/wire"
	"hoplite/maildrop"
)

// maxContexts is the maximum number of searches whose results are kept up to
// date for one client.
const maxContexts = 10

// searchContext is a search whose result is kept up to date: the client is
// notified when messages begin or cease to match (RFC 5267, 4).
type searchContext struct {
	tag   string
	uid   bool // notifications contain UIDs
	args  *wire.Search
	found []uint32 // UIDs, ascending
}

// keep begins to keep a search result up to date.
func (m *mailbox) keep(c *call, args *wire.Search, found []int) {
	if len(m.contexts) >= maxContexts || fixed(&args.Key) {
		m.out.untagged("NO [NOUPDATE %s] The result is not kept up to date", wire.AppendString(nil, c.tag, false))
		return
	}
	m.contexts = append(m.contexts, &searchContext{tag: c.tag, uid: c.uid, args: args, found: m.view.uids(found)})
}

// fixed reports whether a key contains message numbers or "$", which refer to
// different messages later.
func fixed(k *wire.Key) bool {
	if k.Op == wire.KeySeq || k.Set.Saved {
		return true
	}
	return slices.ContainsFunc(k.Kids, func(kid wire.Key) bool { return fixed(&kid) })
}

// context returns the index of the context with a tag, or -1.
func (m *mailbox) context(tag string) int {
	return slices.IndexFunc(m.contexts, func(x *searchContext) bool { return x.tag == tag })
}

// handleCancelUpdate runs CANCELUPDATE (RFC 5267, 4.5).
func handleCancelUpdate(m *mailbox, c *call) error {
	var tags []string
	for c.args.More() {
		tags = append(tags, c.args.String())
	}
	if len(tags) == 0 {
		c.args.Fail("Missing tag")
	}
	if err := c.args.End(); err != nil {
		return err
	}
	unknown := false
	for _, tag := range tags {
		if i := m.context(tag); i >= 0 {
			m.contexts = slices.Delete(m.contexts, i, i+1)
		} else {
			unknown = true
		}
	}
	if unknown {
		return nof("No such search context")
	}
	return nil
}

// leaveContexts reports that expunged messages no longer match. The message
// numbers are those in old, so this must precede the EXPUNGE responses.
func (m *mailbox) leaveContexts(old *maildrop.Snapshot, expunged []uint32) {
	if len(expunged) == 0 {
		return
	}
	for _, x := range m.contexts {
		var gone []uint32
		x.found = slices.DeleteFunc(x.found, func(uid uint32) bool {
			if !contains(expunged, uid) {
				return false
			}
			gone = append(gone, uid)
			return true
		})
		x.send(m.out, old, "REMOVEFROM", gone)
	}
}

// updateContexts evaluates the searches for messages that are new or whose flags
// have changed, and reports differences.
func (m *mailbox) updateContexts(changed []*maildrop.Message) {
	if len(m.contexts) == 0 || len(changed) == 0 {
		return
	}
	ctx, cancel := m.session().patience()
	defer cancel()
	m.contexts = slices.DeleteFunc(m.contexts, func(x *searchContext) bool {
		if err := x.update(ctx, m, changed); err != nil {
			m.session().log.Debug().Err(err).Msg("imap search context ended")
			m.out.untagged("NO [NOUPDATE %s] The result is no longer kept up to date", wire.AppendString(nil, x.tag, false))
			return true
		}
		return false
	})
}

// update evaluates one search for changed messages.
func (x *searchContext) update(ctx context.Context, m *mailbox, changed []*maildrop.Message) error {
	q, err := newQuery(m, x.args)
	if err != nil {
		return err
	}
	if q.root.need == needFile {
		done, err := m.account.work.search(ctx)
		if err != nil {
			return err
		}
		defer done()
	}
	var added, removed []uint32
	for _, msg := range changed {
		i, ok := m.view.Find(msg.UID)
		if !ok {
			continue
		}
		if ctx.Err() != nil {
			return errSearchLimit
		}
		match, err := q.ask(ctx, msg, uint32(i+1))
		if err != nil {
			return err
		}
		at, matched := slices.BinarySearch(x.found, msg.UID)
		switch {
		case match && !matched:
			x.found = slices.Insert(x.found, at, msg.UID)
			added = append(added, msg.UID)
		case matched && !match:
			x.found = slices.Delete(x.found, at, at+1)
			removed = append(removed, msg.UID)
		}
	}
	x.send(m.out, m.view.Snapshot, "REMOVEFROM", removed)
	x.send(m.out, m.view.Snapshot, "ADDTO", added)
	return nil
}

// send reports messages that begin or cease to match. The position is 0, because
// a result of SEARCH is ordered by number (RFC 5267, 4.3).
func (x *searchContext) send(out output, snap *maildrop.Snapshot, what string, uids []uint32) {
	if len(uids) == 0 {
		return
	}
	slices.Sort(uids)
	nums := uids
	b := wire.AppendString([]byte("* ESEARCH (TAG "), x.tag, false)
	b = append(b, ')')
	if x.uid {
		b = append(b, " UID"...)
	} else {
		nums = make([]uint32, 0, len(uids))
		for _, uid := range uids {
			if i, ok := snap.Find(uid); ok {
				nums = append(nums, uint32(i+1))
			}
		}
	}
	b = append(append(append(b, ' '), what...), " (0 "...)
	out.Write(append(wire.AppendNumbers(b, nums), ")\r\n"...))
}
