//go:build unix

package index

import (
	"os"

	"golang.org/x/sys/unix"
)

// lock prevents other processes from writing to the same file.
func lock(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == unix.EWOULDBLOCK {
		return ErrLocked
	}
	return err
}
