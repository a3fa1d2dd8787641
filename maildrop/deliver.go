package maildrop

import (
	"errors"
	"strings"
	"time"
)

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
	if f.watchers.any() {
		f.lookSoon(0)
	}
}

// lookSoon has the folder looked at in the background, once for all who ask
// meanwhile.
func (f *Folder) lookSoon(wait time.Duration) {
	if !f.waking.CompareAndSwap(false, true) {
		return
	}
	b := f.box
	b.mu.Lock()
	open := f.refs > 0
	if open {
		f.refs++ // it stays open until the look is done
	}
	b.mu.Unlock()
	if !open {
		f.waking.Store(false)
		return
	}
	go func() {
		defer f.Close()
		time.Sleep(wait)
		f.waking.Store(false)
		if _, err := f.Sync(); err != nil && !errors.Is(err, ErrGone) {
			b.store.log.Warn().Err(err).Msg("changes not announced")
		}
	}()
}

// foldFolder is a folder name in the form in which sub-addresses compare.
func foldFolder(name string) string {
	return strings.ToLower(strings.ReplaceAll(name, ".", "/"))
}
