//go:build unix

package maildrop

import (
	"errors"

	"golang.org/x/sys/unix"
)

// noRoom tells whether an error says that nothing can be written now.
func noRoom(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EROFS)
}

// tooManyLinks tells whether a link failed where a copy would not.
func tooManyLinks(err error) bool {
	return errors.Is(err, unix.EMLINK) || errors.Is(err, unix.EXDEV) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOTSUP)
}
