package forward

import (
	"context"
	"errors"
	"io"
	"strings"
	"syscall"
)

// stageError says during which stage of a conversation a connection failed,
// and with whom: connect, greeting, EHLO, STARTTLS, TLS, AUTH …
type stageError struct {
	stage string
	host  string // the server's configured name, or the one found by MX
	addr  string // address and port, once connected
	err   error
}

func (e *stageError) Error() string { return e.stage + ": " + e.err.Error() }
func (e *stageError) Unwrap() error { return e.err }

// errNothingSent marks a failure before the server answered anything about
// this transaction: trying on a fresh connection can't send a message twice.
var errNothingSent = errors.New("connection was gone before the transaction began")

// plainError is an error in words for a reply: the stage, and the last cause
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

// isClosed tells a connection that the server closed from one that is silent.
func isClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
}
