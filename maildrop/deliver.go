package maildrop

import "strings"

// deliver puts a message into new, as every delivery agent does: the file is
// synced, moved, and the directory synced, before anybody is told. UIDs are
// given by whoever reads the folder next. Many deliveries at once share the
// directory's sync.
func (f *Folder) deliver(n *NewMessage) error {
	if err := n.seal(); err != nil {
		return err
	}
	base := n.base()
	if err := f.tmp.Rename(n.name, f.new, base); err != nil {
		return err
	}
	if err := f.newSync.sync(f.new); err != nil {
		// The sender will send it again; keep what may not be durable from
		// becoming a second copy.
		f.new.Remove(base)
		return err
	}
	f.box.used(n.size, 1)
	f.arrived()
	return nil
}

// arrived lets sessions that wait for this folder know of new mail.
func (f *Folder) arrived() {
	// The directory's time stamp need not differ from that of the last look.
	f.fresh.Store(true)
	if !f.watchers.any() || !f.waking.CompareAndSwap(false, true) {
		return
	}
	// The box must stay open until the look is done.
	b := f.box
	b.mu.Lock()
	f.refs++
	b.mu.Unlock()
	go func() {
		defer f.Close()
		f.waking.Store(false)
		if _, err := f.Sync(); err != nil {
			b.store.log.Warn().Err(err).Msg("new mail not announced")
		}
	}()
}

// foldFolder is a folder name in the form in which sub-addresses compare.
func foldFolder(name string) string {
	return strings.ToLower(strings.ReplaceAll(name, ".", "/"))
}
