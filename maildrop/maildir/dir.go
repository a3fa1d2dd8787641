//go:build unix

package maildir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"hoplite/internal/handles"
)

// Dir is a directory. All names are single components: they contain no slash
// and are not "..". Symbolic links to files or directories are never followed.
//
// The descriptor is closed when it has not been used for a while, and reopened
// by the next use. If the path then refers to another directory or to none, the
// Dir is gone: its files do not exist, and its StatSelf has no Links.
type Dir struct {
	handle *handles.Handle
	group  *group
	up     *Dir // nil for a Dir from OpenDir
	at     atomic.Pointer[place]
	id     identity // of the directory opened first
}

// group holds the data shared by the directories of one box.
type group struct {
	pool  *handles.Pool
	owner *handles.Owner
}

// place is the location of a directory.
type place struct {
	name string // relative to the parent directory or the root
	path string
	up   *place // place of the parent when path was computed
}

// identity distinguishes a directory from another one at the same path.
type identity struct{ dev, ino uint64 }

func (d *Dir) path() string { return d.place().path }

// place returns the directory's current location, even if it or a parent has
// been renamed.
func (d *Dir) place() *place {
	p := d.at.Load()
	if d.up == nil {
		return p
	}
	up := d.up.place()
	if p.up == up {
		return p
	}
	now := &place{p.name, up.path + "/" + p.name, up}
	d.at.CompareAndSwap(p, now)
	return now
}

// errName is returned for names that could refer to a file outside the
// directory.
var errName = errors.New("not a file name")

// OpenDir opens the directory at path inside root. The path may have several
// components; none of them may be a symbolic link out of root, and the last one
// must not be a symbolic link at all. Its descriptor and those of its
// subdirectories count towards one owner in the pool.
func OpenDir(pool *handles.Pool, root *os.Root, path string) (*Dir, error) {
	d := &Dir{group: &group{pool, &handles.Owner{}}}
	d.at.Store(&place{name: path, path: filepath.Join(root.Name(), path)})
	return d.open1(func(name string) (*os.File, error) {
		st, err := root.Lstat(name)
		if err != nil {
			return nil, err
		}
		if !st.IsDir() {
			return nil, &fs.PathError{Op: "open", Path: name, Err: unix.ENOTDIR}
		}
		return root.Open(name)
	})
}

// open1 opens the directory for the first time. find opens the current entry
// with its name.
func (d *Dir) open1(find func(name string) (*os.File, error)) (*Dir, error) {
	again := func() (*os.File, error) {
		f, err := find(d.at.Load().name)
		if err != nil {
			return nil, err
		}
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil {
			f.Close()
			return nil, &fs.PathError{Op: "stat", Path: d.path(), Err: err}
		}
		id := identity{uint64(st.Dev), uint64(st.Ino)}
		if d.id == (identity{}) {
			d.id = id
		}
		if d.id != id {
			f.Close()
			return nil, &fs.PathError{Op: "open", Path: d.path(), Err: unix.ENOENT}
		}
		return f, nil
	}
	d.handle = d.group.pool.New(d.group.owner, again)
	if _, err := d.handle.Acquire(); err != nil {
		return nil, err
	}
	d.handle.Release()
	return d, nil
}

// Close closes the directory.
func (d *Dir) Close() error {
	d.handle.Close()
	return nil
}

// Path returns the directory's path, for use in messages.
func (d *Dir) Path() string { return d.path() }

// Pool returns the pool that holds the directory's descriptor, and the
// descriptor's owner in that pool.
func (d *Dir) Pool() (*handles.Pool, *handles.Owner) { return d.group.pool, d.group.owner }

// MoveTo renames the directory within its parent. Other goroutines may use the
// Dir at the same time.
func (d *Dir) MoveTo(name string) error {
	if _, err := d.handle.Acquire(); err != nil {
		return err
	}
	defer d.handle.Release()
	if err := d.up.Rename(d.at.Load().name, d.up, name); err != nil {
		return err
	}
	d.at.Store(&place{name: name})
	return nil
}

// WithPath calls do with a path to the directory that remains valid during the
// call, even if the directory is renamed. It works only on Linux.
func (d *Dir) WithPath(do func(path string) error) error {
	f, err := d.handle.Acquire()
	if err != nil {
		return err
	}
	defer d.handle.Release()
	return do(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
}

func checkName(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return errName
	}
	return nil
}

// do calls fn for a file in the directory.
func (d *Dir) do(op, name string, fn func(fd int) error) error {
	if err := checkName(name); err != nil {
		return &fs.PathError{Op: op, Path: d.path() + "/" + name, Err: err}
	}
	return d.run(op, name, fn)
}

// run calls fn with the directory's descriptor. If fn fails because the process
// has no free descriptors, run closes unused ones and retries once.
func (d *Dir) run(op, name string, fn func(fd int) error) error {
	f, err := d.handle.Acquire()
	if err != nil {
		return err
	}
	defer d.handle.Release()
	for relieved := false; ; {
		err := fn(int(f.Fd()))
		switch {
		case err == unix.EINTR:
			continue
		case (err == unix.EMFILE || err == unix.ENFILE) && !relieved:
			relieved = true
			d.group.pool.Relieve()
			continue
		case err != nil:
			return &fs.PathError{Op: op, Path: d.path() + "/" + name, Err: err}
		}
		return nil
	}
}

// Sub opens the subdirectory with the given name.
func (d *Dir) Sub(name string) (*Dir, error) {
	sub := &Dir{group: d.group, up: d}
	sub.at.Store(&place{name: name})
	return sub.open1(func(name string) (*os.File, error) { return d.open(name, unix.O_RDONLY|unix.O_DIRECTORY, 0) })
}

// Open opens a regular file for reading.
func (d *Dir) Open(name string) (*os.File, error) {
	f, _, err := d.OpenStat(name)
	return f, err
}

// OpenStat opens a regular file for reading and also returns its state.
func (d *Dir) OpenStat(name string) (*os.File, Stat, error) {
	// Without O_NONBLOCK, opening a FIFO in place of a message would block.
	f, err := d.open(name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, Stat{}, err
	}
	st, err := FileStat(f)
	if err != nil || !st.Mode.IsRegular() {
		f.Close()
		return nil, Stat{}, &fs.PathError{Op: "open", Path: d.path() + "/" + name, Err: unix.EINVAL}
	}
	return f, st, nil
}

// ReadHead reads the beginning of a regular file into b and returns the number
// of octets read. It is cheaper than Open.
func (d *Dir) ReadHead(name string, b []byte) (n int, err error) {
	err = d.do("read", name, func(fd int) error {
		f, err := unix.Openat(fd, name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(f)
		var st unix.Stat_t
		if err := unix.Fstat(f, &st); err != nil {
			return err
		}
		if st.Mode&unix.S_IFMT != unix.S_IFREG {
			return unix.EINVAL
		}
		for n = 0; n < len(b) && int64(n) < st.Size; {
			more, err := unix.Pread(f, b[n:], int64(n))
			if err != nil || more == 0 {
				return err
			}
			n += more
		}
		return nil
	})
	return n, err
}

// Create creates a new file for writing. The file must not exist.
func (d *Dir) Create(name string, perm fs.FileMode) (*os.File, error) {
	return d.open(name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, perm)
}

// Append opens a file for appending and creates it if necessary.
func (d *Dir) Append(name string, perm fs.FileMode) (*os.File, error) {
	return d.open(name, unix.O_WRONLY|unix.O_APPEND|unix.O_CREAT, perm)
}

// Write opens an existing file for writing in place.
func (d *Dir) Write(name string) (*os.File, error) {
	return d.open(name, unix.O_RDWR|unix.O_NONBLOCK, 0)
}

func (d *Dir) open(name string, flags int, perm fs.FileMode) (*os.File, error) {
	var f *os.File
	err := d.do("open", name, func(fd int) error {
		n, err := unix.Openat(fd, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, uint32(perm.Perm()))
		if err == nil {
			f = os.NewFile(uintptr(n), d.path()+"/"+name)
		}
		return err
	})
	return f, err
}

// ReadFile reads a whole file of at most limit octets.
func (d *Dir) ReadFile(name string, limit int64) ([]byte, error) {
	f, err := d.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, limit)
}

func readAll(f *os.File, limit int64) ([]byte, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.Size() > limit {
		return nil, fmt.Errorf("%s is larger than %d octets", f.Name(), limit)
	}
	b := make([]byte, 0, st.Size()+512)
	for {
		n, err := f.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case err == io.EOF:
			return b, nil
		case err != nil:
			return nil, err
		case int64(len(b)) > limit:
			return nil, fmt.Errorf("%s is larger than %d octets", f.Name(), limit)
		}
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
	}
}

// Rename moves a file to directory dst under the name to, replacing any
// existing file.
func (d *Dir) Rename(name string, dst *Dir, to string) error {
	return dst.do("rename", to, func(target int) error {
		return d.do("rename", name, func(fd int) error { return unix.Renameat(fd, name, target, to) })
	})
}

// Link creates a second name, to, for a file in directory dst. That name must
// not exist.
func (d *Dir) Link(name string, dst *Dir, to string) error {
	return dst.do("link", to, func(target int) error {
		return d.do("link", name, func(fd int) error { return unix.Linkat(fd, name, target, to, 0) })
	})
}

// Remove removes a file.
func (d *Dir) Remove(name string) error {
	return d.do("remove", name, func(fd int) error { return unix.Unlinkat(fd, name, 0) })
}

// RemoveDir removes an empty directory.
func (d *Dir) RemoveDir(name string) error {
	return d.do("remove", name, func(fd int) error { return unix.Unlinkat(fd, name, unix.AT_REMOVEDIR) })
}

// Mkdir creates a directory.
func (d *Dir) Mkdir(name string) error {
	return d.do("mkdir", name, func(fd int) error { return unix.Mkdirat(fd, name, 0o700) })
}

// Sync makes the directory's entries durable.
func (d *Dir) Sync() error {
	f, err := d.handle.Acquire()
	if err == nil {
		defer d.handle.Release()
		err = f.Sync()
	}
	if err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("sync directory %s: %w", d.path(), err)
	}
	return nil
}

// SetTimes sets a file's modification time, which is a message's internal
// date.
func (d *Dir) SetTimes(name string, t time.Time) error {
	ts := []unix.Timespec{unix.NsecToTimespec(t.UnixNano()), unix.NsecToTimespec(t.UnixNano())}
	return d.do("utime", name, func(fd int) error {
		return unix.UtimesNanoAt(fd, name, ts, unix.AT_SYMLINK_NOFOLLOW)
	})
}

// Files returns the names of all regular files in no particular order. It may
// miss a file that is renamed during the call. The names share memory: a caller
// that keeps one of them for long should clone it.
func (d *Dir) Files() ([]string, error) { return d.names(fs.FileMode.IsRegular) }

// All returns the names of all entries that are not directories.
func (d *Dir) All() ([]string, error) {
	return d.names(func(t fs.FileMode) bool { return !t.IsDir() })
}

// Dirs returns the names of all directories. Links to directories are not
// included.
func (d *Dir) Dirs() ([]string, error) { return d.names(fs.FileMode.IsDir) }

// Links returns the names of all symbolic links.
func (d *Dir) Links() ([]string, error) {
	return d.names(func(t fs.FileMode) bool { return t&fs.ModeSymlink != 0 })
}

// names reads the directory and returns the names of entries whose type keep
// accepts.
func (d *Dir) names(keep func(fs.FileMode) bool) ([]string, error) {
	// Reading changes a descriptor's position, so use a separate one.
	var f *os.File
	err := d.run("read", ".", func(fd int) error {
		n, err := unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err == nil {
			f = os.NewFile(uintptr(n), d.path())
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readNames(d, f, keep)
}
