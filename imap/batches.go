package imap

import (
	"hoplite/imap/wire"
	"hoplite/maildrop"
)

// minBatch is the smallest batch for which UIDBATCHES is answered; smaller ones
// would amount to a list of all UIDs.
const minBatch = 500

// handleUIDBatches runs UIDBATCHES (draft-ietf-mailmaint-imap-uidbatches): it
// splits the mailbox into batches of the given size, beginning with the newest
// messages, and returns the UIDs of each batch's last and first message.
func handleUIDBatches(m *mailbox, c *call) error {
	c.args.SP()
	b := c.args.Batches()
	if err := c.args.End(); err != nil {
		return err
	}
	if b.Size < minBatch {
		return nof("[LIMIT] The minimum batch size is %d", minBatch)
	}
	out := wire.AppendString([]byte("* UIDBATCHES (TAG "), c.tag, false)
	out = append(out, ')')
	mark := byte(' ')
	for _, r := range batches(m.view.Messages, b) {
		out = append(out, mark)
		out = appendInt(out, int64(r.Hi))
		out = appendInt(append(out, ':'), int64(r.Lo))
		mark = ','
	}
	c.out.Write(append(out, "\r\n"...))
	return nil
}

// batches returns the requested batches, newest first. The last batch may be
// smaller than the others.
func batches(msgs []*maildrop.Message, b wire.Batches) []wire.Range {
	var out []wire.Range
	size := int(b.Size)
	for n, end := uint32(1), len(msgs); end > 0 && (b.Last == 0 || n <= b.Last); n, end = n+1, end-size {
		if n >= b.First {
			out = append(out, wire.Range{Lo: msgs[max(end-size, 0)].UID, Hi: msgs[end-1].UID})
		}
	}
	return out
}
