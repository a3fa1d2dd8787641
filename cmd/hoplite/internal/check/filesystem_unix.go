package check

import (
	"fmt"
	"os"
	"syscall"
)

// SameFileSystem returns an error if files cannot be renamed from a to b.
// Accepted mail is moved from the spool to the queue by renaming.
func SameFileSystem(a, b string) error {
	ai, err := os.Stat(a)
	if err != nil {
		return fmt.Errorf("examine data folder: %w", err)
	}
	bi, err := os.Stat(b)
	if err != nil {
		return fmt.Errorf("examine data folder: %w", err)
	}
	as, ok1 := ai.Sys().(*syscall.Stat_t)
	bs, ok2 := bi.Sys().(*syscall.Stat_t)
	if ok1 && ok2 && as.Dev != bs.Dev {
		return fmt.Errorf("%s and %s are on different file systems: put both on the same one", a, b)
	}
	return nil
}
