//go:build linux || darwin || freebsd

package queue

import (
	"fmt"
	"syscall"
)

// FreeSpace returns the number of octets available on the file system of dir.
func FreeSpace(dir string) (int64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	return int64(st.Bavail) * int64(st.Bsize), nil
}
