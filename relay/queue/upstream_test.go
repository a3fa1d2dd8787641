package queue_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hoplite/internal/conf"
	"hoplite/mail"
	"hoplite/relay/forward"
	"hoplite/relay/queue"
	"hoplite/relay/queue/journal"
)

// faulty is an upstream server that does one thing wrong for a while, and then
// everything right.
type faulty struct {
	t     *testing.T
	l     net.Listener
	fault string // "STAGE ANSWER"; the answer may be drop, garbage, endless or slow
	bad   int    // how often it still goes wrong; -1 for ever

	mu    sync.Mutex
	taken int // messages that it has, whatever it answered
}

func newFaulty(t *testing.T, fault string, bad int) *faulty {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &faulty{t: t, l: l, fault: fault, bad: bad}
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

// wrong is what goes wrong at a stage this time, or empty.
func (s *faulty) wrong(stage string) string {
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

// answer writes a reply, or does what is wrong; false ends the session.
func (s *faulty) answer(c net.Conn, wrong, good string) bool {
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
		io.Copy(io.Discard, c) // until the other side gives up
		return false
	}
	_, err := fmt.Fprintf(c, "%s\r\n", wrong)
	return err == nil
}

func (s *faulty) serve(c net.Conn) {
	stop := context.AfterFunc(s.t.Context(), func() { c.Close() })
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
			ok = s.answer(c, s.wrong(verb), "250 upstream.example")
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

// message reads a message and answers its final dot.
func (s *faulty) message(c net.Conn, in *bufio.Reader) bool {
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

// reports counts the messages that the queue sends to senders.
type reports struct {
	mu sync.Mutex
	n  int
}

func (r *reports) Open(context.Context, *mail.Transaction) (mail.Handoff, error) { return r, nil }
func (r *reports) Rcpt(context.Context, mail.Rcpt) error                         { return nil }
func (r *reports) Close() error                                                  { return nil }
func (r *reports) Send(context.Context, *mail.Message) []mail.Outcome {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n++
	return []mail.Outcome{{Reply: mail.Reply{Code: 250}}}
}

// What an upstream can do wrong, in mode queue and in mode auto. Whatever is
// temporary or makes no sense ends in one copy; after the final dot, where
// nobody can know, in two at most; 5xx in one report and no copy.
func TestUpstreamFaults(t *testing.T) {
	for _, tc := range []struct {
		fault  string
		copies int  // at most; at least one
		bounce bool // for good: no copy, one report
	}{
		{fault: "greeting 421 4.3.2 too busy", copies: 1},
		{fault: "greeting 554 5.3.2 no service", copies: 1}, // a server's word about itself, not the message
		{fault: "greeting drop", copies: 1},
		{fault: "greeting garbage", copies: 1},
		{fault: "greeting endless", copies: 1},
		{fault: "EHLO 421 4.3.2 closing", copies: 1},
		{fault: "MAIL 451 4.3.0 later", copies: 1},
		{fault: "MAIL 550 5.7.1 no", bounce: true},
		{fault: "MAIL drop", copies: 1},
		{fault: "RCPT 450 4.2.1 greylisted", copies: 1},
		{fault: "RCPT 550 5.1.1 no such user", bounce: true},
		{fault: "RCPT garbage", copies: 1},
		{fault: "DATA 451 4.3.0 later", copies: 1},
		{fault: "DATA 554 5.5.0 no", bounce: true},
		{fault: "body drop", copies: 1},
		{fault: "dot 451 4.3.0 later", copies: 1},
		{fault: "dot 554 5.7.1 spam", bounce: true},
		{fault: "dot drop", copies: 2},
		{fault: "dot garbage", copies: 2},
		{fault: "dot slow", copies: 3}, // a busy machine may be slow once more
	} {
		if testing.Short() && !strings.HasPrefix(tc.fault, "dot") {
			continue
		}
		for _, mode := range []string{"queue", "auto"} {
			t.Run(mode+" "+tc.fault, func(t *testing.T) {
				t.Parallel()
				bad := 1
				if tc.bounce {
					bad = -1
				}
				testFault(t, newFaulty(t, tc.fault, bad), mode, tc.copies, tc.bounce)
			})
		}
	}
}

func testFault(t *testing.T, server *faulty, mode string, copies int, bounce bool) {
	cfg := forward.Config{Name: "out"}
	conf.Defaults(&cfg)
	cfg.Servers = []string{"smtp://" + server.l.Addr().String()}
	cfg.TLS, cfg.Recipients, cfg.DataTimeout = "off", "any", 20*time.Second
	if strings.HasSuffix(server.fault, "slow") {
		cfg.DataTimeout = 2 * time.Second
	}
	up, err := forward.New(cfg, forward.Env{Hostname: "mail.example.org", Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	defer up.Close()
	memory := journal.NewMemory()
	q, err := queue.Open(queue.Options{Journal: memory, Hostname: "mail.example.org", Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	told := &reports{}
	q.Add(queue.Upstream{Name: "out", Hop: up, Schedule: queue.Schedule{RetryMin: 50 * time.Millisecond, RetryMax: 200 * time.Millisecond}})
	q.Add(queue.Upstream{Name: queue.Router, Hop: told})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx, time.Second) }()
	defer func() { cancel(); <-done }()

	hop := q.Hop("out")
	if mode == "auto" {
		hop = q.Direct("out", up.Inline(), true)
	}
	reply := sendUntilTaken(t, hop)
	deadline := time.Now().Add(30 * time.Second)
	for memory.Usage().Messages > 0 && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	server.mu.Lock()
	defer server.mu.Unlock()
	told.mu.Lock()
	defer told.mu.Unlock()
	refused := mode == "auto" && reply.Permanent() // the client heard it: its server reports
	switch {
	case bounce && (server.taken != 0 || told.n != 1 && !refused || told.n != 0 && refused):
		t.Errorf("%d copies, %d reports, the client heard %s", server.taken, told.n, reply.String())
	case !bounce && (server.taken < 1 || server.taken > copies || told.n != 0 || !reply.Positive()):
		t.Errorf("%d copies, %d reports, the client heard %s", server.taken, told.n, reply.String())
	}
}

// sendUntilTaken is a client that tries again when it hears 4xx.
func sendUntilTaken(t *testing.T, hop mail.Hop) *mail.Reply {
	t.Helper()
	m, err := mail.NewMessage(mail.Bytes("Subject: hello\r\n\r\nbody\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	r := mail.Rcpt{To: "bob@example.net", Orig: "bob@example.net"}
	for try := 0; ; try++ {
		h, err := hop.Open(t.Context(), mail.NewTransaction(mail.Client{}, "ann@example.org"))
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Rcpt(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		out := h.Send(t.Context(), m)
		h.Close()
		if reply := &out[0].Reply; reply.Positive() || reply.Permanent() || try == 10 {
			return reply
		}
		time.Sleep(50 * time.Millisecond)
	}
}
