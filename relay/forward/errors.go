package forward

import (
	"context"
	"errors"
	"io"
	"strings"
	"syscall"
)

// stageError is a failure of a connection at a stage of the conversation:
// connect, greeting, EHLO, STARTTLS, TLS, AUTH and so on.…
type stageError struct {
	stage string
	host  string // the server's configured name, or the one found by MX
	addr  string // address and port, once connected
	err   error
}

func (e *stageError) Error() string { return e.stage + ": " + e.err.Error() }
func (e *stageError) Unwrap() error { return e.err }

// errNothingSent marks a failure before the server has replied to any command
// of this transaction. A retry on a new connection cannot send the message
// twice.
var errNothingSent = errors.New("connection was gone before the transaction began")

// plainError formats an error for a reply: the stage, and the innermost cause
// without the addresses that net errors repeat.
func plainError(err error) string {
	var staged *stageError
	if errors.As(err, &staged) {
		return staged.stage + ": " + cause(staged.err)
	}
	return cause(err)
}

func cause(err error) string {
	var (
		timeout  interface{ Timeout() bool }
		insecure *insecureError
	)
	switch {
	case errors.Is(err, context.Canceled):
		return "stopped"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the server closed the connection"
	case errors.Is(err, errGarbage), errors.As(err, &insecure):
		return err.Error()
	}
	text := err.Error()
	if i := strings.LastIndex(text, ": "); i >= 0 {
		text = text[i+2:]
	}
	return text
}

// isClosed reports whether an error means that the server closed the
// connection, as opposed to a timeout.
func isClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
}
