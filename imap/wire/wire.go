// Package wire implements the IMAP grammar. Reader reads whole commands, within
// limits, into one buffer; Parser reads their arguments from it; Writer
// collects responses in another buffer, which is sent when it is full or no
// further command has arrived. The meaning of commands is left to package imap.
//
// The grammar is that of RFC 9051 and RFC 3501, section 9, and of the
// extensions cited in the comments on the functions that read them. Start with
// Reader.Command and Parser.
package wire

import (
	"errors"
	"sync"
)

// Limits holds the limits on one command.
type Limits struct {
	Line     int // octets of the command outside literals
	Literals int // octets of all literals except messages
	// ID replaces both limits for the ID command, if larger, because its
	// parameters can occupy 31 KiB (RFC 2971, 3.3).
	ID int
	// Auth replaces Line, if larger, for AUTHENTICATE and for the responses that
	// follow it, because an access token can occupy 8 KiB before encoding.
	Auth int
}

// The limits that apply before and after login.
var (
	Anonymous = Limits{Line: 4 << 10, Literals: 4 << 10, ID: 34 << 10, Auth: 12 << 10}
	LoggedIn  = Limits{Line: 64 << 10, Literals: 64 << 10}
)

// Limits on the parts of a command.
const (
	maxRanges = 10_000 // ranges in a set
	maxKeys   = 1_000  // search keys in a command, and their nesting depth
	maxItems  = 1_000  // elements of a list, FETCH items, header names
	maxPath   = 64     // part numbers in a section
)

// ErrTooLong is returned for a line that exceeds its limit, and for a literal
// that is too large but already being sent. The connection must be closed,
// because the octets that follow must not be executed as commands.
var ErrTooLong = errors.New("command too long")

// TooBigError is returned for a literal over the limit that the client has
// announced but not sent. The connection can continue.
type TooBigError struct {
	Command []byte // the part read so far
}

func (e *TooBigError) Error() string { return "literal too large" }

// SyntaxError is a syntax error in a command. Its text is sent to the client
// after BAD.
type SyntaxError struct{ Text string }

func (e *SyntaxError) Error() string { return e.Text }

// bufSize is the size of the pooled input and output buffers.
const bufSize = 32 << 10

var pool = sync.Pool{New: func() any { b := make([]byte, bufSize); return &b }}
