//go:build unix

package maildir

import (
	"errors"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Stat is the state of a file.
type Stat struct {
	Size  int64
	Ino   uint64
	Links uint64
	MTime time.Time
	CTime time.Time
	Mode  fs.FileMode // type bits and permissions
}

// Stat returns the state of a file; for a symbolic link, that of the link
// itself.
func (d *Dir) Stat(name string) (Stat, error) {
	var st unix.Stat_t
	err := d.do("stat", name, func(fd int) error {
		return unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	})
	return newStat(&st), err
}

// StatSelf returns the state of the directory itself. Its Links are 0 if the
// directory has been removed or replaced.
func (d *Dir) StatSelf() (Stat, error) {
	f, err := d.handle.Acquire()
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return Stat{}, nil
	}
	if err != nil {
		return Stat{}, err
	}
	defer d.handle.Release()
	return FileStat(f)
}

// Glance returns the state of a file in the directory without using a
// descriptor. Because a component of the path may have become a symbolic link,
// the result is useful only for detecting changes. An empty name means the
// directory itself.
func (d *Dir) Glance(name string) (Stat, error) {
	path := d.path()
	if name != "" {
		path += "/" + name
	}
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return Stat{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return newStat(&st), nil
}

func newStat(st *unix.Stat_t) Stat {
	mode := fs.FileMode(st.Mode & 0o777)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFDIR:
		mode |= fs.ModeDir
	case unix.S_IFLNK:
		mode |= fs.ModeSymlink
	default:
		mode |= fs.ModeIrregular
	}
	return Stat{
		Size:  st.Size,
		Ino:   uint64(st.Ino),
		Links: uint64(st.Nlink),
		MTime: time.Unix(st.Mtim.Unix()),
		CTime: time.Unix(st.Ctim.Unix()),
		Mode:  mode,
	}
}

// FileStat returns the state of an open file.
func FileStat(f *os.File) (Stat, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return Stat{}, &fs.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	return newStat(&st), nil
}
