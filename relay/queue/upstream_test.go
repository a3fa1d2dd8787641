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
	"hoplite/relay/queue/journal/memory"
	"hoplite/relay/queue/schedule"
)

// faulty is an upstream server that does one thing wrong for a while and then works
// correctly.
type faulty struct {
	t     *testing.T
	l     net.Listener
	fault string // "STAGE ANSWER", where ANSWER is a reply, drop, garbage, endless or slow
	bad   int    // remaining wrong answers; -1: without end

	mu    sync.Mutex
	taken int // messages received, whatever the reply was
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

// wrong returns the wrong answer at a stage, if one is due.
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

// answer writes a reply, or misbehaves; false ends the session.
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
		io.Copy(io.Discard, c) // until the client gives up
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

// message reads a message and replies to its final dot.
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

// TestUpstreamFaults checks what the client is told when an upstream misbehaves,
// and who has the message then. In mode queue the reply is always 250. In mode auto
// the client gets the upstream's refusal of the message or the recipient; when the
// upstream is merely unavailable, the message is queued. Temporary and meaningless
// answers lead to one copy; after the final dot, where the outcome is unknown, to
// two at most (RFC 5321, 4.2.5); 5xx to a report and no copy.
func TestUpstreamFaults(t *testing.T) {
	const queued, here = "250 2.0.0 queued as ", "the queue has it"
	const client = "the client has it"
	for _, tc := range []struct {
		fault  string
		reply  string // to the client in mode auto, the first time
		then   string // who has the message then
		copies int    // in the end: at least one and at most this many; 0: refused permanently
	}{
		{"greeting 421 4.3.2 too busy", queued, here, 1},
		{"greeting 554 5.3.2 no service", queued, here, 1}, // about the server, not the message
		{"greeting drop", queued, here, 1},
		{"greeting garbage", queued, here, 1},
		{"greeting endless", queued, here, 1},
		{"EHLO 421 4.3.2 closing", queued, here, 1},
		{"MAIL 451 4.3.0 later", "451 4.3.0 later", client, 1},
		{"MAIL 421 4.3.2 closing", queued, here, 1},
		{"MAIL 550 5.7.1 no", "550 5.7.1 no", client, 0},
		{"MAIL drop", queued, here, 1},
		{"RCPT 450 4.2.1 greylisted", "450 4.2.1 greylisted", client, 1},
		{"RCPT 421 4.3.2 closing", queued, here, 1},
		{"RCPT 550 5.1.1 no such user", "550 5.1.1 no such user", client, 0},
		{"RCPT drop", queued, here, 1},
		{"RCPT garbage", queued, here, 1},
		{"DATA 451 4.3.0 later", "451 4.3.0 later", client, 1},
		{"DATA 421 4.3.2 closing", queued, here, 1},
		{"DATA 554 5.5.0 no", "554 5.5.0 no", client, 0},
		{"DATA drop", queued, here, 1},
		{"body drop", queued, here, 1},
		{"dot 451 4.3.0 later", "451 4.3.0 later", client, 1},
		{"dot 421 4.3.2 closing", queued, here, 1},
		{"dot 554 5.7.1 spam", "554 5.7.1 spam", client, 0},
		{"dot drop", queued, here, 2},
		{"dot garbage", queued, here, 2},
		{"dot slow", queued, here, 3}, // a busy machine may be slow once more
	} {
		if testing.Short() && !strings.HasPrefix(tc.fault, "dot") {
			continue
		}
		t.Run("queue "+tc.fault, func(t *testing.T) {
			t.Parallel()
			f := newFault(t, tc.fault, tc.copies > 0, "queue")
			f.offer(t, queued, here)
			f.ends(t, tc.copies, tc.copies == 0)
		})
		t.Run("auto "+tc.fault, func(t *testing.T) {
			t.Parallel()
			f := newFault(t, tc.fault, tc.copies > 0, "auto")
			f.offer(t, tc.reply, tc.then)
			if tc.then == client && tc.copies > 0 { // the client tries again
				f.offer(t, "250 2.0.0 queued", client)
			}
			f.ends(t, tc.copies, false)
		})
	}
}

// fault is a faulty server with a queue in front of it.
type fault struct {
	server  *faulty
	q       *queue.Queue
	journal *memory.Journal
	hop     mail.Hop
	told    *reports
}

func newFault(t *testing.T, what string, mends bool, mode string) *fault {
	bad := -1
	if mends {
		bad = 1
	}
	f := &fault{server: newFaulty(t, what, bad), journal: memory.New(), told: &reports{}}
	cfg := forward.Config{Name: "out"}
	conf.Defaults(&cfg)
	cfg.Servers = []string{"smtp://" + f.server.l.Addr().String()}
	cfg.TLS, cfg.Recipients, cfg.DataTimeout = "off", "any", 20*time.Second
	if strings.HasSuffix(what, "slow") {
		cfg.DataTimeout = 2 * time.Second
	}
	up, err := forward.New(cfg, forward.Env{Hostname: "mail.example.org", Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(up.Close)
	f.q, err = queue.Open(queue.Options{Journal: f.journal, Settings: queue.Settings{Hostname: "mail.example.org"}, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	f.q.Add(queue.Upstream{Name: "out", Hop: up, Policy: schedule.Policy{RetryMin: 50 * time.Millisecond, RetryMax: 200 * time.Millisecond}})
	f.q.Add(queue.Upstream{Name: queue.Router, Hop: f.told})
	f.hop = f.q.Hop("out")
	if mode == "auto" {
		f.hop = f.q.Direct("out", up.Inline(), true)
	}
	return f
}

// offer sends the message while the queue is not running.
func (f *fault) offer(t *testing.T, want, then string) {
	t.Helper()
	m, err := mail.NewMessage(mail.Bytes("Subject: hello\r\n\r\nbody\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	h, err := f.hop.Open(t.Context(), mail.NewTransaction(mail.Client{}, "ann@example.org"))
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := h.Rcpt(t.Context(), mail.Rcpt{To: "bob@example.net", Orig: "bob@example.net"}); err != nil {
		t.Fatal(err)
	}
	out := h.Send(t.Context(), m)
	if got := out[0].Reply.String(); !strings.HasPrefix(got, want) {
		t.Errorf("the reply is %s, want %s", got, want)
	}
	if n := f.journal.Usage().Messages; n == 1 != (then == "the queue has it") {
		t.Errorf("%d messages are queued, want: %s", n, then)
	}
}

// ends runs the queue until it is empty.
func (f *fault) ends(t *testing.T, copies int, report bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.q.Run(ctx, time.Second) }()
	defer func() { cancel(); <-done }()
	deadline := time.Now().Add(30 * time.Second)
	for f.journal.Usage().Messages > 0 && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	f.server.mu.Lock()
	defer f.server.mu.Unlock()
	f.told.mu.Lock()
	defer f.told.mu.Unlock()
	if f.server.taken > copies || f.server.taken < min(copies, 1) || f.told.n == 1 != report || f.told.n > 1 {
		t.Errorf("%d copies, %d reports", f.server.taken, f.told.n)
	}
}
