// Package wire is IMAP as octets: it reads whole commands, bounded, into one
// buffer, takes them apart with a parser that walks an index over that buffer,
// and writes responses into another buffer that is sent when it is full or when
// nobody waits for more. What commands mean is the business of package imap.
//
// Grammar: RFC 9051 and RFC 3501, section 9 of each, and the extensions named
// at the functions that read them.
package wire

import (
	"errors"
	"fmt"
	"sync"
)

// Limits bound what a client may send in one command.
type Limits struct {
	Line     int // octets of a command outside of literals
	Literals int // octets of all its literals, messages not counted
}

// Before and after a login.
var (
	Stranger = Limits{Line: 4 << 10, Literals: 4 << 10}
	Member   = Limits{Line: 64 << 10, Literals: 64 << 10}
)

// The bounds of what a command may hold.
const (
	maxRanges = 10_000 // ranges in a set
	maxKeys   = 1_000  // search keys in a command, and their nesting
	maxItems  = 1_000  // elements of a list, fetch items, header names
	maxPath   = 64     // numbers in a section
)

// ErrTooLong ends a connection: the command's end was not found within its
// limit, or a literal came without being asked for and is too large. What
// follows must not be taken for commands.
var ErrTooLong = errors.New("command too long")

// TooBigError is a literal over the limit that the client has announced but
// not sent; the connection may go on.
type TooBigError struct {
	Command []byte // what was read of the command
}

func (e *TooBigError) Error() string { return "literal too large" }

// SyntaxError says what was wrong with a command, in words for the client.
type SyntaxError struct{ Text string }

func (e *SyntaxError) Error() string { return e.Text }

func syntax(format string, args ...any) error {
	return &SyntaxError{fmt.Sprintf(format, args...)}
}

// bufSize is the size of the pooled buffers for input and output.
const bufSize = 32 << 10

var pool = sync.Pool{New: func() any { b := make([]byte, bufSize); return &b }}
