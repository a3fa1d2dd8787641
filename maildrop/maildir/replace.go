//go:build unix

package maildir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// Replace writes a new file in the same directory and renames it to name. When
// Replace returns, the new file survives a power failure.
func (d *Dir) Replace(name string, content []byte) error {
	_, err := d.Stat(name)
	first := errors.Is(err, fs.ErrNotExist)
	f, err := d.move(name, content, !first)
	if err != nil {
		return err
	}
	if first {
		// There is no old file to lose, so one sync covers both file and name.
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("replace %s: %w", name, err)
	}
	return d.Sync()
}

// move writes a file and renames it to name. If sync is set, it syncs the file
// first.
func (d *Dir) move(name string, content []byte, sync bool) (*os.File, error) {
	tmp := name + ".tmp"
	if err := d.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, err := d.Create(tmp, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = f.Write(content)
	if err == nil && sync {
		err = f.Sync()
	}
	if err == nil {
		err = d.Rename(tmp, d, name)
	}
	if err != nil {
		f.Close()
		d.Remove(tmp)
		return nil, fmt.Errorf("replace %s: %w", name, err)
	}
	return f, nil
}

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
