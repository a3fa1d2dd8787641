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

// allocate gives [off, off+n) of f its blocks; the file is as long afterwards.
func allocate(f *os.File, off, n int64) error {
	return syscall.Fallocate(int(f.Fd()), 0, off, n)
}
