//go:build unix

package maildir

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"
)

// uidValidityFile holds the last UIDVALIDITY that was given out in a box, in
// hex. Beside it stands an empty file with that value in its name.
const uidValidityFile = "dovecot-uidvalidity"

// NextUIDValidity gives out a UIDVALIDITY that no folder of the box had before.
// The claim is a rename from the last value's file name to the next one's, so
// it needs no lock (notes of Dovecot's mailbox-uidvalidity.c).
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
			continue // somebody else was faster
		}
		if err != nil {
			return 0, fmt.Errorf("claim a UIDVALIDITY: %w", err)
		}
		// The name has the value already, and the uidlist that will have it is
		// synced: this one need not be.
		f, err := box.move(uidValidityFile, fmt.Appendf(nil, "%08x", next), false)
		if err != nil {
			return 0, err
		}
		return next, f.Close()
	}
	return 0, errors.New("claim a UIDVALIDITY: others were faster a hundred times")
}

func createEmpty(d *Dir, name string) error {
	f, err := d.Create(name, 0o444)
	if err != nil {
		return err
	}
	return f.Close()
}

// lastUIDValidity finds the largest value that was given out and the name of
// the file that stands for it, empty if there is none.
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
