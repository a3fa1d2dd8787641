//go:build !linux

package listen

// hungUp can't be found out without reading here.
func hungUp(int) bool { return false }
