// Package sieve compiles and runs Sieve scripts (RFC 5228), the language in
// which people sort their mail.
//
// A script is a pure function: it reads a message, its envelope and an
// [Environment], and returns a [Result] that lists actions. The caller carries
// the actions out; this package stores nothing and sends nothing. A script that
// fails returns an implicit keep together with its error, so an error never
// loses mail.
//
// Scripts are written by the users of a server and are therefore hostile input.
// Their size, nesting, number of actions and the amount of text they compare
// are bounded.
//
// The supported extensions are listed by [Extensions]. Start with [Compile] and
// [Run].
package sieve

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Limits on scripts and their execution. A script above one of them fails.
const (
	MaxScript    = 1 << 20 // octets of a script
	MaxIncludes  = 64      // scripts included by one script
	MaxActions   = 32      // actions of one run
	MaxRedirects = 4       // redirects of one run
	maxNesting   = 32      // blocks and tests
	maxErrors    = 20      // errors reported for a script
	maxVariables = 256     // variables of one run
	maxValue     = 8 << 10 // octets of a variable
	maxFlags     = 32      // flags of one action
	maxSteps     = 200_000 // commands and tests of one run
	maxWork      = 1 << 26 // octets compared in one run
)

// Script is a compiled script. It may be run by several goroutines at a time.
type Script struct {
	name  string
	block []statement
	// uses holds the extensions that the script requires.
	uses map[string]bool
}

// Error is an error at a line of a script.
type Error struct {
	Script string
	Line   int
	Text   string
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s: line %d: %s", e.Script, e.Line, e.Text)
}

// Errors is a list of errors in a script, in the order of their lines.
type Errors []*Error

func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// Loader returns the text of an included script (RFC 6609): one of the user's
// if personal is set, otherwise one of the site's. It returns [ErrNoScript] if
// the script does not exist.
type Loader func(name string, personal bool) ([]byte, error)

// ErrNoScript is returned by a [Loader] for a script that does not exist.
var ErrNoScript = errors.New("no such script")

// Extensions lists the extensions that scripts may require, in alphabetical
// order. A ManageSieve server announces them (RFC 5804, 1.7).
var Extensions = []string{
	"body", "comparator-i;ascii-numeric",
	"copy", "date", "duplicate", "editheader", "encoded-character", "enotify",
	"envelope", "environment", "ereject", "fileinto", "ihave", "imap4flags",
	"include", "index", "mailbox", "regex", "reject", "relational",
	"special-use", "subaddress", "vacation", "vacation-seconds", "variables",
}

// known reports whether scripts may require the extension. The comparators
// that every implementation has may be required, too (RFC 5228, 2.7.3).
func known(ext string) bool {
	if _, ok := slices.BinarySearch(Extensions, ext); ok {
		return true
	}
	return ext == "comparator-i;octet" || ext == "comparator-i;ascii-casemap"
}

// Compile compiles a script and the scripts that it includes, which load
// returns; a nil load has no scripts. The name is used in errors. The error is
// of type [Errors].
func Compile(name string, text []byte, load Loader) (*Script, error) {
	if load == nil {
		load = func(string, bool) ([]byte, error) { return nil, ErrNoScript }
	}
	l := &library{load: load, done: make(map[scriptKey]*Script)}
	s := l.compile(name, text)
	if len(l.errs) > 0 {
		return nil, l.errs
	}
	return s, nil
}
