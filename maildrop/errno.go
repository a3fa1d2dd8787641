//go:build unix

package maildrop

import (
	"errors"

	"golang.org/x/sys/unix"
)

// noRoom reports whether an error means that the disk cannot be written to at
// the moment.
func noRoom(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EROFS)
}

// tooManyLinks reports whether a link failed for a reason that does not affect
// a copy.
func tooManyLinks(err error) bool {
	return errors.Is(err, unix.EMLINK) || errors.Is(err, unix.EXDEV) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOTSUP)
}

// noResources reports whether an error means that the process or the system is
// temporarily out of resources.
func noResources(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM)
}
