//go:build !linux

package journal

import "os"

// datasync makes a file's octets durable.
func datasync(f *os.File) error { return f.Sync() }

// freeSpace is not known here.
func freeSpace(string) int64 { return 0 }
