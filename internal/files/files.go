// Package files reads and writes small files: keys, accounts, state.
//
// [Write] replaces a file so that a crash or power cut leaves either the old or
// the new content, never a mixture. [Make] reads a file that this program
// creates itself, and recreates it if it is damaged. [Replace] is the part of
// Write for callers that hold a folder open. [Watched] holds the parsed
// content of a file that administrators edit while the server runs. Large or
// growing files, such as the queue's log, are left to their packages.
package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Write replaces the file at path: it writes a new file in the same folder,
// syncs it, renames it, and syncs the folder. An existing file's mode and owner
// are kept; a new one has the mode perm and, if root creates it, the owner of
// its folder, because the server that reads it runs as a different user.
func Write(path string, data []byte, perm fs.FileMode) error {
	return Replace(named{filepath.Dir(path), perm}, filepath.Base(path), data, SyncFirst)
}

// Folder is a folder in which [Replace] replaces files. Write uses the folder's
// path; a caller that must not follow links uses a descriptor.
type Folder interface {
	// Create creates a new file that will be renamed to name, and returns
	// its temporary name.
	Create(name string) (f *os.File, temporary string, err error)
	Rename(temporary, name string) error
	Remove(temporary string) error
	// Sync makes the names in the folder durable.
	Sync() error
}

// Order is the order in which Replace makes content and name durable.
type Order int

// The orders.
const (
	// SyncFirst syncs the content before the name refers to it.
	SyncFirst Order = iota
	// SyncOnce syncs them together, which costs one disk write instead of
	// two. A power cut may leave an empty file. It suits a name that did
	// not exist, if an empty file means the same as none.
	SyncOnce
	// SyncNothing is for content that is also stored elsewhere.
	SyncNothing
)

// Replace writes a file in d and renames it to name.
func Replace(d Folder, name string, data []byte, order Order) error {
	f, temporary, err := d.Create(name)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil && order == SyncFirst {
		err = f.Sync()
	}
	if err == nil {
		err = d.Rename(temporary, name)
	}
	if err != nil {
		return errors.Join(err, f.Close(), d.Remove(temporary))
	}
	if order == SyncOnce {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil || order == SyncNothing {
		return err
	}
	return d.Sync()
}

// named is a folder at a path. New files have the mode perm.
type named struct {
	path string
	perm fs.FileMode
}

// Create gives the new file the mode and owner of the one that it will replace.
func (d named) Create(name string) (*os.File, string, error) {
	f, err := os.CreateTemp(d.path, name+".tmp*")
	if err != nil {
		return nil, "", err
	}
	perm := d.perm
	like, err := os.Stat(filepath.Join(d.path, name))
	if err == nil {
		perm = like.Mode().Perm()
	} else {
		like, err = os.Stat(d.path)
	}
	if err == nil {
		err = f.Chmod(perm)
	}
	if err == nil {
		err = ownLike(f, like)
	}
	if err != nil {
		return nil, "", errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	return f, filepath.Base(f.Name()), nil
}

func (d named) Rename(temporary, name string) error {
	return os.Rename(filepath.Join(d.path, temporary), filepath.Join(d.path, name))
}

func (d named) Remove(temporary string) error { return os.Remove(filepath.Join(d.path, temporary)) }

func (d named) Sync() error { return syncDir(d.path) }

// syncDir syncs a folder, so that the names in it survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Make returns the content of a file that the program itself creates. If the
// file does not exist, cannot be read from the disk, or valid rejects its
// content, it is created with the content that fresh returns. damaged reports
// whether one of the latter two was the case; a power cut can cause them.
// Missing folders are created with mode 0750.
func Make(path string, perm fs.FileMode, valid func([]byte) bool, fresh func() []byte) (data []byte, damaged bool, err error) {
	data, err = os.ReadFile(path)
	switch {
	case err == nil && valid(data):
		return data, false, nil
	case err == nil, errors.Is(err, syscall.EIO):
		damaged = true
	case !errors.Is(err, fs.ErrNotExist):
		return nil, false, err
	}
	if err := makeDir(filepath.Dir(path)); err != nil {
		return nil, damaged, err
	}
	data = fresh()
	if err := Write(path, data, perm); err != nil {
		return nil, damaged, fmt.Errorf("create %s: %w", path, err)
	}
	return data, damaged, nil
}

// makeDir durably creates a folder and its parents.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := makeDir(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(parent)
}

// Lock locks the file at path against other processes, and waits until the lock
// is available. The file is created if it does not exist.
func Lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	if dir, e := os.Stat(filepath.Dir(path)); e == nil {
		if err := ownLike(f, dir); err != nil {
			f.Close()
			return nil, err
		}
	}
	for {
		if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != syscall.EINTR {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}

// ownLike changes the owner of a file written by root to that of like.
func ownLike(f *os.File, like fs.FileInfo) error {
	st, ok := like.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 {
		return nil
	}
	return f.Chown(int(st.Uid), int(st.Gid))
}
