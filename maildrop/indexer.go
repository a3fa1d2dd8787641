package maildrop

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/rs/zerolog"

	"hoplite/maildrop/index"
	"hoplite/maildrop/reconcile"
)

// openIndex opens the directory that contains all of the store's indexes.
func (s *Store) openIndex() error {
	if s.env.NoIndex {
		return nil
	}
	dir := filepath.Join(s.env.Data, "index", pathPart(s.set.Load().Name))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("open the index of maildrop %q: %w", s.set.Load().Name, err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("open the index of maildrop %q: %w", s.set.Load().Name, err)
	}
	s.index = root
	return nil
}

// indexer maintains one folder's private index: a log of its state, and the
// items stored by readers. The index may be out of date or fail; missing data
// is read from the Maildir again. Folder.mu guards everything except the items.
type indexer struct {
	root  *os.Root // the store's indexes; nil if there are none
	files *files
	warn  zerolog.Logger
	items items

	log       *index.Log
	off       bool     // the log cannot be written
	behind    bool     // the log must be rewritten
	announced bool     // write has returned false
	keywords  []string // as recorded in the log
}

// dirName returns the name of a folder's index directory. It contains the
// folder's GUID and inode, because a copy of a Maildir has the same GUIDs.
func (x *indexer) dirName(guid string) (string, error) {
	st, err := x.files.dir.StatSelf()
	return filepath.Join(guid[:2], fmt.Sprintf("%s-%x", guid, st.Ino)), err
}

// openDir returns a folder's index directory, creating it if necessary.
func (x *indexer) openDir(guid string) (index.Place, error) {
	name, err := x.dirName(guid)
	if err == nil {
		err = x.root.MkdirAll(name, 0o700)
	}
	p := index.Place{Root: x.root, Dir: name}
	p.Pool, p.Owner = x.files.dir.Pool()
	return p, err
}

// open opens the folder's log and returns its state, or nil if no log can be
// used.
func (x *indexer) open(guid string) *index.State {
	x.behind = true
	if x.root == nil || guid == "" {
		x.off = true
		return nil
	}
	var s *index.State
	place, err := x.openDir(guid)
	if err == nil {
		x.log, s, err = index.OpenLog(place)
	}
	if err != nil {
		x.off = true
		x.warn.Warn().Err(err).Msg("continuing without an index")
		return nil
	}
	x.items.setPlace(&place)
	return s
}

// current records that the log is up to date.
func (x *indexer) current(known *reconcile.State) {
	x.behind, x.announced, x.keywords = false, false, known.Keywords
}

// write appends changes to the log. If the log is behind, the first call
// returns false, and the caller must call rewrite later.
func (x *indexer) write(known *reconcile.State, head index.Head, c reconcile.Changes) bool {
	x.items.drop(c.Expunged)
	if x.off {
		return true
	}
	// An existing log does not contain this state.
	if x.log == nil && x.open(known.GUID) == nil {
		return true
	}
	if x.behind {
		first := !x.announced
		x.announced = true
		return !first
	}
	if len(c.Added)+len(c.Flagged)+len(c.Expunged) > 0 {
		// After a power failure, modification sequences must not be reused.
		if err := x.log.Guard(); err != nil {
			x.disable(err)
			return true
		}
	}
	b := index.Batch{Head: head, Added: c.Added, Flagged: c.Flagged}
	for _, uid := range c.Expunged {
		b.Gone = append(b.Gone, index.Gone{UID: uid, ModSeq: known.ModSeq})
	}
	if !slices.Equal(known.Keywords, x.keywords) {
		b.Keywords = known.Keywords
	}
	if err := x.log.Write(b); err != nil {
		x.disable(err)
		return true
	}
	x.current(known)
	if x.log.Wasteful() {
		x.rewrite(known, head)
	}
	return true
}

// rewrite writes the whole state to the log.
func (x *indexer) rewrite(known *reconcile.State, head index.Head) {
	if x.log == nil {
		return
	}
	err := x.log.Rewrite(&index.State{Head: head, Other: known.Other, Keywords: known.Keywords, Messages: known.Messages, Gone: known.Gone})
	if err != nil {
		x.disable(err)
		return
	}
	x.current(known)
}

// disable stops using a log that could not be written.
func (x *indexer) disable(err error) {
	x.warn.Warn().Err(err).Msg("index not written")
	x.log.Close()
	x.log, x.off = nil, true
}

// close closes the log and the items.
func (x *indexer) close() {
	x.log.Close()
	x.log, x.off, x.behind, x.announced, x.keywords = nil, false, false, false, nil
	if err := x.items.close(); err != nil {
		x.warn.Warn().Err(err).Msg("close item cache")
	}
}

// erase deletes the index from disk. guid is empty if unknown.
func (x *indexer) erase(guid string) {
	x.close()
	x.off = true
	if list := x.files.listHead(); list != nil && guid == "" {
		guid = list.GUID
	}
	if x.root == nil || guid == "" {
		return
	}
	name, err := x.dirName(guid)
	if err != nil {
		return
	}
	if err := x.root.RemoveAll(name); err != nil {
		x.warn.Warn().Err(err).Msg("remove index")
	}
}

// headOf returns the contents of the index except for the messages. since and
// settle describe the disk when known was read.
func headOf(known *reconcile.State, since stamp, settle bool) index.Head {
	return index.Head{
		Validity: known.Validity, Next: known.Next, ModSeq: known.ModSeq, Recent: known.Recent, GoneFloor: known.GoneFloor,
		Lines: known.Lines, Ceiling: known.Ceiling, CeilingAt: -1, Stamp: since, Settle: settle,
	}
}
