// Package command contains the code that all commands share: exit codes, flags,
// JSON output and help.
//
// Each package below it holds the commands for one subject. The running program
// is in package server.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"hoplite/cmd/hoplite/internal/owner"
	"hoplite/cmd/hoplite/internal/terminal"
)

// The exit codes of every command.
const (
	exitFindings = 1 // findings, or a request was refused
	exitUsage    = 2 // wrong usage, or something could not be read
)

// Exit is an error that ends the program with an exit code after printing a
// message, if there is one.
type Exit struct {
	Code int
	Err  error // nil prints nothing
}

// Error returns the message; it may be empty.
func (e *Exit) Error() string {
	if e.Err == nil {
		return ""
	}
	return e.Err.Error()
}

// Unwrap returns the cause.
func (e *Exit) Unwrap() error { return e.Err }

// Findings is returned by a command that has printed findings.
var Findings error = &Exit{Code: exitFindings}

// Refused returns the error for a command that did not do what was requested.
func Refused(err error) error { return &Exit{exitFindings, err} }

// Silent returns an error with the exit code of err, for a command that has
// printed err itself.
func Silent(err error) error { return &Exit{Code: exitCode(err)} }

// exitCode returns the exit code for an error. An error without one means that
// the usage was wrong or that something could not be read.
func exitCode(err error) int {
	if e := (*Exit)(nil); errors.As(err, &e) {
		return e.Code
	}
	return exitUsage
}

// printError prints an error. On a terminal, a single line is broken into several.
func printError(w io.Writer, text string) {
	if out, ok := w.(*os.File); ok && !strings.Contains(text, "\n") && term.IsTerminal(int(out.Fd())) {
		terminal.Indent(w, "", "  ", text)
		return
	}
	fmt.Fprintln(w, text)
}

// permissionHint returns a hint about the user that should run the command, or
// "".
func permissionHint(err error) string {
	denied := (*fs.PathError)(nil)
	if !errors.As(err, &denied) || !errors.Is(err, fs.ErrPermission) || os.Geteuid() == 0 {
		return ""
	}
	name := owner.Name(denied.Path)
	if name == "" || name == "root" {
		return "; run this as root"
	}
	return fmt.Sprintf("; run this as root, or as its owner: runuser -u %s -- hoplite ...", name)
}

// Run executes a command line and returns its exit code.
func Run(ctx context.Context, cmd *cobra.Command) int {
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if text := err.Error(); text != "" {
		printError(cmd.ErrOrStderr(), "hoplite: "+text+permissionHint(err))
	}
	return exitCode(err)
}
