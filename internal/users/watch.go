package users

import (
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"
)

// watched notices that a file was replaced. It asks the disk at most once in
// recheck, so that a lookup stays cheap.
type watched struct {
	path string
	next atomic.Int64 // when to look again, in Unix nanoseconds
	last fs.FileInfo  // as it was read; guarded by the owner
}

// due says that it is time to look again, to one caller.
func (w *watched) due() bool {
	now, next := time.Now().UnixNano(), w.next.Load()
	return now >= next && w.next.CompareAndSwap(next, now+int64(recheck))
}

// changed says that the file is another one than at the last call.
func (w *watched) changed() bool {
	w.next.Store(time.Now().Add(recheck).UnixNano())
	now, err := os.Stat(w.path)
	if err != nil {
		now = nil
	}
	old := w.last
	w.last = now
	switch {
	case old == nil || now == nil:
		return old != now
	case !os.SameFile(old, now):
		return true
	}
	return !old.ModTime().Equal(now.ModTime()) || old.Size() != now.Size()
}

// lock takes a file's lock, shared with other processes, and waits for it.
func lock(path string) (unlock func(), err error) {
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

// ownLike gives a file that root wrote to whom it belongs: the server that has to
// read it runs under an account of its own.
func ownLike(f *os.File, like fs.FileInfo) error {
	st, ok := like.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 {
		return nil
	}
	return f.Chown(int(st.Uid), int(st.Gid))
}
