package maildir

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

var direntBlocks = sync.Pool{New: func() any { b := make([]byte, block); return &b }}

// readNames reads a directory in large blocks and stores the names from each
// block in one string. A folder may have a hundred thousand files, and
// os.File.ReadDir reads about 8 KiB of entries at a time and allocates three
// times per entry.
func readNames(d *Dir, f *os.File, keep func(fs.FileMode) bool) ([]string, error) {
	buf := direntBlocks.Get().(*[]byte)
	defer direntBlocks.Put(buf)
	var names []string
	for {
		n, err := unix.Getdents(int(f.Fd()), *buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, &fs.PathError{Op: "read", Path: d.path(), Err: err}
		}
		if n <= 0 {
			return names, nil
		}
		if names, err = blockNames(d, names, (*buf)[:n], keep); err != nil {
			return nil, err
		}
	}
}

// blockNames appends the names in a block of entries. It overwrites the block.
func blockNames(d *Dir, names []string, b []byte, keep func(fs.FileMode) bool) ([]string, error) {
	all, first := b[:0], len(names)
	for rest := b; len(rest) > 0; {
		var name []byte
		var typ byte
		name, typ, rest = cutDirent(rest)
		if len(name) == 0 {
			continue
		}
		mode, err := direntMode(d, name, typ)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed during the call
		}
		if err != nil {
			return nil, err
		}
		if keep(mode) {
			// Everything before rest has been read, and a name is shorter than
			// its entry.
			all = append(all, name...)
			all = append(all, 0)
			names = append(names, "")
		}
	}
	text := string(all)
	for i := first; i < len(names); i++ {
		names[i], text, _ = strings.Cut(text, "\x00")
	}
	return names, nil
}

// cutDirent removes the first struct linux_dirent64 from b: inode, offset,
// record length, type, name. The name is empty for "." and "..".
func cutDirent(b []byte) (name []byte, typ byte, rest []byte) {
	const at = 19
	if len(b) <= at {
		return nil, 0, nil
	}
	n := int(binary.NativeEndian.Uint16(b[16:]))
	if n <= at || n > len(b) {
		return nil, 0, nil
	}
	name, _, _ = bytes.Cut(b[at:n], []byte{0})
	if s := string(name); s == "." || s == ".." || binary.NativeEndian.Uint64(b) == 0 {
		name = nil
	}
	return name, b[18], b[n:]
}

// direntMode returns the type of a directory entry. It may need a Stat, because
// some file systems do not store the type in the entry.
func direntMode(d *Dir, name []byte, typ byte) (fs.FileMode, error) {
	switch typ {
	case unix.DT_REG:
		return 0, nil
	case unix.DT_DIR:
		return fs.ModeDir, nil
	case unix.DT_LNK:
		return fs.ModeSymlink, nil
	case unix.DT_UNKNOWN:
		st, err := d.Stat(string(name))
		return st.Mode.Type(), err
	}
	return fs.ModeIrregular, nil
}
