// Package owner lets a command started by root work on a data folder as the
// folder's owner, so that new files belong to the server's user, and links
// created by that user cannot redirect root.
package owner

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"syscall"
)

// Become makes a process started by root run as the owner of the folder data,
// or of its nearest existing parent, until restore is called. It does nothing
// for other processes, or if root owns the folder.
func Become(data string) (restore func(), err error) {
	restore = func() {}
	if os.Geteuid() != 0 {
		return restore, nil
	}
	uid, gid, err := of(data)
	if err != nil || uid == 0 {
		return restore, err
	}
	oldGroup := os.Getegid()
	groups, err := syscall.Getgroups()
	if err != nil {
		return restore, fmt.Errorf("groups of root: %w", err)
	}
	restore = func() {
		syscall.Seteuid(0)
		syscall.Setegid(oldGroup)
		syscall.Setgroups(groups)
	}
	err = errors.Join(syscall.Setgroups([]int{gid}), syscall.Setegid(gid), syscall.Seteuid(uid))
	if err != nil {
		restore()
		return func() {}, fmt.Errorf("work as the owner of %s (uid %d): %w", data, uid, err)
	}
	return restore, nil
}

// Name returns the name, or else the id, of the user that owns a path. If the
// path cannot be examined, the owner of its nearest parent that can be examined
// is used.
func Name(path string) string {
	uid, _, err := of(path)
	if err != nil {
		return ""
	}
	id := fmt.Sprint(uid)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "#" + id
}

// of returns the owner of a folder or of its nearest existing parent.
func of(dir string) (uid, gid int, err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return 0, 0, err
	}
	for {
		st, err := os.Stat(dir)
		if err == nil {
			if owner, ok := st.Sys().(*syscall.Stat_t); ok {
				return int(owner.Uid), int(owner.Gid), nil
			}
			return 0, 0, nil
		}
		if parent := filepath.Dir(dir); (errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)) && parent != dir {
			dir = parent
			continue
		}
		return 0, 0, err
	}
}
