//go:build unix

package maildir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"hoplite/internal/files"
)

// Replace writes a new file in the same directory and renames it to name. When
// Replace returns, the new file survives a power failure.
func (d *Dir) Replace(name string, content []byte) error {
	order := files.SyncFirst
	if _, err := d.Stat(name); errors.Is(err, fs.ErrNotExist) {
		order = files.SyncOnce // there is no old file to lose
	}
	return d.replace(name, content, order)
}

func (d *Dir) replace(name string, content []byte, order files.Order) error {
	if err := files.Replace(opened{d}, name, content, order); err != nil {
		return fmt.Errorf("replace %s: %w", name, err)
	}
	return nil
}

// opened is a directory in which package files replaces files.
type opened struct{ *Dir }

// Create uses a fixed name, so that a crash leaves at most one file. Callers
// hold a lock, except for dovecot-uidvalidity, where a file name has the same
// value.
func (d opened) Create(name string) (*os.File, string, error) {
	tmp := name + ".tmp"
	if err := d.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, "", err
	}
	f, err := d.Dir.Create(tmp, 0o600)
	return f, tmp, err
}

func (d opened) Rename(tmp, name string) error { return d.Dir.Rename(tmp, d.Dir, name) }

// Place writes a file to d, which is a tmp directory, syncs it and moves it to
// dst. The caller must sync dst.
func (d *Dir) Place(r io.Reader, date time.Time, dst *Dir, name string) error {
	tmp := Unique()
	w, err := d.Create(tmp, 0o600)
	if err != nil {
		return err
	}
	if _, err = io.Copy(w, r); err == nil {
		err = w.Sync()
	}
	if err = errors.Join(err, w.Close()); err == nil {
		err = d.SetTimes(tmp, date)
	}
	if err == nil {
		err = d.Rename(tmp, dst, name)
	}
	if err != nil {
		d.Remove(tmp)
	}
	return err
}
