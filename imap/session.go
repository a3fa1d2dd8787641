package imap

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"hoplite/imap/wire"
	"hoplite/internal/listen"
	"hoplite/internal/quiet"
	"hoplite/maildrop"
)

// session is one connection: it reads commands, runs them and sends the
// responses. account holds the state after login, and the account's mailbox the
// state after SELECT.
type session struct {
	srv  *Server
	ctx  context.Context
	conn *listen.Conn
	in   *wire.Reader
	out  output
	log  zerolog.Logger

	on      features
	account *account // nil before login
	call    call     // the running command

	loginBy  time.Time
	bad      int  // consecutive invalid commands
	deflated bool // both directions are compressed
	began    bool // a command has been recognised
	ended    bool // the session ends after this command
	stopping atomic.Bool
}

// features holds the extensions that a client has enabled.
type features struct {
	condstore, qresync, utf8, rev2, uidOnly bool
}

// maxBad is the number of consecutive invalid commands after which a session
// ends.
const maxBad = 20

// writeTimeout is the time for which a client may pause while reading a
// response or sending a command.
const writeTimeout = 5 * time.Minute

// errBye ends a session without another response.
var errBye = errors.New("session ended")

func newSession(ctx context.Context, srv *Server, c *listen.Conn) *session {
	s := &session{srv: srv, ctx: ctx, conn: c, log: srv.log.With().Str("peer", c.Client.String()).Logger()}
	s.in = wire.NewReader(connReader{c})
	s.out = output{wire.NewWriter(deadlineWriter{c})}
	s.in.Continue = func() error { return s.out.proceed("Ready for literal data") }
	return s
}

// connReader marks connection errors, so that they end the session wherever
// they occur.
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

// deadlineWriter sets a deadline for each write.
type deadlineWriter struct{ c net.Conn }

func (d deadlineWriter) Write(b []byte) (int, error) {
	d.c.SetWriteDeadline(time.Now().Add(writeTimeout))
	return d.c.Write(b)
}

// stop tells the session to end soon. It may be called from another goroutine.
func (s *session) stop() {
	s.stopping.Store(true)
	s.conn.SetReadDeadline(time.Unix(1, 0))
}

// serve runs the session until it ends.
func (s *session) serve() {
	defer s.release()
	s.in.Limits = wire.Anonymous
	s.out.untagged("OK [CAPABILITY %s] %s ready", s.capabilities(), s.srv.env.Hostname)
	s.loginBy = time.Now().Add(s.srv.cfg.LoginTimeout)
	for !s.ended {
		if !s.in.Buffered() && s.out.Flush() != nil {
			return
		}
		err := s.wait(s.limit(s.srv.cfg.IdleTimeout))
		if err == nil {
			err = s.command()
		}
		if err != nil {
			s.farewell(err)
			return
		}
	}
	s.out.Flush()
}

// limit returns the deadline for input that may take d. Before login, the login
// deadline applies.
func (s *session) limit(d time.Duration) time.Time {
	if s.account == nil {
		return s.loginBy
	}
	return time.Now().Add(d)
}

// wait waits until input arrives or the limit is reached.
func (s *session) wait(limit time.Time) error {
	s.conn.SetReadDeadline(limit)
	if s.stopping.Load() {
		return os.ErrDeadlineExceeded
	}
	return s.in.Wait()
}

// farewell sends the reason why the session ends, if the client can receive it.
func (s *session) farewell(err error) {
	switch {
	case s.stopping.Load():
		s.out.untagged("BYE Server shutting down")
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.out.untagged("BYE Disconnected for inactivity")
	case errors.Is(err, wire.ErrTooLong):
		s.out.untagged("BYE [TOOBIG] Command too long")
	case errors.Is(err, errBye), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
	default:
		s.log.Debug().Err(err).Msg("imap connection lost")
	}
	s.out.Flush()
}

// release frees the session's resources. It runs deferred and recovers from a
// panic.
func (s *session) release() {
	if err := recover(); err != nil {
		quiet.Panic(s.log.Error(), err).Str("tag", s.call.tag).Msg("imap session ended by a bug")
		s.out.untagged("BYE [SERVERBUG] Internal error")
		s.out.Flush()
	}
	if s.account != nil {
		s.account.close()
	}
	s.in.Release()
	s.out.Flush()
}

// command reads and runs one command. An error ends the session.
func (s *session) command() error {
	s.conn.SetReadDeadline(s.limit(writeTimeout))
	line, msg, err := s.in.Command()
	c := &s.call
	*c = call{session: s, out: s.out, tag: "*", message: msg}
	var big *wire.TooBigError
	if errors.As(err, &big) {
		c.args = wire.NewParser(big.Command, s.srv.dialect.grammar)
		c.readTag()
		c.out.tagged(c.tag, "BAD [TOOBIG] Literal too large")
		return nil
	}
	if err != nil {
		return err
	}
	c.args = wire.NewParser(line, s.srv.dialect.grammar)
	cmd, err := s.srv.dialect.find(c)
	if err == nil {
		s.began = true
		if err = s.checkNumbers(cmd); err == nil {
			err = cmd.run(s, c)
		}
	} else if !s.began && s.account == nil {
		// The client is a browser or speaks another protocol, so the rest is
		// not read.
		s.out.untagged("BYE This is an IMAP server")
		return errBye
	}
	return s.finish(c, cmd, err)
}

// finish sends the response that completes a command. An error ends the
// session.
func (s *session) finish(c *call, cmd command, err error) error {
	var syntax *wire.SyntaxError
	if errors.As(err, &syntax) {
		return s.refuse(c, syntax.Text)
	}
	s.bad = 0
	if c.completed {
		return err
	}
	if (err == nil || errors.Is(err, maildrop.ErrNoMessage)) && !c.current && !s.ended {
		if err := s.poll(!cmd.steady); err != nil {
			return err
		}
	}
	if err != nil {
		return s.fail(c, err)
	}
	c.ok()
	return nil
}

// refuse sends BAD for a command. It reads and discards any message sent with
// the command, because its lines would otherwise be executed as commands.
func (s *session) refuse(c *call, why string) error {
	if err := c.drain(); err != nil {
		return err
	}
	s.out.tagged(c.tag, "BAD "+why)
	if s.bad++; s.bad >= maxBad {
		s.out.untagged("BYE Too many invalid commands")
		return errBye
	}
	return nil
}

// poll reports changes in the selected mailbox, if any.
func (s *session) poll(expunge bool) error {
	if s.account == nil || s.account.selected == nil {
		return nil
	}
	return s.account.selected.poll(expunge)
}
