//go:build unix

package maildir

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"hoplite/internal/files"
)

// uidValidityFile holds the last UIDVALIDITY assigned in a box, in hexadecimal.
// An empty file next to it has the same value in its name.
const uidValidityFile = "dovecot-uidvalidity"

// NextUIDValidity assigns a UIDVALIDITY that no folder of the box has had
// before. Like Dovecot, it claims a value by renaming the empty file for the
// previous value, so it needs no lock.
func NextUIDValidity(box *Dir) (uint32, error) {
	for range 100 {
		last, marker, err := lastUIDValidity(box)
		if err != nil {
			return 0, err
		}
		next := max(last+1, 1)
		if marker == "" {
			next = max(next, uint32(time.Now().Unix()))
		}
		name := fmt.Sprintf("%s.%08x", uidValidityFile, next)
		if marker == "" {
			err = createEmpty(box, name)
		} else {
			err = box.Rename(marker, box, name)
		}
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) {
			continue // another program claimed it first
		}
		if err != nil {
			return 0, fmt.Errorf("claim a UIDVALIDITY: %w", err)
		}
		// This file need not be synced: the value is also in the empty file's
		// name, and the uidlist that will contain it is synced.
		return next, box.replace(uidValidityFile, fmt.Appendf(nil, "%08x", next), files.SyncNothing)
	}
	return 0, errors.New("claim a UIDVALIDITY: too many attempts by other programs")
}

func createEmpty(d *Dir, name string) error {
	f, err := d.Create(name, 0o444)
	if err != nil {
		return err
	}
	return f.Close()
}

// lastUIDValidity returns the largest value assigned so far, and the name of
// the empty file with that value, if any.
func lastUIDValidity(box *Dir) (last uint32, marker string, err error) {
	names, err := box.Files()
	if err != nil {
		return 0, "", err
	}
	for _, name := range names {
		hex, ok := strings.CutPrefix(name, uidValidityFile+".")
		if n, err := strconv.ParseUint(hex, 16, 32); ok && len(hex) == 8 && err == nil && uint32(n) >= last {
			last, marker = uint32(n), name
		}
	}
	text, err := box.ReadFile(uidValidityFile, 64)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, "", err
	}
	if n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 16, 32); err == nil {
		last = max(last, uint32(n))
	}
	return last, marker, nil
}
