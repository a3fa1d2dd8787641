package maildrop

import (
	"encoding/binary"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"hoplite/maildrop/maildir"
)

// notifier is the process's inotify instance. It reports which watched
// directories have changed. Where inotify is unavailable, because no instances
// or watches are left or the file system is remote, only polling is used.
type notifier struct {
	file *os.File
	fd   int // from file; calling file.Fd would make it blocking

	mu   sync.Mutex
	dirs map[int32][]*Folder // by watch descriptor
}

// events selects the events to watch for.
const events = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_DELETE_SELF | unix.IN_ONLYDIR | unix.IN_EXCL_UNLINK

// newNotifier returns a notifier, or nil if inotify is not available.
func newNotifier() *notifier {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil
	}
	return &notifier{file: os.NewFile(uintptr(fd), "inotify"), fd: fd, dirs: map[int32][]*Folder{}}
}

// add watches a folder's directories. A watch needs no descriptor, and follows
// its directory when it is renamed.
func (n *notifier) add(f *Folder) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, dir := range []*maildir.Dir{f.new, f.cur} {
		// Without a watch, the folder is polled.
		_ = dir.WithPath(func(path string) error {
			wd, err := unix.InotifyAddWatch(n.fd, path, events)
			if err == nil {
				n.dirs[int32(wd)] = append(n.dirs[int32(wd)], f)
			}
			return err
		})
	}
}

func (n *notifier) remove(f *Folder) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for wd, folders := range n.dirs {
		for i := range folders {
			if folders[i] == f {
				folders = append(folders[:i:i], folders[i+1:]...)
				break
			}
		}
		if len(folders) > 0 {
			n.dirs[wd] = folders
			continue
		}
		delete(n.dirs, wd)
		// This fails if the directory was removed, which also removes the
		// watch.
		_, _ = unix.InotifyRmWatch(n.fd, uint32(wd))
	}
}

// run calls changed for each folder with events, until close is called.
func (n *notifier) run(changed func(*Folder)) {
	buf := make([]byte, 64<<10)
	for {
		k, err := n.file.Read(buf)
		if err != nil {
			return
		}
		seen := map[*Folder]bool{}
		for b := buf[:k]; len(b) >= unix.SizeofInotifyEvent; {
			wd := int32(binary.NativeEndian.Uint32(b))
			size := int(binary.NativeEndian.Uint32(b[12:]))
			b = b[min(len(b), unix.SizeofInotifyEvent+size):]
			n.mu.Lock()
			for _, f := range n.dirs[wd] {
				seen[f] = true
			}
			n.mu.Unlock()
		}
		for f := range seen {
			changed(f)
		}
	}
}

func (n *notifier) close() { n.file.Close() }
