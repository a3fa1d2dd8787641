package main

import (
	"fmt"
	"os"
	"syscall"
)

// sameFileSystem makes sure that files can be moved between two folders
// without copying: accepted mail is renamed from the spool into the queue.
func sameFileSystem(a, b string) error {
	ai, err := os.Stat(a)
	if err != nil {
		return fmt.Errorf("look at data folder: %w", err)
	}
	bi, err := os.Stat(b)
	if err != nil {
		return fmt.Errorf("look at data folder: %w", err)
	}
	as, ok1 := ai.Sys().(*syscall.Stat_t)
	bs, ok2 := bi.Sys().(*syscall.Stat_t)
	if ok1 && ok2 && as.Dev != bs.Dev {
		return fmt.Errorf("%s and %s lie on two file systems: put both on one", a, b)
	}
	return nil
}
