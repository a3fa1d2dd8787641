package forward

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"hoplite/internal/conf"
	"hoplite/mail"
)

// peer is a scripted server: it answers verbs with fixed replies and keeps
// what it was told.
type peer struct {
	t        *testing.T
	l        net.Listener
	replies  map[string]string // by verb, "." for the end of the message
	greeting string
	once     map[string]string // like replies, for one time
	mu       sync.Mutex
	lines    []string
	messages []string
	conns    int
}

func newPeer(t *testing.T, replies map[string]string) *peer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, l: l, replies: replies, greeting: "220 old.example.org ready"}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.conns++
			p.mu.Unlock()
			go p.serve(c)
		}
	}()
	return p
}

// answer writes a reply: "drop" closes the connection, "silent" waits for the
// client to go, "endless" never comes to an end.
func (p *peer) answer(c net.Conn, r io.Reader, reply string) bool {
	switch reply {
	case "drop":
		return false
	case "silent":
		io.Copy(io.Discard, r)
		return false
	case "endless":
		for {
			if _, err := io.WriteString(c, "220-and on and on\r\n"); err != nil {
				return false
			}
		}
	}
	_, err := io.WriteString(c, reply+"\r\n")
	return err == nil
}

// serve answers one connection.
func (p *peer) serve(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	p.mu.Lock()
	greeting := p.greeting
	p.mu.Unlock()
	if !p.answer(c, r, greeting) {
		return
	}
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		verb, _, _ := strings.Cut(strings.ToUpper(line), " ")
		reply := p.reply(line, verb)
		if !p.answer(c, r, reply) {
			return
		}
		if verb == "DATA" && strings.HasPrefix(reply, "354") && !p.message(r, c) || verb == "QUIT" {
			return
		}
	}
}

func (p *peer) message(r *bufio.Reader, c net.Conn) bool {
	var b bytes.Buffer
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return false
		}
		if line == ".\r\n" {
			break
		}
		if reply, ok := p.replies["body"]; ok {
			return p.answer(c, r, reply)
		}
		b.WriteString(strings.TrimPrefix(line, "."))
	}
	p.mu.Lock()
	p.messages = append(p.messages, b.String())
	p.mu.Unlock()
	reply := p.replies["."]
	if reply == "" {
		reply = "250 2.0.0 Ok: queued as ABC123"
	}
	return p.answer(c, r, reply)
}

func (p *peer) url() string { return "smtp://" + p.l.Addr().String() }

func (p *peer) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n")
}

func upstream(t *testing.T, servers []string, change func(*Config)) *Upstream {
	t.Helper()
	cfg := Config{}
	conf.Defaults(&cfg)
	cfg.Name, cfg.Servers, cfg.TLS = "old", servers, "off"
	if change != nil {
		change(&cfg)
	}
	u, err := New(cfg, Env{Hostname: "relay.example.org", Data: t.TempDir(), Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.Close)
	return u
}

func handOver(t *testing.T, hop mail.Hop, text string, to ...mail.Address) []mail.Outcome {
	t.Helper()
	tx := mail.NewTransaction(mail.Client{}, "bob@example.com")
	h, err := hop.Open(context.Background(), tx)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	var out []mail.Outcome
	for _, a := range to {
		if err := h.Rcpt(context.Background(), mail.Rcpt{To: a, Orig: a}); err != nil {
			out = append(out, mail.Outcome{Rcpt: a, Reply: *mail.AsReply(err)})
		}
	}
	m, err := mail.NewMessage(mail.Bytes(text))
	if err != nil {
		t.Fatal(err)
	}
	return append(out, h.Send(context.Background(), m)...)
}

func replies(out []mail.Outcome) string {
	var list []string
	for _, o := range out {
		list = append(list, string(o.Rcpt)+": "+o.Reply.String())
	}
	return strings.Join(list, "\n")
}

func TestSend(t *testing.T) {
	const text = "Subject: x\r\n\r\n.dot\r\n..two\r\nend\r\n"
	for name, ehlo := range map[string]string{
		"pipelined": "250-old\r\n250 PIPELINING",
		"lock-step": "250 old",
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, map[string]string{"EHLO": ehlo, "RCPT TO:<no@example.org>": "550 5.1.1 no such user"})
			u := upstream(t, []string{p.url()}, nil)
			for range 2 { // the second time on the same connection
				out := handOver(t, u, text, "ann@example.org", "no@example.org")
				want := "ann@example.org: 250 2.0.0 Ok: queued as ABC123\nno@example.org: 550 5.1.1 no such user"
				if got := replies(out); got != want {
					t.Fatalf("got\n%s\nwant\n%s", got, want)
				}
				if out[0].RemoteID != "ABC123" || out[0].Host != "127.0.0.1" {
					t.Errorf("outcome %+v", out[0])
				}
			}
			if got := p.mail(); len(got) != 2 || got[0] != text || p.conns != 1 {
				t.Errorf("%d connections, messages %q", p.conns, got)
			}
		})
	}
}

func TestEveryoneRefused(t *testing.T) {
	p := newPeer(t, map[string]string{"RCPT": "550 5.7.1 not you", "DATA": "354 go", ".": "554 5.5.1 no valid recipients"})
	u := upstream(t, []string{p.url()}, nil)
	for range 2 {
		if got := replies(handOver(t, u, "A: b\r\n\r\n", "ann@example.org")); got != "ann@example.org: 550 5.7.1 not you" {
			t.Error(got)
		}
	}
}

func TestCallAhead(t *testing.T) {
	p := newPeer(t, map[string]string{"RCPT": "550 5.1.1 no such user", "RCPT TO:<ann@example.org>": "250 ok"})
	u := upstream(t, []string{p.url()}, nil)
	for range 3 {
		out := handOver(t, u.Inline(), "A: b\r\n\r\n", "ann@example.org", "no@example.org")
		want := "no@example.org: 550 5.1.1 no such user\nann@example.org: 250 2.0.0 Ok: queued as ABC123"
		if got := replies(out); got != want {
			t.Fatalf("got\n%s\nwant\n%s", got, want)
		}
	}
	if n := strings.Count(p.said(), "RCPT TO:<no@example.org>"); n != 1 {
		t.Errorf("asked %d times for a recipient whose answer is known", n)
	}
	if u.AcceptsAll("example.org") {
		t.Error("taken for a server that accepts everybody")
	}
}

func itoa(i int) string { return strconv.Itoa(i) }

func (p *peer) setGreeting(s string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.greeting = s
}

// failOnce makes one command fail, the next time it comes.
func (p *peer) failOnce(verb, reply string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.once = map[string]string{verb: reply}
}

func (p *peer) mail() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.messages)
}

// reply is what the peer says to a command.
func (p *peer) reply(line, verb string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lines = append(p.lines, line)
	if s, ok := p.once[verb]; ok {
		delete(p.once, verb)
		return s
	}
	for _, key := range []string{line, verb} {
		if s, ok := p.replies[key]; ok {
			return s
		}
	}
	switch verb {
	case "EHLO":
		return "250-old.example.org\r\n250-PIPELINING\r\n250 SIZE 1000000"
	case "DATA":
		return "354 go"
	case "QUIT":
		return "221 bye"
	}
	return "250 2.0.0 ok"
}
