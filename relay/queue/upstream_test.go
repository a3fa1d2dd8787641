package queue_test

import (
	"cmp"
	"context"
	"crypto/tls"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hoplite/internal/conf"
	"hoplite/mail"
	"hoplite/relay/forward"
	"hoplite/relay/forward/upstreamtest"
	"hoplite/relay/queue"
	"hoplite/relay/queue/journal/memory"
	"hoplite/relay/queue/schedule"
)

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

// TestUpstreamFaults checks the reply to the client when an upstream
// misbehaves, which side has the message afterwards, the recorded outcome, and
// the fate of the message. In queue mode the reply is always 250. In auto mode
// the client receives the upstream's refusal of the message or the recipient,
// but the message is queued if the upstream is merely unavailable. In inline
// mode the client keeps the message in both cases.
func TestUpstreamFaults(t *testing.T) {
	for _, b := range upstreamtest.Behaviours {
		if testing.Short() && !strings.HasPrefix(b.Fault, "dot") {
			continue
		}
		name, permanent := b.Name(), b.Refused()
		t.Run("queue "+name, func(t *testing.T) {
			t.Parallel()
			f := newFault(t, b, "queue")
			f.offer(t, upstreamtest.Queued, upstreamtest.InQueue)
			f.ends(t, permanent)
		})
		t.Run("auto "+name, func(t *testing.T) {
			t.Parallel()
			f := newFault(t, b, "auto")
			f.offer(t, b.Reply, b.Then)
			if b.Then == upstreamtest.AtClient && b.Copies > 0 { // the client retries
				f.offer(t, upstreamtest.Taken, upstreamtest.Arrived)
			}
			f.ends(t, false)
		})
		t.Run("inline "+name, func(t *testing.T) {
			t.Parallel()
			f := newFault(t, b, "inline")
			if b.Then == upstreamtest.Arrived {
				f.offer(t, b.Reply, upstreamtest.Arrived)
			} else {
				code := "4"
				if permanent {
					code = "5"
				}
				if got := f.offer(t, code, upstreamtest.AtClient); !strings.Contains(got, b.Words) {
					t.Errorf("the client is told %s, want %q in it", got, b.Words)
				}
				f.offerAgain(t)
			}
			f.ends(t, false)
		})
	}
}

// fault is a faulty server with a queue in front of it.
type fault struct {
	upstreamtest.Behaviour
	server  *upstreamtest.Server
	q       *queue.Queue
	journal *memory.Journal
	hop     mail.Hop
	told    *reports
	// upstream returns a new hop, which does not remember that its server has
	// just failed.
	upstream func() *forward.Upstream

	mu    sync.Mutex
	first string // the outcome of the queue's first attempt
}

func newFault(t *testing.T, b upstreamtest.Behaviour, mode string) *fault {
	bad := -1 // it never recovers
	if b.Copies > 0 && b.Then != upstreamtest.Arrived {
		bad = 1
	}
	f := &fault{Behaviour: b, journal: memory.New(), told: &reports{}}
	secure, roots := upstreamtest.Certificate(t, b.Cert)
	f.server = upstreamtest.New(t, b.Fault, bad, secure)
	cfg := forward.Config{Name: "out"}
	conf.Defaults(&cfg)
	cfg.Servers = []string{"smtp://" + f.server.Addr()}
	cfg.TLS, cfg.Recipients, cfg.DataTimeout = cmp.Or(b.TLS, "off"), "any", 20*time.Second
	switch {
	case b.Fault == "dot slow":
		cfg.DataTimeout = 2 * time.Second
	case strings.HasSuffix(b.Fault, "slow"):
		cfg.CommandTimeout = 500 * time.Millisecond
	case strings.HasSuffix(b.Fault, "stalled"):
		cfg.ConnectTimeout = 500 * time.Millisecond
	}
	f.upstream = func() *forward.Upstream {
		up, err := forward.New(cfg, forward.Env{Hostname: "mail.example.org", Log: zerolog.Nop(), TLS: &tls.Config{RootCAs: roots}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(up.Close)
		return up
	}
	up := f.upstream()
	var err error
	f.q, err = queue.Open(queue.Options{
		Journal: f.journal, Settings: queue.Settings{Hostname: "mail.example.org"}, Log: zerolog.Nop(),
		Attempted: func(a queue.Attempt) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.first = cmp.Or(f.first, a.Outcomes[0].Reply.String())
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	f.q.Add(queue.Upstream{Name: "out", Hop: up, Policy: schedule.Policy{RetryMin: 50 * time.Millisecond, RetryMax: 200 * time.Millisecond}})
	f.q.Add(queue.Upstream{Name: queue.Router, Hop: f.told})
	f.hop = f.q.Hop("out")
	if mode != "queue" {
		f.hop = f.q.Direct("out", up.Inline(), mode == "auto")
	}
	return f
}

// send offers the message once and returns the reply.
func (f *fault) send(t *testing.T) string {
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
	return h.Send(t.Context(), m)[0].Reply.String()
}

// offer sends the message while the queue is stopped, and returns the reply.
func (f *fault) offer(t *testing.T, want, then string) string {
	t.Helper()
	got := f.send(t)
	if !strings.HasPrefix(got, want) {
		t.Errorf("the reply is %s, want %s", got, want)
	}
	if n := f.journal.Usage().Messages; n == 1 != (then == upstreamtest.InQueue || then == upstreamtest.Stuck) {
		t.Errorf("%d messages are queued, want: %s", n, then)
	}
	return got
}

// offerAgain sends the message again, as a client that still has it would. It
// stops when the message is accepted, or after one attempt if it never will be.
func (f *fault) offerAgain(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for f.Copies > 0 {
		f.hop = f.q.Direct("out", f.upstream().Inline(), false)
		if strings.HasPrefix(f.send(t), "250") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("never accepted")
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// ends runs the queue until it is empty or has attempted the remaining messages
// twice.
func (f *fault) ends(t *testing.T, report bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.q.Run(ctx, time.Second) }()
	defer func() { cancel(); <-done }()
	kept := f.Then == upstreamtest.Stuck && f.journal.Usage().Messages == 1
	over := func() bool {
		l := f.q.List(queue.Filter{}, 0)
		return len(l) == 0 && f.journal.Usage().Messages == 0 ||
			kept && len(l) == 1 && l[0].Rcpts[0].Attempts > 1 && strings.Contains(l[0].Rcpts[0].Reply, f.Words)
	}
	for deadline := time.Now().Add(30 * time.Second); !over(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("the queue still has %+v", f.q.List(queue.Filter{}, 0))
			break
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told.mu.Lock()
	defer f.told.mu.Unlock()
	if n := f.journal.Usage().Messages; n == 1 != kept {
		t.Errorf("%d messages are left", n)
	}
	if f.server.Taken() > f.Copies || f.server.Taken() < min(f.Copies, 1) || f.told.n == 1 != report || f.told.n > 1 {
		t.Errorf("%d copies, %d reports", f.server.Taken(), f.told.n)
	}
	if _, direct := f.hop.(*queue.Direct); !direct && !strings.Contains(f.first, f.Words) {
		t.Errorf("the first attempt says %s, want %q in it", f.first, f.Words)
	}
}
