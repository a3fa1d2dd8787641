package relay

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hoplite/filters"
	"hoplite/internal/conf"
	"hoplite/internal/history"
	"hoplite/internal/listen"
	"hoplite/internal/spool"
	"hoplite/internal/users"
	"hoplite/internal/users/login"
	"hoplite/internal/users/userstest"
	"hoplite/mail"
)

// hop is a next hop that records the messages it receives. Its replies depend
// on the local part: "no" and "late" are refused at RCPT, "full", "never" and
// "closing" after the message.
type hop struct {
	mu      sync.Mutex
	got     []sent
	open    int
	asked   []string
	waiting bool
	panics  bool
}

type sent struct {
	tx   mail.Transaction
	to   []string
	data string
}

func (h *hop) Waits() bool { return h.waiting }

func (h *hop) Open(_ context.Context, tx *mail.Transaction) (mail.Handoff, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open++
	return &handoff{hop: h, tx: tx}, nil
}

func (h *hop) all() []sent {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]sent(nil), h.got...)
}

type handoff struct {
	hop    *hop
	tx     *mail.Transaction
	to     []mail.Rcpt
	closed bool
}

func (h *handoff) Rcpt(_ context.Context, r mail.Rcpt) error {
	h.hop.mu.Lock()
	defer h.hop.mu.Unlock()
	h.hop.asked = append(h.hop.asked, string(r.To))
	switch l := r.To.Local(); {
	case h.hop.waiting:
	case l == "no":
		return mail.NewReply(550, "5.1.1", "no such mailbox")
	case l == "late":
		return fmt.Errorf("disk: broken")
	}
	h.to = append(h.to, r)
	return nil
}

func (h *handoff) Send(_ context.Context, m *mail.Message) []mail.Outcome {
	if h.hop.panics {
		panic("a bug in a hop")
	}
	b, _ := io.ReadAll(m.Reader())
	s := sent{tx: *h.tx, data: string(b)}
	var out []mail.Outcome
	for _, r := range h.to {
		o := mail.Outcome{Rcpt: r.To, Reply: *mail.NewReply(250, "2.0.0", "kept for %s", r.To.Local())}
		switch {
		case h.hop.waiting:
			o.Reply = *mail.NewReply(250, "2.0.0", "queued")
		case r.To.Local() == "full":
			o.Reply = *mail.NewReply(452, "4.2.2", "mailbox full")
		case r.To.Local() == "never":
			o.Reply = *mail.NewReply(554, "5.6.0", "not this one")
		case r.To.Local() == "closing":
			o.Reply = *mail.NewReply(421, "4.3.2", "shutting down")
		}
		if o.Reply.Positive() {
			s.to = append(s.to, string(r.To))
		}
		out = append(out, o)
	}
	h.hop.mu.Lock()
	defer h.hop.mu.Unlock()
	h.hop.got = append(h.hop.got, s)
	return out
}

func (h *handoff) Close() error {
	h.hop.mu.Lock()
	defer h.hop.mu.Unlock()
	if !h.closed {
		h.hop.open--
	}
	h.closed = true
	return nil
}

// testServer is a running server with its hops, log and history.
type testServer struct {
	*Server
	addr string
	// listenAt is the address to listen on; by default it is a free loopback
	// port.
	listenAt string
	boxes    *hop
	out      *hop
	store    *users.Store
	mu       sync.Mutex
	history  []history.Record
	lines    strings.Builder
}

func (d *testServer) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.lines.Write(p)
}

func (d *testServer) log() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.lines.String()
}

func (d *testServer) records() []history.Record {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]history.Record(nil), d.history...)
}

// open starts a server on a free port. change may modify its block and Env.
func open(t testing.TB, protocol string, change func(*Config, *Env)) *testServer {
	t.Helper()
	d := parts(t, protocol, change)
	d.run(t, t.TempDir())
	return d
}

// parts returns a server without a socket.
func parts(t testing.TB, protocol string, change func(*Config, *Env)) *testServer {
	t.Helper()
	cfg := &Config{Name: "inbound", Chain: "inbound"}
	conf.Defaults(cfg)
	d := &testServer{boxes: &hop{}, out: &hop{}}
	dir := t.TempDir()
	box, err := spool.Open(dir+"/spool", 0)
	if err != nil {
		t.Fatal(err)
	}
	log := zerolog.New(d)
	d.store, err = users.Open(dir+"/users", []string{"mail.example.org"}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	if err := d.store.Update(func(b *users.Book) error {
		return b.Add(userstest.Account("ann@example.org", "secret"))
	}); err != nil {
		t.Fatal(err)
	}
	aliases := "list@example.org ann@example.org, bob@example.org\nsales@example.org ann@example.org\n" +
		"away@example.org ann@elsewhere.example\nloop@example.org round@example.org\nround@example.org loop@example.org\nhalf@example.org no@example.org, bob@example.org\n" +
		"slow@example.org late@example.org, bob@example.org\nmixed@example.org late@example.org, no@example.org, bob@example.org\n" +
		"moved@example.org bob@example.org, ann@closed.example\nsome@example.org ann@example.org, full@example.org\n" +
		"judged@example.org eve@example.org, bob@example.org\nlost@example.org x@lost.example, bob@example.org\n"
	addresses := resolver(t, d.store, aliases)
	env := Env{
		Hostname: "mail.example.org", Log: log, Spool: box, Postmaster: "ann@example.org",
		Addresses: addresses,
		Login:     login.NewGate(d.store, users.NewThrottle()),
		Chain: &Chain{Routes: []Route{
			NewRoute(&RouteConfig{Name: "here", To: []string{"local", "example.org"}, Hop: "boxes"}, []string{"mail.example.org", "localhost"}, d.boxes, nil),
			NewRoute(&RouteConfig{Name: "out", Relay: true, Hop: "internet"}, nil, d.out, nil),
		}},
		History: func(r history.Record, data zerolog.LogObjectMarshaler) {
			r.Data = history.JSON(data)
			d.mu.Lock()
			defer d.mu.Unlock()
			d.history = append(d.history, r)
		},
	}
	if change != nil {
		change(cfg, &env)
	}
	d.Server = New(cfg, protocol, env)
	d.opts.Limits.Delay = -1
	return d
}

func (d *testServer) run(t testing.TB, dir string) {
	t.Helper()
	pair, err := listen.SelfSigned(dir+"/tls", zerolog.Nop(), "mail.example.org")
	if err != nil {
		t.Fatal(err)
	}
	certs, err := listen.LoadCerts([]listen.Pair{pair}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	sockets := listen.NewSockets()
	t.Cleanup(sockets.Close)
	d.cfg.Listen = []conf.Listen{{Network: "tcp", Address: cmp.Or(d.listenAt, "127.0.0.1:0")}}
	all, err := d.cfg.Config.Open(d.cfg.Name, sockets, certs, dir, listen.Options{Log: d.Server.log, Refuse: d.Refuse})
	if err != nil {
		t.Fatal(err)
	}
	l := all[0]
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	d.addr = net.JoinHostPort("127.0.0.1", port)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { l.Run(ctx, d.Handle) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		now, stop := context.WithCancel(context.Background())
		stop()
		l.Drain(now)
		d.Close()
		over, stop := context.WithTimeout(context.Background(), 20*time.Second)
		defer stop()
		d.lib.Shutdown(over)
		d.boxes.mu.Lock()
		defer d.boxes.mu.Unlock()
		if d.boxes.open != 0 {
			t.Errorf("%d handoffs not closed", d.boxes.open)
		}
	})
}

// chainOf returns a chain of filters.
func chainOf(f ...filters.Entry) *filters.Chain { return &filters.Chain{Name: "inbound", Entries: f} }

// client is a client of a testServer.
type client struct {
	net.Conn
	r *bufio.Reader
	t testing.TB
}

func (d *testServer) dial(t testing.TB) *client {
	t.Helper()
	c := d.connect(t)
	c.want("220")
	return c
}

// connect connects without reading the greeting.
func (d *testServer) connect(t testing.TB) *client {
	t.Helper()
	c, err := net.Dial("tcp", d.addr)
	if err != nil {
		t.Fatal(err)
	}
	return wrap(t, c)
}

func wrap(t testing.TB, c net.Conn) *client {
	c.SetDeadline(time.Now().Add(30 * time.Second))
	t.Cleanup(func() { c.Close() })
	return &client{Conn: c, r: bufio.NewReader(c), t: t}
}

// hello connects and sends EHLO or LHLO.
func (d *testServer) hello(t testing.TB) *client {
	t.Helper()
	c := d.dial(t)
	if d.lmtp {
		c.say("LHLO client.example.net", "250")
	} else {
		c.say("EHLO client.example.net", "250")
	}
	return c
}

func (c *client) reply() string {
	c.t.Helper()
	var all []string
	for {
		line, err := c.r.ReadString('\n')
		if ne, ok := err.(net.Error); ok && ne.Timeout() {
			c.t.Fatal("no reply")
		}
		if err != nil {
			return strings.Join(all, "|")
		}
		all = append(all, strings.TrimSpace(line))
		if len(line) < 4 || line[3] != '-' {
			return strings.Join(all, "|")
		}
	}
}

func (c *client) want(prefix string) string {
	c.t.Helper()
	got := c.reply()
	if !strings.HasPrefix(got, prefix) || prefix == "" && got != "" {
		c.t.Errorf("got %q, want %q", got, prefix)
	}
	return got
}

func (c *client) say(line, prefix string) string {
	c.t.Helper()
	if _, err := io.WriteString(c, line+"\r\n"); err != nil {
		c.t.Logf("send: %v", err)
	}
	got := c.reply()
	if !strings.HasPrefix(got, prefix) || prefix == "" && got != "" {
		c.t.Errorf("%.60q: got %q, want %q", line, got, prefix)
	}
	return got
}

// settle waits until the server has completed the work that it postpones until
// after its reply. The server completes it before reading another command.
func (c *client) settle() {
	io.WriteString(c, "NOOP\r\n")
	c.reply()
}

// send sends a message to recipients, all of which must be accepted. When it
// returns, the log and history are complete.
func (c *client) send(body, want string, to ...string) string {
	c.t.Helper()
	c.say("MAIL FROM:<sender@example.net>", "250")
	for _, r := range to {
		c.say("RCPT TO:<"+r+">", "25")
	}
	c.say("DATA", "354")
	got := c.say(body+".", want)
	c.settle()
	return got
}

func (c *client) startTLS() {
	c.t.Helper()
	c.say("STARTTLS", "220")
	tc := tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true})
	if err := tc.Handshake(); err != nil {
		c.t.Fatal(err)
	}
	c.Conn, c.r = tc, bufio.NewReader(tc)
	c.say("EHLO client.example.net", "250")
}
