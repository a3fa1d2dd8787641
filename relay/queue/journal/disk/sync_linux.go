package disk

import (
	"os"
	"syscall"
)

// datasync makes a file's data durable, with only the metadata needed to read
// it back.
func datasync(f *os.File) error {
	for {
		if err := syscall.Fdatasync(int(f.Fd())); err != syscall.EINTR {
			return err
		}
	}
}

// freeSpace returns the number of octets available on dir's file system, or 0
// if unknown.
func freeSpace(dir string) int64 {
	var s syscall.Statfs_t
	if syscall.Statfs(dir, &s) != nil {
		return 0
	}
	return int64(s.Bavail) * s.Bsize
}
