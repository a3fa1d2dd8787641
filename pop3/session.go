package pop3

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"hoplite/internal/listen"
	"hoplite/internal/users"
	"hoplite/maildrop"
)

// The limits of a session.
const (
	maxLine    = 512   // octets of a command; RFC 2449, 4 asks for 255
	maxSASL    = 12288 // octets of an AUTH response
	maxBad     = 10    // wrong commands in a row
	maxLogins  = 3     // wrong passwords
	maxStalled = 5 * time.Minute
)

// session is one connection.
type session struct {
	srv  *Server
	ctx  context.Context
	conn *listen.Conn
	r    *bufio.Reader
	w    *bufio.Writer
	log  zerolog.Logger

	began    time.Time
	user     string         // of USER, until PASS
	account  *users.Account // nil before login
	utf8     bool
	inbox    *inbox // nil before login
	bad      int    // wrong commands in a row
	logins   int    // wrong passwords
	bye      bool
	stopping atomic.Bool
}

// inbox is the mailbox of a session that has logged in.
type inbox struct {
	box     *maildrop.Box
	unlock  func()
	folder  *maildrop.Folder
	snap    *maildrop.Snapshot
	msgs    []*maildrop.Message // by message number - 1
	deleted map[int]bool        // by index
	fetched map[int]bool
	octets  int64 // sent by RETR
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

// deadlineWriter gives each write its time.
type deadlineWriter struct{ c net.Conn }

func (d deadlineWriter) Write(b []byte) (int, error) {
	d.c.SetWriteDeadline(time.Now().Add(maxStalled))
	return d.c.Write(b)
}

// stop ends the session soon, from another goroutine.
func (s *session) stop() {
	s.stopping.Store(true)
	s.conn.SetReadDeadline(time.Unix(1, 0))
}

// serve runs the session to its end.
func (s *session) serve() {
	defer s.release()
	s.ok("%s POP3 ready", s.srv.env.Hostname)
	for !s.bye {
		line, err := s.line(maxLine)
		if err != nil {
			s.farewell(err)
			return
		}
		if err := s.command(line); err != nil {
			s.farewell(err)
			return
		}
	}
}

// errBye ends a session without another word.
var errBye = errors.New("session ended")

var errLong = errors.New("line too long")

// line reads a line without its end. What was answered is sent first, unless
// the client has more commands on the way.
func (s *session) line(limit int) (string, error) {
	if s.r.Buffered() == 0 {
		if err := s.w.Flush(); err != nil {
			return "", err
		}
	}
	s.setDeadline()
	if s.stopping.Load() {
		return "", os.ErrDeadlineExceeded
	}
	var line []byte
	for {
		part, err := s.r.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > limit {
			return "", errLong
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
		return "", errLong
	}
	return text, nil
}

func (s *session) setDeadline() {
	if s.account == nil {
		s.conn.SetReadDeadline(s.began.Add(s.srv.cfg.LoginTimeout))
		return
	}
	s.conn.SetReadDeadline(time.Now().Add(s.srv.cfg.IdleTimeout))
}

// farewell tells the client why the session ends, where there is a reason.
func (s *session) farewell(err error) {
	switch {
	case s.stopping.Load():
		s.err("[SYS/TEMP] server is shutting down")
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.err("nothing heard for too long")
	case errors.Is(err, errLong):
		s.err("not a POP3 command")
	case errors.Is(err, errBye), errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
	default:
		s.log.Debug().Err(err).Msg("pop3 connection lost")
	}
}

// release gives back what the session holds.
func (s *session) release() {
	if p := recover(); p != nil {
		s.log.Error().Interface("panic", p).Bytes("stack", debug.Stack()).Msg("pop3 session ended by a bug")
		s.err("[SYS/TEMP] internal error")
	}
	s.w.Flush()
	s.closeInbox()
	s.r.Reset(nil)
	s.w.Reset(nil)
	readers.Put(s.r)
	writers.Put(s.w)
}

func (s *session) closeInbox() {
	in := s.inbox
	if in == nil {
		return
	}
	s.inbox = nil
	in.folder.Close()
	in.unlock()
	in.box.Close()
	s.log.Info().Str("user", s.account.Name).Int("messages", len(in.msgs)).Int("fetched", len(in.fetched)).
		Int64("octets", in.octets).Dur("took", time.Since(s.began)).Msg("pop3 session")
}

// ok and err write one-line answers.
func (s *session) ok(format string, args ...any)  { s.say("+OK ", format, args...) }
func (s *session) err(format string, args ...any) { s.say("-ERR ", format, args...) }

func (s *session) say(status, format string, args ...any) {
	s.w.WriteString(status)
	fmt.Fprintf(s.w, format, args...)
	s.w.WriteString("\r\n")
}

// command is one entry of the table of commands.
type command struct {
	run func(s *session, arg string) error
	// before and after say in which state the command may be given: before
	// login, after it.
	before, after bool
}

var commands map[string]command

func init() {
	commands = map[string]command{
		"CAPA": {(*session).capa, true, true},
		"QUIT": {(*session).quit, true, true},
		"LANG": {(*session).lang, true, true},
		"UTF8": {(*session).doUTF8, true, false},
		"STLS": {(*session).stls, true, false},
		"USER": {(*session).doUser, true, false},
		"PASS": {(*session).pass, true, false},
		"AUTH": {(*session).auth, true, false},
		"STAT": {(*session).stat, false, true},
		"LIST": {(*session).list, false, true},
		"UIDL": {(*session).doUIDL, false, true},
		"RETR": {(*session).retr, false, true},
		"TOP":  {(*session).top, false, true},
		"DELE": {(*session).dele, false, true},
		"RSET": {(*session).rset, false, true},
		"NOOP": {(*session).noop, false, true},
	}
}

// command runs one command. An error ends the session.
func (s *session) command(line string) error {
	verb, arg, _ := strings.Cut(line, " ")
	c, known := commands[strings.ToUpper(verb)]
	switch {
	case !known && s.account == nil && s.bad == 0 && s.user == "" && foreign(verb):
		// A browser or another server's client, perhaps made to talk to us.
		return errLong
	case !known:
		s.err("unknown command")
	case s.account == nil && !c.before:
		s.err("log in first")
	case s.account != nil && !c.after:
		s.err("not after login")
	default:
		s.bad = 0
		return c.run(s, arg)
	}
	if s.bad++; s.bad >= maxBad {
		s.w.Flush()
		return errBye
	}
	return nil
}

// foreign tells a verb of another protocol.
func foreign(verb string) bool {
	switch strings.ToUpper(verb) {
	case "GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT", "HELO", "EHLO", "LHLO", "MAIL", "SSH-2.0":
		return true
	}
	return strings.HasSuffix(verb, ":") || verb != "" && verb[0] < 0x20
}
