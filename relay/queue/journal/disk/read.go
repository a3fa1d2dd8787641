package disk

import (
	"context"
	"errors"

	"hoplite/relay/queue/journal"
)

// Reader is the journal on a disk, opened for reading only. It creates nothing
// and repairs nothing: what a crash left behind is skipped, and is still there
// when the server starts again.
type Reader struct{ *Log }

var _ journal.Journal = Reader{}

var errReadOnly = errors.New("the journal is open for reading only")

// OpenToRead reads the journal in opt.Dir. The caller holds data/lock, so that
// nothing changes.
func OpenToRead(opt Options) (Reader, error) {
	opt.defaults()
	dir := &folder{path: opt.Dir, write: opt.write, sync: opt.sync}
	l := &Log{opt: opt, folder: dir, catalog: newCatalog()}
	r := &recovery{folder: dir, catalog: l.catalog, log: opt.Log, readOnly: true}
	if err := r.run(); err != nil {
		l.catalog.closeSegments()
		return Reader{}, err
	}
	return Reader{l}, nil
}

// Commit returns an error.
func (Reader) Commit(context.Context, ...journal.Change) error { return errReadOnly }

// Done does nothing.
func (Reader) Done(...string) {}

// Close closes the files.
func (r Reader) Close() error {
	r.catalog.closeSegments()
	return nil
}
