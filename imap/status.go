package imap

import "hoplite/maildrop"

// figures holds the data for STATUS items.
type figures struct {
	snap   *maildrop.Snapshot
	counts maildrop.Counts
	recent int
	limit  int64 // APPENDLIMIT
}

// statusItem appends the value of a STATUS item.
type statusItem func(b []byte, f *figures) []byte

// count returns a STATUS item whose value is a number.
func count(of func(*figures) int64) statusItem {
	return func(b []byte, f *figures) []byte { return appendInt(b, of(f)) }
}

// baseStatus holds the STATUS items of IMAP4rev1 and IMAP4rev2.
var baseStatus = map[string]statusItem{
	"MESSAGES":    count(func(f *figures) int64 { return int64(f.counts.Messages) }),
	"RECENT":      count(func(f *figures) int64 { return int64(f.recent) }),
	"UIDNEXT":     count(func(f *figures) int64 { return int64(f.snap.Next) }),
	"UIDVALIDITY": count(func(f *figures) int64 { return int64(f.snap.Validity) }),
	"UNSEEN":      count(func(f *figures) int64 { return int64(f.counts.Unseen) }),
	"DELETED":     count(func(f *figures) int64 { return int64(f.counts.Deleted) }),
}

// handleStatus runs STATUS (RFC 9051, 6.3.11).
func handleStatus(a *account, c *call) error {
	c.args.SP()
	wireName := c.args.AString()
	c.args.SP()
	items := c.args.StatusItems()
	if err := c.args.End(); err != nil {
		return err
	}
	if err := a.checkStatus(items); err != nil {
		return err
	}
	name, err := a.names.folder(wireName)
	if err != nil {
		return err
	}
	return a.sendStatus(c.out, name, items)
}

// checkStatus returns an error for unknown items, and enables CONDSTORE if an
// item requires it (RFC 7162, 3.1).
func (a *account) checkStatus(items []string) error {
	for _, it := range items {
		if a.session.srv.dialect.status[it] == nil {
			return badf("Unknown STATUS item %s", it)
		}
	}
	for _, it := range items {
		if it == "HIGHESTMODSEQ" {
			a.enableCondstore()
		}
	}
	return nil
}

// sendStatus sends the STATUS response for a folder.
func (a *account) sendStatus(out output, name string, items []string) error {
	folder, err := a.box.Folder(name)
	if err != nil {
		return err
	}
	defer folder.Close()
	snap, err := folder.Sync()
	if err != nil {
		return err
	}
	f := figures{snap: snap, counts: snap.Counts(), limit: int64(a.session.srv.cfg.AppendLimit)}
	f.recent = len(snap.Messages) - snap.From(folder.Recent(snap, false))
	b := append(out.Room(1024), "* STATUS "...)
	b = append(b, a.names.encode(name)...)
	b = append(b, " ("...)
	for i, it := range items {
		if i > 0 {
			b = append(b, ' ')
		}
		b = append(append(b, it...), ' ')
		b = a.session.srv.dialect.status[it](b, &f)
	}
	out.Took(append(b, ")\r\n"...))
	return nil
}
