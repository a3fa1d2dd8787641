package journal

import (
	"os"
	"syscall"
)

// datasync makes a file's octets durable, and of its metadata only what is
// needed to read them back.
func datasync(f *os.File) error {
	for {
		if err := syscall.Fdatasync(int(f.Fd())); err != syscall.EINTR {
			return err
		}
	}
}

// freeSpace is how many octets dir's file system has left for us, 0 if unknown.
func freeSpace(dir string) int64 {
	var s syscall.Statfs_t
	if syscall.Statfs(dir, &s) != nil {
		return 0
	}
	return int64(s.Bavail) * s.Bsize
}
