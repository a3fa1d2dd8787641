//go:build !linux

package journal

import "os"

// datasync makes a file's octets durable.
func datasync(f *os.File) error { return f.Sync() }
