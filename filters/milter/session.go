package milter

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"hoplite/filters"
	"hoplite/mail/safe"
)

// session is a connection to a milter. It handles one message after another.
type session struct {
	*conn
	flags  uint32 // steps that the milter does not want or does not reply to
	wait   func(stage string) time.Duration
	client string // the client known to the milter, or ""
	kept   bool   // the connection was idle, so the milter may have closed it
	spent  bool   // cannot be reused for another message

	// The following fields hold the state of the current message.
	begun bool // MAIL has been sent, but not the end of the message
	rcpts int  // number of recipients sent
	done  bool
	last  filters.Verdict // the milter's final verdict
}

// answer is a milter's reply at a stage; the zero answer means continue.
type answer struct {
	verdict filters.Verdict
	final   bool // the milter has decided
	skip    bool
}

// open connects and negotiates.
func open(ctx context.Context, network, address string, wait func(string) time.Duration) (*session, error) {
	dialCtx, cancel := context.WithTimeout(ctx, wait("connect"))
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(dialCtx, network, address)
	if err != nil {
		return nil, err
	}
	s := &session{conn: newConn(c), wait: wait}
	if err := s.negotiate(ctx); err != nil {
		c.Close()
		if ctx.Err() == nil && !errors.Is(err, errNotMilter) {
			err = errors.Join(err, probe(network, address))
		}
		return nil, fmt.Errorf("negotiate with %s: %w", address, err)
	}
	return s, nil
}

// probe identifies a program that does not negotiate: clamd, for example,
// silently ignores input that it does not understand.
func probe(network, address string) error {
	c, err := net.DialTimeout(network, address, time.Second)
	if err != nil {
		return nil // not running
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Second))
	if _, err := io.WriteString(c, "nPING\n"); err != nil {
		return nil
	}
	buf := make([]byte, 200)
	n, _ := io.ReadAtLeast(c, buf, 1)
	if g := guess(string(buf[:n])); g != "" {
		return fmt.Errorf("%w%s", errNotMilter, g)
	}
	return nil
}

// bound sets the deadline for the next exchange.
func (s *session) bound(ctx context.Context, stage string) func() bool {
	deadline := time.Now().Add(s.wait(stage))
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	s.SetDeadline(deadline)
	return context.AfterFunc(ctx, func() { s.SetDeadline(time.Unix(1, 0)) })
}

func (s *session) negotiate(ctx context.Context) error {
	defer s.bound(ctx, "connect")()
	var opt [12]byte
	binary.BigEndian.PutUint32(opt[0:], 6)
	binary.BigEndian.PutUint32(opt[4:], allActions)
	binary.BigEndian.PutUint32(opt[8:], offered)
	if err := s.send(cmdNegotiate, opt[:]); err != nil {
		return err
	}
	cmd, data, err := s.receive()
	if err != nil {
		return err
	}
	if cmd != cmdNegotiate || len(data) < 12 {
		return fmt.Errorf("%w: its first reply is %q", errNotMilter, safe.Log(string(append([]byte{cmd}, data...))))
	}
	if v := binary.BigEndian.Uint32(data); v < 2 || v > 6 {
		return fmt.Errorf("it uses protocol version %d; 2 to 6 are supported", v)
	}
	if s.flags = binary.BigEndian.Uint32(data[8:]); s.flags&^offered != 0 {
		return fmt.Errorf("it wants protocol flags %#x that were not offered", s.flags&^offered)
	}
	return nil
}

// macros sends the macro values for the next command.
func (s *session) macros(cmd byte, pairs ...string) error {
	data := []byte{cmd}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			data = append(append(data, text(pairs[i])...), text(pairs[i+1])...)
		}
	}
	return s.send(cmdMacro, data)
}

// step sends a command and reads the reply, unless the milter does not want the
// command or does not reply to it.
func (s *session) step(ctx context.Context, stage string, no, nr uint32, cmd byte, data ...[]byte) (answer, error) {
	if s.done || s.flags&no != 0 {
		return answer{}, nil
	}
	defer s.bound(ctx, stage)()
	if err := s.send(cmd, data...); err != nil {
		return answer{}, err
	}
	if s.flags&nr != 0 {
		return answer{}, nil
	}
	a, err := s.readReply(nil)
	s.done, s.last = a.final, a.verdict
	return a, err
}

// readReply reads up to the final reply of a step; at the end of a message,
// changes precede it.
func (s *session) readReply(m *changes) (answer, error) {
	for range 100_000 {
		cmd, data, err := s.receive()
		if err != nil {
			return answer{}, err
		}
		switch cmd {
		case repContinue:
			return answer{}, nil
		case repSkip:
			return answer{skip: true}, nil
		case repAccept:
			return answer{final: true}, nil
		case repReject:
			return answer{filters.Rejected(550, "5.7.1", "Message rejected by a content filter"), true, false}, nil
		case repShutdown, repConnFail:
			s.spent = true
			fallthrough
		case repTempfail:
			return answer{filters.Deferred(451, "4.7.1", "Message deferred by a content filter, please try again later"), true, false}, nil
		case repDiscard:
			return answer{filters.Verdict{Action: filters.Discard, Reason: "discarded by the milter"}, true, false}, nil
		case repReply:
			return answer{replyVerdict(data), true, false}, nil
		case repProgress:
		default:
			if m == nil {
				return answer{}, fmt.Errorf("it sends change %q before the end of the message", cmd)
			}
			if err := m.take(cmd, data); err != nil {
				return answer{}, err
			}
		}
	}
	return answer{}, errors.New("it sends too many replies")
}

// replyVerdict returns the verdict for a reply text chosen by the milter. An
// invalid refusal becomes a temporary one.
func replyVerdict(data []byte) filters.Verdict {
	said := strings.TrimSuffix(string(data), "\x00")
	code, err := strconv.Atoi(said[:min(len(said), 3)])
	if err != nil || code < 400 || code > 599 {
		return filters.Deferred(451, "4.7.1", "Message deferred by a content filter, please try again later")
	}
	enhanced := map[bool]string{true: "5.7.1", false: "4.7.1"}[code >= 500]
	var lines []string
	for line := range strings.SplitSeq(strings.ReplaceAll(said, "\r", ""), "\n") {
		line = safe.Reply(strings.TrimLeft(line[min(len(line), 3):], " -"))
		if word, rest, _ := strings.Cut(line, " "); isEnhanced(word, code) {
			enhanced, line = word, rest
		}
		if line != "" && len(lines) < 10 {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		lines = []string{"Message rejected by a content filter"}
	}
	v := filters.Rejected(code, enhanced, "%s", strings.Join(lines, "\n"))
	if code < 500 {
		v.Action = filters.Defer
	}
	return v
}

// isEnhanced reports whether a word is an enhanced status code of the same
// class as a reply code.
func isEnhanced(word string, code int) bool {
	f := strings.Split(word, ".")
	if len(f) != 3 || f[0] != strconv.Itoa(code/100) {
		return false
	}
	for _, n := range f[1:] {
		if v, err := strconv.Atoi(n); err != nil || v < 0 || v > 999 || len(n) > 3 {
			return false
		}
	}
	return true
}

// reset ends the message on the milter's side and reports whether the
// connection can be reused.
func (s *session) reset() bool {
	if s.spent {
		return false
	}
	if !s.begun {
		return true
	}
	s.begun = false
	s.SetDeadline(time.Now().Add(time.Second))
	return s.send(cmdAbort) == nil && s.out.Flush() == nil
}

// quit sends the quit command and closes the connection.
func (s *session) quit() {
	s.SetDeadline(time.Now().Add(time.Second))
	_ = s.send(cmdQuit) // the connection is closed anyway
	_ = s.out.Flush()
	s.Close()
}
