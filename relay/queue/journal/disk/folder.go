package disk

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// folder is the journal's directory. It determines file paths and writes files
// durably. It holds no other state.
type folder struct {
	path  string
	write func(f *os.File, p []byte) error
	sync  func(f *os.File) error
}

// create creates any missing directories.
func (d *folder) create() error {
	for _, name := range []string{"log", "body", "deferred", "inject"} {
		if err := os.MkdirAll(filepath.Join(d.path, name), 0o700); err != nil {
			return fmt.Errorf("create queue folder: %w", err)
		}
	}
	return nil
}

// logs returns the directory of the segments.
func (d *folder) logs() string { return filepath.Join(d.path, "log") }

func (d *folder) segment(num uint64) string { return filepath.Join(d.logs(), segmentName(num)) }

// message returns the path of a message that is not inside the log.
func (d *folder) message(p place, id string) string {
	if p == large {
		return filepath.Join(d.path, "body", fan(id), id)
	}
	return filepath.Join(d.path, "deferred", fan(id), id+".eml")
}

// envelopePath returns the path of the .json file next to a deferred message.
func envelopePath(eml string) string { return strings.TrimSuffix(eml, ".eml") + ".json" }

// remove deletes a message's file and, for a deferred message, its envelope.
func (d *folder) remove(p place, id string) {
	path := d.message(p, id)
	os.Remove(path)
	if p == deferred {
		os.Remove(envelopePath(path))
	}
}

// fan returns the subdirectory for an id, one of 256.
func fan(id string) string {
	return fmt.Sprintf("%02x", crc32.Checksum([]byte(id), castagnoli)&0xff)
}

// makeFan creates one of the 256 subdirectories durably.
func (d *folder) makeFan(dir string) error {
	if err := os.Mkdir(dir, 0o700); errors.Is(err, fs.ErrExist) {
		return nil
	} else if err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

// writeNew writes a file in a fan directory. The file and its directory entry
// are durable when it returns.
func (d *folder) writeNew(path string, fill func(*os.File) error) error {
	dir := filepath.Dir(path)
	if err := d.makeFan(dir); err != nil {
		return err
	}
	if err := d.writeSynced(path, fill); err != nil {
		return err
	}
	return syncDir(dir)
}

// writeSynced writes and syncs a file, but not its directory. After an error
// the file is removed.
func (d *folder) writeSynced(path string, fill func(*os.File) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err = fill(f); err == nil {
		err = d.sync(f)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(path)
	}
	return err
}

// syncDir makes the creation and removal of files in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
