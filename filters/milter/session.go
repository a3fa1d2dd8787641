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

// session is one connection to a milter and, one after the other, its messages.
type session struct {
	*conn
	flags  uint32 // what the milter does not want or does not answer
	wait   func(stage string) time.Duration
	client string // whom it was told of; "" for nobody yet
	kept   bool   // it has waited: the milter may be gone by now
	spent  bool   // good for no other message

	// Of the message:
	begun bool // MAIL was said, and the end of the message was not
	rcpts int  // that it has heard of
	done  bool
	last  filters.Verdict // its last word, once done
}

// answer is what a milter said at a stage; a zero one means: go on.
type answer struct {
	verdict filters.Verdict
	final   bool // the milter has said its last word
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

// probe asks what else may be at an address that does not negotiate: clamd
// listens silently to what it does not understand.
func probe(network, address string) error {
	c, err := net.DialTimeout(network, address, time.Second)
	if err != nil {
		return nil // then it is just down
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

// bound gives the next exchange its time.
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
		return fmt.Errorf("%w: its first answer is %q", errNotMilter, safe.Log(string(append([]byte{cmd}, data...))))
	}
	if v := binary.BigEndian.Uint32(data); v < 2 || v > 6 {
		return fmt.Errorf("it speaks version %d of the protocol, we speak 2 to 6", v)
	}
	if s.flags = binary.BigEndian.Uint32(data[8:]); s.flags&^offered != 0 {
		return fmt.Errorf("it wants protocol flags %#x that were not offered", s.flags&^offered)
	}
	return nil
}

// macros sends the values that go with the next command.
func (s *session) macros(cmd byte, pairs ...string) error {
	data := []byte{cmd}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			data = append(append(data, text(pairs[i])...), text(pairs[i+1])...)
		}
	}
	return s.send(cmdMacro, data)
}

// step sends a command, unless the milter does not want it, and hears the
// answer, unless it gives none.
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
	a, err := s.hear(nil)
	s.done, s.last = a.final, a.verdict
	return a, err
}

// hear reads replies until one decides; at the end of a message, changes come
// before it.
func (s *session) hear(m *changes) (answer, error) {
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
			return answer{filters.Rejected(550, "5.7.1", "refused by a content filter"), true, false}, nil
		case repShutdown, repConnFail:
			s.spent = true
			fallthrough
		case repTempfail:
			return answer{filters.Deferred(451, "4.7.1", "a content filter asks you to try again later"), true, false}, nil
		case repDiscard:
			return answer{filters.Verdict{Action: filters.Discard, Reason: "the milter discards it"}, true, false}, nil
		case repReply:
			return answer{replyVerdict(data), true, false}, nil
		case repProgress:
		default:
			if m == nil {
				return answer{}, fmt.Errorf("it changes something (%q) before the end of the message", cmd)
			}
			if err := m.take(cmd, data); err != nil {
				return answer{}, err
			}
		}
	}
	return answer{}, errors.New("it answers without end")
}

// replyVerdict makes a verdict of a reply in the milter's own words. What is no
// proper refusal is a temporary one.
func replyVerdict(data []byte) filters.Verdict {
	said := strings.TrimSuffix(string(data), "\x00")
	code, err := strconv.Atoi(said[:min(len(said), 3)])
	if err != nil || code < 400 || code > 599 {
		return filters.Deferred(451, "4.7.1", "a content filter asks you to try again later")
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
		lines = []string{"refused by a content filter"}
	}
	v := filters.Rejected(code, enhanced, "%s", strings.Join(lines, "\n"))
	if code < 500 {
		v.Action = filters.Defer
	}
	return v
}

// isEnhanced says whether a word is a status code of the same class as a reply.
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

// reset ends the message on the milter's side. It reports whether the connection
// is good for another one.
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

// quit ends the connection politely; it is gone in any case.
func (s *session) quit() {
	s.SetDeadline(time.Now().Add(time.Second))
	_ = s.send(cmdQuit) // nobody waits for it
	_ = s.out.Flush()
	s.Close()
}
