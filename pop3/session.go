package pop3

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"hoplite/internal/listen"
	"hoplite/internal/quiet"
)

// The limits on a session.
const (
	maxLine      = 512   // octets of a command; RFC 2449, 4 requires 255
	maxSASL      = 12288 // octets of an AUTH response
	maxBad       = 10    // consecutive invalid commands
	maxLogins    = 3     // wrong passwords
	writeTimeout = 5 * time.Minute
)

// session is one connection. inbox holds the state after login.
type session struct {
	srv  *Server
	ctx  context.Context
	conn *listen.Conn
	r    *bufio.Reader
	w    *bufio.Writer
	log  zerolog.Logger

	began    time.Time
	user     string // argument of USER, until PASS is received
	utf8     bool   // the client has sent UTF8
	inbox    *inbox // nil before login
	bad      int    // consecutive invalid commands
	logins   int    // wrong passwords
	ended    bool   // the session ends after this command
	stopping atomic.Bool
}

func newSession(ctx context.Context, srv *Server, c *listen.Conn) *session {
	s := &session{srv: srv, ctx: ctx, conn: c, began: time.Now()}
	s.log = srv.env.Log.With().Str("peer", c.Client.String()).Logger()
	s.r = readers.Get().(*bufio.Reader)
	s.w = writers.Get().(*bufio.Writer)
	s.r.Reset(c)
	s.w.Reset(deadlineWriter{c})
	return s
}

var (
	readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 4<<10) }}
	writers = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, 32<<10) }}
)

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
	s.ok("%s POP3 ready", s.srv.env.Hostname)
	for !s.ended {
		line, err := s.line(maxLine)
		if err == nil {
			err = s.command(line)
		}
		if err != nil {
			s.farewell(err)
			return
		}
	}
}

// errBye ends a session without another response.
var errBye = errors.New("session ended")

// errNotPOP3 ends the session of a client that does not speak POP3.
var errNotPOP3 = errors.New("not a POP3 command")

// line reads a line without its line ending. Pending responses are sent first,
// unless the client has already sent more commands.
func (s *session) line(limit int) (string, error) {
	if s.r.Buffered() == 0 {
		if err := s.w.Flush(); err != nil {
			return "", err
		}
	}
	s.conn.SetReadDeadline(s.deadline())
	if s.stopping.Load() {
		return "", os.ErrDeadlineExceeded
	}
	var line []byte
	for {
		part, err := s.r.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > limit {
			return "", errNotPOP3
		}
		if err == nil {
			break
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return "", err
		}
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(line), "\n"), "\r")
	if strings.ContainsAny(text, "\x00\r") {
		return "", errNotPOP3
	}
	return text, nil
}

// deadline returns the time by which the client must send a line.
func (s *session) deadline() time.Time {
	if s.inbox == nil {
		return s.began.Add(s.srv.cfg.LoginTimeout)
	}
	return time.Now().Add(s.srv.cfg.IdleTimeout)
}

// farewell sends the reason why the session ends, if the client can receive it.
func (s *session) farewell(err error) {
	switch {
	case s.stopping.Load():
		s.err("[SYS/TEMP] Server shutting down")
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.err("Disconnected for inactivity")
	case errors.Is(err, errNotPOP3):
		s.err("Not a POP3 command")
	case errors.Is(err, errBye), errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
	default:
		s.log.Debug().Err(err).Msg("pop3 connection lost")
	}
}

// release frees the session's resources. It runs deferred and recovers from a
// panic.
func (s *session) release() {
	if p := recover(); p != nil {
		quiet.Panic(s.log.Error(), p).Msg("pop3 session ended by a bug")
		s.err("[SYS/TEMP] Internal error")
	}
	s.w.Flush()
	s.closeInbox()
	s.r.Reset(nil)
	s.w.Reset(nil)
	readers.Put(s.r)
	writers.Put(s.w)
}

// closeInbox leaves the transaction state and logs the session.
func (s *session) closeInbox() {
	in := s.inbox
	if in == nil {
		return
	}
	s.inbox = nil
	in.close()
	s.log.Info().Str("user", in.account).Int("messages", len(in.messages)).Int("fetched", len(in.fetched)).
		Int64("octets", in.octets).Dur("took", time.Since(s.began)).Msg("pop3 session")
}

// ok sends a one-line positive response.
func (s *session) ok(format string, args ...any) { s.send("+OK ", format, args...) }

// err sends a negative response.
func (s *session) err(format string, args ...any) { s.send("-ERR ", format, args...) }

func (s *session) send(status, format string, args ...any) {
	s.w.WriteString(status)
	fmt.Fprintf(s.w, format, args...)
	s.w.WriteString("\r\n")
}

// command is one row of the command table. A function is nil if the command is
// not valid in that state.
type command struct {
	authorization func(*session, string) error         // before login
	transaction   func(*session, *inbox, string) error // after login
}

var commands map[string]command

func init() {
	always := func(run func(*session, string) error) command {
		return command{run, func(s *session, _ *inbox, arg string) error { return run(s, arg) }}
	}
	commands = map[string]command{
		"CAPA": always(handleCapa),
		"LANG": always(handleLang),
		"QUIT": {handleBye, handleQuit},

		"UTF8": {authorization: handleUTF8},
		"STLS": {authorization: handleSTLS},
		"USER": {authorization: handleUser},
		"PASS": {authorization: handlePass},
		"AUTH": {authorization: handleAuth},

		"STAT": {transaction: handleStat},
		"LIST": {transaction: handleList},
		"UIDL": {transaction: handleUIDL},
		"RETR": {transaction: handleRetr},
		"TOP":  {transaction: handleTop},
		"DELE": {transaction: handleDele},
		"RSET": {transaction: handleRset},
		"NOOP": {transaction: handleNoop},
	}
}

// command runs one command. An error ends the session.
func (s *session) command(line string) error {
	verb, arg, _ := strings.Cut(line, " ")
	c, known := commands[strings.ToUpper(verb)]
	switch {
	case !known && s.inbox == nil && s.bad == 0 && s.user == "" && isForeign(verb):
		// The client is a browser or speaks another protocol, so the rest is
		// not read.
		return errNotPOP3
	case !known:
		s.err("Unknown command")
	case s.inbox == nil && c.authorization == nil:
		s.err("Log in first")
	case s.inbox != nil && c.transaction == nil:
		s.err("Already logged in")
	case s.inbox == nil:
		s.bad = 0
		return c.authorization(s, arg)
	default:
		s.bad = 0
		return c.transaction(s, s.inbox, arg)
	}
	if s.bad++; s.bad >= maxBad {
		s.w.Flush()
		return errBye
	}
	return nil
}

// isForeign reports whether a verb belongs to another protocol.
func isForeign(verb string) bool {
	switch strings.ToUpper(verb) {
	case "GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT", "HELO", "EHLO", "LHLO", "MAIL", "SSH-2.0":
		return true
	}
	return strings.HasSuffix(verb, ":") || verb != "" && verb[0] < 0x20
}
