//go:build !linux

package journal

import (
	"errors"
	"os"
)

// datasync makes a file's octets durable.
func datasync(f *os.File) error { return f.Sync() }

// allocate is not there: the file grows as it is written.
func allocate(*os.File, int64, int64) error { return errors.ErrUnsupported }
