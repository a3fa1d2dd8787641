// Package upstreamtest provides upstream servers that misbehave, and the
// expected result of each behaviour. It is imported only by tests.
package upstreamtest

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// Server is an upstream server that has one fault for a while and then works
// correctly.
type Server struct {
	t     testing.TB
	l     net.Listener
	fault string
	tls   *tls.Config

	mu    sync.Mutex
	bad   int // remaining wrong answers; -1: unlimited
	taken int // messages received, whatever the reply
}

// New starts a server that runs until the test ends. Its fault is a Behaviour's
// Fault; bad is the number of wrong answers, or -1 if all are wrong. secure is
// used for STARTTLS, which is not offered if it is nil.
func New(t testing.TB, fault string, bad int, secure *tls.Config) *Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, l: l, fault: fault, bad: bad, tls: secure}
	var sessions sync.WaitGroup
	sessions.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			sessions.Go(func() { defer c.Close(); s.serve(c) })
		}
	})
	t.Cleanup(func() { l.Close(); sessions.Wait() })
	return s
}

// Addr returns the address on which the server listens.
func (s *Server) Addr() string { return s.l.Addr().String() }

// Taken returns the number of messages that the server has received, whatever
// its replies.
func (s *Server) Taken() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken
}

// Heal makes all further answers correct.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bad = 0
}

// wrong returns the wrong answer for a stage, if one is due.
func (s *Server) wrong(stage string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, wrong, _ := strings.Cut(s.fault, " ")
	if at != stage || s.bad == 0 {
		return ""
	}
	if s.bad > 0 {
		s.bad--
	}
	return wrong
}

// answer writes a reply, or misbehaves. It returns false to end the session.
func (s *Server) answer(c net.Conn, wrong, good string) bool {
	switch wrong {
	case "":
		wrong = good
	case "drop":
		return false
	case "garbage":
		fmt.Fprint(c, "\x00\xff what?\r\n")
		return true
	case "endless":
		for range 5000 {
			if _, err := fmt.Fprint(c, "250-more\r\n"); err != nil {
				return false
			}
		}
		return false
	case "slow":
		io.Copy(io.Discard, c) // until the client gives up
		return false
	}
	if text, ok := strings.CutPrefix(wrong, "late "); ok {
		time.Sleep(300 * time.Millisecond)
		wrong = text
	}
	if text, ok := strings.CutPrefix(wrong, "bytes "); ok {
		for _, b := range []byte(text + "\r\n") {
			if _, err := c.Write([]byte{b}); err != nil {
				return false
			}
			time.Sleep(time.Millisecond)
		}
		return true
	}
	_, err := fmt.Fprintf(c, "%s\r\n", wrong)
	return err == nil
}

// startTLS answers STARTTLS. It returns the connection on which the session
// continues, or nil if the session has ended.
func (s *Server) startTLS(c net.Conn) net.Conn {
	switch wrong := s.wrong("STARTTLS"); wrong {
	case "":
	case "broken":
		fmt.Fprint(c, "220 go\r\nthis is no handshake\r\n")
		return nil
	case "stalled":
		fmt.Fprint(c, "220 go\r\n")
		io.Copy(io.Discard, c)
		return nil
	default:
		if !s.answer(c, wrong, "") {
			return nil
		}
		return c
	}
	fmt.Fprint(c, "220 go\r\n")
	secure := tls.Server(c, s.tls)
	if secure.Handshake() != nil {
		return nil
	}
	return secure
}

func (s *Server) serve(c net.Conn) {
	socket := c
	stop := context.AfterFunc(s.t.Context(), func() { socket.Close() })
	defer stop()
	in := bufio.NewReader(c)
	ok := s.answer(c, s.wrong("greeting"), "220 upstream.example ESMTP")
	for ok {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		verb := strings.ToUpper(strings.Fields(line + " x")[0])
		switch verb {
		case "EHLO", "HELO":
			good := "250 upstream.example"
			if verb == "EHLO" && s.tls != nil {
				good = "250-upstream.example\r\n250 STARTTLS"
			}
			ok = s.answer(c, s.wrong(verb), good)
		case "STARTTLS":
			if c = s.startTLS(c); c == nil {
				return
			}
			in = bufio.NewReader(c)
		case "MAIL", "RCPT", "RSET":
			ok = s.answer(c, s.wrong(verb), "250 2.0.0 ok")
		case "DATA":
			if wrong := s.wrong("DATA"); wrong != "" {
				ok = s.answer(c, wrong, "")
				continue
			}
			ok = s.answer(c, "", "354 go") && s.message(c, in)
		default:
			fmt.Fprint(c, "221 bye\r\n")
			return
		}
	}
}

// message reads a message and replies to its final dot.
func (s *Server) message(c net.Conn, in *bufio.Reader) bool {
	for line := ""; line != ".\r\n"; {
		var err error
		if line, err = in.ReadString('\n'); err != nil || s.wrong("body") != "" {
			return false
		}
	}
	wrong := s.wrong("dot")
	if wrong == "" || wrong[0] != '4' && wrong[0] != '5' {
		s.mu.Lock()
		s.taken++
		s.mu.Unlock()
	}
	return s.answer(c, wrong, "250 2.0.0 queued")
}
