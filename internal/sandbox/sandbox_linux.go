// Package sandbox drops rights that the process no longer needs once it is
// running: from then on, it can write only below a few folders, even if an
// attacker exploits a bug in it.
//
// It uses Landlock, which needs no privileges. On a kernel without Landlock it
// does nothing; the systemd unit in docs restricts the process further.
package sandbox

import (
	"fmt"
	"path/filepath"

	"github.com/landlock-lsm/go-landlock/landlock"
	"github.com/landlock-lsm/go-landlock/landlock/syscall"
)

// Enter permanently restricts the process with all its threads to writing below
// folders; reading is not restricted. Folders that do not exist are not
// created. active is false if the kernel does not support Landlock.
func Enter(folders ...string) (active bool, err error) {
	abi, err := syscall.LandlockGetABIVersion()
	if err != nil || abi < 1 {
		return false, nil
	}
	for i, f := range folders {
		if folders[i], err = filepath.Abs(f); err != nil {
			return false, err
		}
	}
	err = landlock.V3.BestEffort().RestrictPaths(
		landlock.RODirs("/"),
		landlock.RWFiles("/dev/null").IgnoreIfMissing(),
		// Deliveries rename files from tmp to new, between folders.
		landlock.RWDirs(folders...).WithRefer().IgnoreIfMissing(),
	)
	if err != nil {
		return false, fmt.Errorf("landlock: %w", err)
	}
	return true, nil
}
