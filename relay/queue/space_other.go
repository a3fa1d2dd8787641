//go:build !(linux || darwin || freebsd)

package queue

import "math"

// FreeSpace returns a large number, because the free space is unknown on this
// system; a full disk is detected when a write fails.
func FreeSpace(string) (int64, error) { return math.MaxInt64, nil }
