// Package sandbox takes rights away from the running process that it has no
// use for after its start: from then on it can write below a few folders only,
// whatever a bug in it is made to do.
//
// It uses Landlock, which needs no privileges. A kernel without it leaves
// things as they were; the unit file in docs does the same and more with
// systemd's means.
package sandbox

import (
	"fmt"
	"path/filepath"

	"github.com/landlock-lsm/go-landlock/landlock"
	"github.com/landlock-lsm/go-landlock/landlock/syscall"
)

// Enter lets the process, with all its threads and for good, write below the
// folders only; reading stays as it was. Folders that are missing are not
// made. Active is false where the kernel can't do it.
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
		// Moving from tmp to new is a rename from one folder to another.
		landlock.RWDirs(folders...).WithRefer().IgnoreIfMissing(),
	)
	if err != nil {
		return false, fmt.Errorf("landlock: %w", err)
	}
	return true, nil
}
