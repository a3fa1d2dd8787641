package maildrop

import (
	"encoding/binary"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// notifier is the process's one inotify instance: it tells which watched
// directories changed. Where it can't work - no instance or watch left, a
// network file system - polling goes on alone.
type notifier struct {
	file *os.File
	fd   int // of file, whose Fd method would make it blocking

	mu   sync.Mutex
	dirs map[int32][]*Folder // by watch descriptor
}

// events are the ways in which others change a Maildir.
const events = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_DELETE_SELF | unix.IN_ONLYDIR | unix.IN_EXCL_UNLINK

// newNotifier returns nil when there is none to be had.
func newNotifier() *notifier {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil
	}
	return &notifier{file: os.NewFile(uintptr(fd), "inotify"), fd: fd, dirs: map[int32][]*Folder{}}
}

// add watches a folder's directories; a handle's path in /proc leads to the
// directory itself, whatever it is called now.
func (n *notifier) add(f *Folder) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, path := range []string{f.new.ProcPath(), f.cur.ProcPath()} {
		if wd, err := unix.InotifyAddWatch(n.fd, path, events); err == nil {
			n.dirs[int32(wd)] = append(n.dirs[int32(wd)], f)
		}
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
		// Fails when the directory is gone, and the watch with it.
		_, _ = unix.InotifyRmWatch(n.fd, uint32(wd))
	}
}

// run calls changed for each folder that something happened in, until close.
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
