package queue_test

import (
	"bufio"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
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
	fault string      // "STAGE ANSWER", where ANSWER is a reply, drop, garbage, endless, slow, or as answer knows
	tls   *tls.Config // offered by STARTTLS; nil: not offered
	bad   int         // remaining wrong answers; -1: without end

	mu    sync.Mutex
	taken int // messages received, whatever the reply was
}

func newFaulty(t *testing.T, fault string, bad int, secure *tls.Config) *faulty {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &faulty{t: t, l: l, fault: fault, bad: bad, tls: secure}
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

// wrong returns the wrong answer for a stage, if the script has one.
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

// answer writes a reply, or misbehaves. It returns false to end the session.
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
func (s *faulty) startTLS(c net.Conn) net.Conn {
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

func (s *faulty) serve(c net.Conn) {
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

// behaviour is a fault of an upstream and the expected result.
type behaviour struct {
	fault string // of faulty; it happens once, unless the upstream lives with it
	tls   string // our policy; empty: off
	cert  string // the upstream's certificate: good, self-signed, expired; empty: no STARTTLS
	reply string // to the client in mode auto, the first time
	then  string // who has the message then
	// copies is the maximum number of copies that the upstream gets in the end;
	// it gets at least one. 0 means that the message is refused permanently.
	copies int
	// words must appear in the outcome of the first attempt: in the reply to
	// the client in inline mode, and in the log, the history and the queue's
	// listing.
	words string
}

const (
	queued   = "250 2.0.0 queued as "
	taken    = "250 2.0.0 queued" // by the upstream
	inQueue  = "the queue has it"
	atClient = "the client has it"
	arrived  = "the upstream has it" // at once
	stuck    = "the queue keeps it"  // until an administrator acts
)

// Temporary and meaningless answers lead to one copy or, after the final dot,
// where the outcome is unknown, to two at most (RFC 5321, 4.2.5). A 5xx answer
// leads to a report and no copy.
var behaviours = []behaviour{
	{fault: "greeting 421 4.3.2 too busy", reply: queued, then: inQueue, copies: 1, words: "does not accept mail now: 421 4.3.2 too busy"},
	{fault: "greeting 554 5.3.2 no service", reply: queued, then: inQueue, copies: 1, words: "does not accept mail now: 554 5.3.2 no service"}, // about the server, not the message
	{fault: "greeting 550 your host is listed", reply: queued, then: inQueue, copies: 1, words: "your host is listed"},
	{fault: "greeting drop", reply: queued, then: inQueue, copies: 1, words: "greeting: the server closed the connection"},
	{fault: "greeting garbage", reply: queued, then: inQueue, copies: 1, words: "greeting: "},
	{fault: "greeting endless", reply: queued, then: inQueue, copies: 1, words: "greeting: "},
	{fault: "greeting slow", reply: queued, then: inQueue, copies: 1, words: "greeting: no answer in time"},
	{fault: "greeting late 220 upstream.example", reply: taken, then: arrived, copies: 1},
	{fault: "greeting bytes 220 upstream.example ESMTP", reply: taken, then: arrived, copies: 1},
	{fault: "greeting 220-welcome\r\n220-*** notice ***\r\n220 upstream.example", reply: taken, then: arrived, copies: 1},
	{fault: "greeting 220", reply: taken, then: arrived, copies: 1},
	{fault: "EHLO 421 4.3.2 closing", reply: queued, then: inQueue, copies: 1, words: "421 4.3.2 closing"},
	{fault: "EHLO 500 5.5.1 what", reply: taken, then: arrived, copies: 1}, // HELO only
	{fault: "EHLO 502 not implemented", reply: taken, then: arrived, copies: 1},
	{fault: "EHLO 550 no ESMTP", reply: taken, then: arrived, copies: 1},
	{fault: "EHLO drop", reply: taken, then: arrived, copies: 1},
	{fault: "EHLO garbage", reply: queued, then: inQueue, copies: 1, words: "EHLO: "},
	{fault: "EHLO slow", reply: queued, then: inQueue, copies: 1, words: "EHLO: no answer in time"},
	{fault: "EHLO 250-upstream.example\r\n250-size=1000\r\n250-\r\n250-X-LINK2STATE  \r\n250 8bitmime", reply: taken, then: arrived, copies: 1},
	{fault: "EHLO bytes 250 upstream.example", reply: taken, then: arrived, copies: 1},
	{fault: "MAIL 451 4.3.0 later", reply: "451 4.3.0 later", then: atClient, copies: 1, words: "451 4.3.0 later"},
	{fault: "MAIL 421 4.3.2 closing", reply: queued, then: inQueue, copies: 1, words: "421 4.3.2 closing"},
	{fault: "MAIL 550 5.7.1 no", reply: "550 5.7.1 no", then: atClient, words: "550 5.7.1 no"},
	{fault: "MAIL drop", reply: queued, then: inQueue, copies: 1, words: "the server closed the connection"},
	{fault: "MAIL slow", reply: queued, then: inQueue, copies: 1, words: "no answer in time"},
	{fault: "RCPT 450 4.2.1 greylisted", reply: "450 4.2.1 greylisted", then: atClient, copies: 1, words: "450 4.2.1 greylisted"},
	{fault: "RCPT 421 4.3.2 closing", reply: queued, then: inQueue, copies: 1, words: "421 4.3.2 closing"},
	{fault: "RCPT 550 5.1.1 no such user", reply: "550 5.1.1 no such user", then: atClient, words: "550 5.1.1 no such user"},
	{fault: "RCPT drop", reply: queued, then: inQueue, copies: 1, words: "during RCPT: the server closed the connection"},
	{fault: "RCPT garbage", reply: queued, then: inQueue, copies: 1, words: "during RCPT"},
	{fault: "DATA 451 4.3.0 later", reply: "451 4.3.0 later", then: atClient, copies: 1, words: "451 4.3.0 later"},
	{fault: "DATA 421 4.3.2 closing", reply: queued, then: inQueue, copies: 1, words: "421 4.3.2 closing"},
	{fault: "DATA 554 5.5.0 no", reply: "554 5.5.0 no", then: atClient, words: "554 5.5.0 no"},
	{fault: "DATA 250 ok", reply: "451 4.5.0", then: atClient, copies: 1, words: "unexpected reply"},
	{fault: "DATA drop", reply: queued, then: inQueue, copies: 1, words: "during DATA: the server closed the connection"},
	{fault: "body drop", reply: queued, then: inQueue, copies: 1, words: "the server closed the connection"},
	{fault: "dot 451 4.3.0 later", reply: "451 4.3.0 later", then: atClient, copies: 1, words: "451 4.3.0 later"},
	{fault: "dot 421 4.3.2 closing", reply: queued, then: inQueue, copies: 1, words: "421 4.3.2 closing"},
	{fault: "dot 554 5.7.1 spam", reply: "554 5.7.1 spam", then: atClient, words: "554 5.7.1 spam"},
	{fault: "dot drop", reply: queued, then: inQueue, copies: 2, words: "during end of data: the server closed the connection"},
	{fault: "dot garbage", reply: queued, then: inQueue, copies: 2, words: "during end of data"},
	{fault: "dot slow", reply: queued, then: inQueue, copies: 3, words: "during end of data: no answer in time"}, // a busy machine may be slow once more
	{fault: "dot 250-2.0.0 queued\r\n250 2.0.0 queued", reply: "250 2.0.0 queued", then: arrived, copies: 1},
	{fault: "QUIT drop", reply: taken, then: arrived, copies: 1},
	{fault: "none: self-signed", tls: "may", cert: "self-signed", reply: taken, then: arrived, copies: 1},
	{fault: "none: expired", tls: "may", cert: "expired", reply: taken, then: arrived, copies: 1},
	{fault: "none: good certificate", tls: "verify", cert: "good", reply: taken, then: arrived, copies: 1},
	{fault: "none: self-signed, verified", tls: "verify", cert: "self-signed", reply: queued, then: stuck, words: "4.7.5"},
	{fault: "none: expired, verified", tls: "verify", cert: "expired", reply: queued, then: stuck, words: "expired on"},
	{fault: "none: no STARTTLS", tls: "require", reply: queued, then: stuck, words: "4.7.5"},
	{fault: "STARTTLS 454 4.7.0 not now", tls: "may", cert: "good", reply: taken, then: arrived, copies: 1},
	{fault: "STARTTLS broken", tls: "may", cert: "good", reply: taken, then: arrived, copies: 1},
	{fault: "STARTTLS stalled", tls: "may", cert: "good", reply: taken, then: arrived, copies: 1},
	{fault: "STARTTLS 454 4.7.0 not now", tls: "require", cert: "good", reply: queued, then: inQueue, copies: 1, words: "454 4.7.0 not now"},
	{fault: "STARTTLS broken", tls: "require", cert: "good", reply: queued, then: inQueue, copies: 1, words: "TLS"},
	{fault: "STARTTLS stalled", tls: "require", cert: "good", reply: queued, then: inQueue, copies: 1, words: "no answer in time"},
	{fault: "STARTTLS drop", tls: "require", cert: "good", reply: queued, then: inQueue, copies: 1, words: "STARTTLS: the server closed the connection"},
}

// TestUpstreamFaults checks the reply to the client when an upstream
// misbehaves, which side then has the message, the recorded outcome, and the
// fate of the message. In queue mode the reply is always 250. In auto mode the
// client gets the upstream's refusal of the message or the recipient, but if
// the upstream is merely unavailable, the message is queued. In inline mode the
// client keeps the message in both cases.
func TestUpstreamFaults(t *testing.T) {
	for _, b := range behaviours {
		if testing.Short() && !strings.HasPrefix(b.fault, "dot") {
			continue
		}
		name := strings.TrimSpace(strings.ReplaceAll(b.fault, "\r\n", " ") + " " + b.tls)
		permanent := b.copies == 0 && b.then == atClient
		t.Run("queue "+name, func(t *testing.T) {
			t.Parallel()
			f := newFault(t, b, "queue")
			f.offer(t, queued, inQueue)
			f.ends(t, permanent)
		})
		t.Run("auto "+name, func(t *testing.T) {
			t.Parallel()
			f := newFault(t, b, "auto")
			f.offer(t, b.reply, b.then)
			if b.then == atClient && b.copies > 0 { // the client tries again
				f.offer(t, taken, arrived)
			}
			f.ends(t, false)
		})
		t.Run("inline "+name, func(t *testing.T) {
			t.Parallel()
			f := newFault(t, b, "inline")
			if b.then == arrived {
				f.offer(t, b.reply, arrived)
			} else {
				code := "4"
				if permanent {
					code = "5"
				}
				if got := f.offer(t, code, atClient); !strings.Contains(got, b.words) {
					t.Errorf("the client is told %s, want %q in it", got, b.words)
				}
				f.offerAgain(t)
			}
			f.ends(t, false)
		})
	}
}

// fault is a faulty server with a queue in front of it.
type fault struct {
	behaviour
	server  *faulty
	q       *queue.Queue
	journal *memory.Journal
	hop     mail.Hop
	told    *reports
	// upstream makes a new hop, which does not remember that its server failed
	// a moment ago.
	upstream func() *forward.Upstream

	mu    sync.Mutex
	first string // the outcome of the queue's first attempt
}

func newFault(t *testing.T, b behaviour, mode string) *fault {
	bad := -1 // it never gets better
	if b.copies > 0 && b.then != arrived {
		bad = 1
	}
	f := &fault{behaviour: b, journal: memory.New(), told: &reports{}}
	secure, roots := certificateOf(t, b.cert)
	f.server = newFaulty(t, b.fault, bad, secure)
	cfg := forward.Config{Name: "out"}
	conf.Defaults(&cfg)
	cfg.Servers = []string{"smtp://" + f.server.l.Addr().String()}
	cfg.TLS, cfg.Recipients, cfg.DataTimeout = cmp.Or(b.tls, "off"), "any", 20*time.Second
	switch {
	case b.fault == "dot slow":
		cfg.DataTimeout = 2 * time.Second
	case strings.HasSuffix(b.fault, "slow"):
		cfg.CommandTimeout = 500 * time.Millisecond
	case strings.HasSuffix(b.fault, "stalled"):
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

// certificateOf makes a server's certificate and the roots that its client
// trusts.
func certificateOf(t *testing.T, kind string) (*tls.Config, *x509.CertPool) {
	roots := x509.NewCertPool()
	if kind == "" {
		return nil, roots
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	end := time.Now().Add(time.Hour)
	if kind == "expired" {
		end = time.Now().Add(-time.Hour)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: end,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if kind != "self-signed" {
		roots.AddCert(leaf)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}}}, roots
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
	if n := f.journal.Usage().Messages; n == 1 != (then == inQueue || then == stuck) {
		t.Errorf("%d messages are queued, want: %s", n, then)
	}
	return got
}

// offerAgain sends the message again, as a client that still has it would,
// until it is accepted, or only once more if it never will be.
func (f *fault) offerAgain(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for f.copies > 0 {
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

// ends runs the queue until it is empty, or has tried the remaining messages
// twice.
func (f *fault) ends(t *testing.T, report bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.q.Run(ctx, time.Second) }()
	defer func() { cancel(); <-done }()
	kept := f.then == stuck && f.journal.Usage().Messages == 1
	over := func() bool {
		l := f.q.List(queue.Filter{}, 0)
		return len(l) == 0 && f.journal.Usage().Messages == 0 ||
			kept && len(l) == 1 && l[0].Rcpts[0].Attempts > 1 && strings.Contains(l[0].Rcpts[0].Reply, f.words)
	}
	for deadline := time.Now().Add(30 * time.Second); !over(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("the queue still has %+v", f.q.List(queue.Filter{}, 0))
			break
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.server.mu.Lock()
	defer f.server.mu.Unlock()
	f.told.mu.Lock()
	defer f.told.mu.Unlock()
	if n := f.journal.Usage().Messages; n == 1 != kept {
		t.Errorf("%d messages are left", n)
	}
	if f.server.taken > f.copies || f.server.taken < min(f.copies, 1) || f.told.n == 1 != report || f.told.n > 1 {
		t.Errorf("%d copies, %d reports", f.server.taken, f.told.n)
	}
	if _, direct := f.hop.(*queue.Direct); !direct && !strings.Contains(f.first, f.words) {
		t.Errorf("the first attempt says %s, want %q in it", f.first, f.words)
	}
}
