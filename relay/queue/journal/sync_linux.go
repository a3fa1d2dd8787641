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
