package imap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"hoplite/imap/wire"
	"hoplite/internal/listen"
	"hoplite/internal/users"
	"hoplite/maildrop"
)

// session is one connection.
type session struct {
	srv  *Server
	ctx  context.Context
	conn *listen.Conn
	r    *wire.Reader
	w    *wire.Writer
	log  zerolog.Logger

	account *users.Account // nil before the login
	box     *maildrop.Box
	sep     string // the store's, at login
	prefix  string
	sel     *selected // nil unless a folder is selected

	// What the client has switched on.
	condstore, qresync, utf8, rev2 bool

	// The command being run.
	tag string
	p   *wire.Parser
	msg *wire.Literal // the message it brings

	loginBy  time.Time
	bad      int  // commands in a row that were wrong
	began    bool // a command was understood
	bye      bool // the session ends after this command
	stopping atomic.Bool
}

// maxBad is how many wrong commands in a row end a session.
const maxBad = 20

// writeTimeout is how long a client may take to accept what it asked for
// without taking any of it.
const writeTimeout = 5 * time.Minute

func newSession(ctx context.Context, srv *Server, c *listen.Conn) *session {
	s := &session{srv: srv, ctx: ctx, conn: c, log: srv.log.With().Str("peer", c.Client.String()).Logger()}
	s.r = wire.NewReader(connReader{c})
	s.w = wire.NewWriter(deadlineWriter{c})
	s.r.Continue = func() error { return s.proceed("ready") }
	return s
}

// connReader marks the errors of the connection, so that they end the session
// wherever they turn up.
type connReader struct{ c net.Conn }

func (r connReader) Read(b []byte) (int, error) {
	n, err := r.c.Read(b)
	if err != nil {
		err = &connError{err}
	}
	return n, err
}

type connError struct{ err error }

func (e *connError) Error() string { return e.err.Error() }
func (e *connError) Unwrap() error { return e.err }

// deadlineWriter gives each write its time.
type deadlineWriter struct{ c net.Conn }

func (d deadlineWriter) Write(b []byte) (int, error) {
	d.c.SetWriteDeadline(time.Now().Add(writeTimeout))
	return d.c.Write(b)
}

// stop ends the session soon, from another goroutine.
func (s *session) stop() {
	s.stopping.Store(true)
	s.conn.SetReadDeadline(time.Unix(1, 0))
}

// errBye ends a session without another word.
var errBye = errors.New("session ended")

// serve runs the session to its end.
func (s *session) serve() {
	defer s.release()
	s.r.Limits = wire.Stranger
	s.untagged("OK [CAPABILITY %s] %s ready", s.capabilities(), s.srv.env.Hostname)
	s.loginBy = time.Now().Add(s.srv.cfg.LoginTimeout)
	for !s.bye {
		if !s.r.Buffered() && s.w.Flush() != nil {
			return
		}
		if err := s.wait(s.limit(s.srv.cfg.IdleTimeout)); err != nil {
			s.farewell(err)
			return
		}
		if err := s.command(); err != nil {
			s.farewell(err)
			return
		}
	}
	s.w.Flush()
}

// limit is when input must be here that may take d; a stranger has until the
// end of its time to log in.
func (s *session) limit(d time.Duration) time.Time {
	if s.account == nil {
		return s.loginBy
	}
	return time.Now().Add(d)
}

// wait waits for input until limit.
func (s *session) wait(limit time.Time) error {
	s.conn.SetReadDeadline(limit)
	if s.stopping.Load() {
		return os.ErrDeadlineExceeded
	}
	return s.r.Wait()
}

// farewell tells the client why the session ends, where there is a reason.
func (s *session) farewell(err error) {
	switch {
	case s.stopping.Load():
		s.untagged("BYE server is shutting down")
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.untagged("BYE nothing heard for too long")
	case errors.Is(err, wire.ErrTooLong):
		s.untagged("BYE [TOOBIG] command too long")
	case errors.Is(err, errBye), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
	default:
		s.log.Debug().Err(err).Msg("imap connection lost")
	}
	s.w.Flush()
}

// release gives back what the session holds.
func (s *session) release() {
	if err := recover(); err != nil {
		s.log.Error().Interface("panic", err).Bytes("stack", debug.Stack()).Str("tag", s.tag).Msg("imap session ended by a bug")
		s.untagged("BYE [SERVERBUG] internal error")
		s.w.Flush()
	}
	s.unselect()
	if s.box != nil {
		s.box.Close()
	}
	if s.account != nil {
		s.srv.env.Tally.Leave(s.account.Name)
	}
	s.r.Release()
	s.w.Flush()
}

// command reads one command and runs it.
func (s *session) command() error {
	s.conn.SetReadDeadline(s.limit(writeTimeout))
	cmd, msg, err := s.r.Command()
	var big *wire.TooBigError
	if errors.As(err, &big) {
		s.tag, _ = tagOf(big.Command)
		s.tagged("BAD [TOOBIG] literal too large")
		return nil
	}
	if err != nil {
		return err
	}
	s.p, s.msg = wire.NewParser(cmd), msg
	s.tag = s.p.Tag()
	s.p.SP()
	name := s.p.Command()
	c, known := commands[name]
	if s.p.Err() != nil || !known {
		return s.unknown(cmd, name)
	}
	if why := s.forbidden(c); why != "" {
		return s.refuse(why)
	}
	s.began = true
	err = c.run(s)
	if s.p.Err() != nil {
		return s.refuse(s.p.Err().Error())
	}
	s.bad = 0
	if err != nil {
		return s.failed(name, err)
	}
	return nil
}

func tagOf(cmd []byte) (string, bool) {
	p := wire.NewParser(cmd)
	tag := p.Tag()
	if p.Err() != nil {
		return "*", false
	}
	return tag, true
}

// unknown answers what is no command. A browser that was led here, or another
// protocol, is not listened to any further.
func (s *session) unknown(cmd []byte, name string) error {
	if !s.began && s.account == nil {
		s.untagged("BYE this is an IMAP server")
		return errBye
	}
	if tag, ok := tagOf(cmd); ok {
		s.tag = tag
	} else {
		s.tag = "*"
	}
	if name == "" {
		return s.refuse("missing command")
	}
	return s.refuse("unknown command")
}

// refuse answers BAD. A message that comes unasked with the command is read
// and dropped, lest it be taken for commands.
func (s *session) refuse(why string) error {
	if err := s.drop(); err != nil {
		return err
	}
	s.tagged("BAD %s", why)
	if s.bad++; s.bad >= maxBad {
		s.untagged("BYE too many wrong commands")
		return errBye
	}
	return nil
}

// drop reads the rest of a command that brings messages.
func (s *session) drop() error {
	for s.msg != nil && !s.msg.Sync {
		if s.account == nil || s.msg.Size > int64(s.srv.cfg.AppendLimit) {
			return wire.ErrTooLong
		}
		if _, err := io.Copy(io.Discard, s.incoming()); err != nil {
			return err
		}
		var err error
		if _, s.msg, err = s.r.More(); err != nil {
			return err
		}
	}
	s.msg = nil
	return nil
}

// states in which a command is allowed.
const (
	anyState = iota
	stranger // before the login
	member   // after it
	inFolder // with a folder selected
)

// forbidden says why a command cannot be run now, "" if it can.
func (s *session) forbidden(c command) string {
	switch {
	case c.state == stranger && s.account != nil:
		return "already logged in"
	case c.state >= member && s.account == nil:
		return "log in first"
	case c.state == inFolder && s.sel == nil:
		return "select a mailbox first"
	case s.msg != nil && !c.message:
		return "no message expected here"
	}
	return ""
}

// no is an error that the client is told about as it stands.
type no struct{ text string }

func (e no) Error() string { return e.text }

func nof(format string, args ...any) error { return no{fmt.Sprintf(format, args...)} }

// failed answers NO to a command that was understood and could not be done. It
// returns an error only if the connection cannot go on.
func (s *session) failed(name string, err error) error {
	var n no
	var lost *connError
	switch {
	case errors.As(err, &lost):
		return err
	case errors.As(err, &n):
		s.tagged("NO %s", n.text)
	case errors.Is(err, errBye), errors.Is(err, wire.ErrTooLong), errors.Is(err, io.ErrUnexpectedEOF), s.w.Err() != nil:
		return err
	case errors.Is(err, maildrop.ErrNoFolder), errors.Is(err, maildrop.ErrFolderName):
		s.tagged("NO [NONEXISTENT] no such mailbox")
	case errors.Is(err, maildrop.ErrGone):
		s.tagged("NO [NONEXISTENT] the mailbox was deleted")
	case errors.Is(err, maildrop.ErrExists):
		s.tagged("NO [ALREADYEXISTS] mailbox exists")
	case errors.Is(err, maildrop.ErrQuota):
		s.tagged("NO [OVERQUOTA] mailbox is full")
	case errors.Is(err, maildrop.ErrNoMessage):
		s.tagged("NO [EXPUNGEISSUED] some of the messages are gone")
	case errors.Is(err, maildrop.ErrKeywords):
		s.tagged("NO [LIMIT] too many different keywords in this mailbox")
	case errors.Is(err, maildrop.ErrKeywordName):
		s.tagged("NO [CANNOT] that keyword cannot be stored")
	case errors.Is(err, maildrop.ErrInbox):
		s.tagged("NO [CANNOT] INBOX stays")
	case errors.Is(err, maildrop.ErrBusy):
		s.tagged("NO [INUSE] mailbox is busy, try again")
	default:
		// What we don't understand is our trouble, and only for now.
		s.log.Warn().Err(err).Str("command", name).Msg("imap command failed")
		s.tagged("NO [SERVERBUG] temporary trouble, try again later")
	}
	return nil
}

// untagged sends "* ..." with a line end.
func (s *session) untagged(format string, args ...any) {
	s.w.WriteString("* ")
	fmt.Fprintf(s.w, format, args...)
	s.w.WriteString("\r\n")
}

// tagged sends the answer that ends the command.
func (s *session) tagged(format string, args ...any) {
	s.w.WriteString(s.tag)
	s.w.WriteString(" ")
	fmt.Fprintf(s.w, format, args...)
	s.w.WriteString("\r\n")
}

// proceed asks the client to go on, and waits for nothing itself.
func (s *session) proceed(text string) error {
	s.w.WriteString("+ ")
	s.w.WriteString(text)
	s.w.WriteString("\r\n")
	return s.w.Flush()
}

// done tells the client what happened meanwhile and that the command is done.
func (s *session) done(format string, args ...any) error {
	if err := s.poll(true); err != nil {
		return err
	}
	s.tagged("OK "+format, args...)
	return nil
}
