//go:build !linux

package disk

import "os"

// datasync makes a file's data durable.
func datasync(f *os.File) error { return f.Sync() }

// freeSpace returns 0, because the free space is unknown on this system.
func freeSpace(string) int64 { return 0 }
