package forward

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hoplite/internal/conf"
	"hoplite/mail"
)

// peer is a scripted server that answers verbs with fixed replies and records
// the commands.
type peer struct {
	t        *testing.T
	l        net.Listener
	replies  map[string]string // by verb; "." is the end of the message
	greeting string
	once     map[string]string // like replies, but used only once
	tls      *tls.Config       // for STARTTLS
	injected string            // sent in clear text after the reply to STARTTLS
	rcpts    int               // accepted in this transaction
	lmtp     bool
	proxied  bool     // connections begin with a PROXY header
	heads    []string // the PROXY headers
	say      func(line string) (string, bool)
	most     int    // maximum recipients per transaction; 0: no limit
	tooMany  string // the reply to further recipients
	cut      bool   // close the connection after replying to part of a message
	bdat     string // the reply to BDAT, whose octets are then read as commands
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

// answer writes a reply. "drop" closes the connection, "silent" waits for the
// client to close it, "endless" never ends, "after 3m REPLY" waits first.
func (p *peer) answer(c net.Conn, r io.Reader, reply string) bool {
	if later, ok := strings.CutPrefix(reply, "after "); ok {
		pause, rest, _ := strings.Cut(later, " ")
		d, _ := time.ParseDuration(pause)
		time.Sleep(d)
		reply = rest
	}
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
	defer func() { c.Close() }()
	r := bufio.NewReader(c)
	p.mu.Lock()
	greeting, proxied := p.greeting, p.proxied
	p.mu.Unlock()
	if proxied && !p.head(r) {
		return
	}
	if !p.answer(c, r, greeting) {
		return
	}
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		verb, arg, _ := strings.Cut(strings.ToUpper(line), " ")
		if verb == "BDAT" && p.bdat != "" {
			p.mu.Lock()
			p.lines = append(p.lines, line)
			p.mu.Unlock()
			io.WriteString(c, p.bdat+"\r\n")
			continue
		}
		if verb == "BDAT" {
			if !p.chunk(r, c, arg) {
				return
			}
			continue
		}
		reply := p.reply(line, verb)
		if verb == "STARTTLS" && p.tls != nil {
			reply = "220 go on\r\n" + p.injected
			io.WriteString(c, reply)
			secure := tls.Server(c, p.tls)
			if secure.Handshake() != nil {
				return
			}
			c, r = secure, bufio.NewReader(secure)
			continue
		}
		if !p.answer(c, r, reply) {
			return
		}
		p.count(verb, reply)
		if verb == "DATA" && strings.HasPrefix(reply, "354") && !p.message(r, c) || verb == "QUIT" {
			return
		}
	}
}

// head reads a version 2 PROXY header with IPv4 addresses.
func (p *peer) head(r io.Reader) bool {
	b := make([]byte, 28)
	if _, err := io.ReadFull(r, b); err != nil || string(b[:14]) != "\r\n\r\n\x00\r\nQUIT\n\x21\x11" {
		return false
	}
	addr := func(i, port int) netip.AddrPort {
		a, _ := netip.AddrFromSlice(b[i : i+4])
		return netip.AddrPortFrom(a, binary.BigEndian.Uint16(b[port:]))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heads = append(p.heads, "PROXY "+addr(16, 24).String()+" to "+addr(20, 26).String())
	return true
}

// count returns the number of accepted recipients.
func (p *peer) count(verb, reply string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case verb == "MAIL":
		p.rcpts = 0
	case verb == "RCPT" && reply[0] == '2':
		p.rcpts++
	}
}

// chunk reads one BDAT LAST chunk.
func (p *peer) chunk(r io.Reader, c net.Conn, arg string) bool {
	size, last, _ := strings.Cut(arg, " ")
	n, err := strconv.Atoi(size)
	b := make([]byte, n)
	if _, e := io.ReadFull(r, b); err != nil || e != nil || last != "LAST" {
		return false
	}
	p.mu.Lock()
	p.lines = append(p.lines, "BDAT "+arg)
	p.messages = append(p.messages, string(b))
	p.mu.Unlock()
	return p.final(r, c)
}

// final replies to a complete message, with LMTP once for each recipient.
func (p *peer) final(r io.Reader, c net.Conn) bool {
	p.mu.Lock()
	reply, n := p.replies["."], 1
	if p.lmtp {
		n = p.rcpts
	}
	p.mu.Unlock()
	if reply == "" {
		reply = "250 2.0.0 Ok: queued as ABC123"
	}
	for i := range n {
		one := reply
		if p.lmtp {
			one = strings.ReplaceAll(reply, "#", strconv.Itoa(i+1))
		}
		if !p.answer(c, r, one) {
			return false
		}
	}
	return true
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
			return p.answer(c, r, reply) && !p.cut
		}
		b.WriteString(strings.TrimPrefix(line, "."))
	}
	p.mu.Lock()
	p.messages = append(p.messages, b.String())
	p.mu.Unlock()
	return p.final(r, c)
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
	return handOverFor(t, hop, mail.Client{}, text, to...)
}

func handOverFor(t *testing.T, hop mail.Hop, from mail.Client, text string, to ...mail.Address) []mail.Outcome {
	t.Helper()
	return handOverTx(t, hop, mail.NewTransaction(from, "bob@example.com"), text, to...)
}

func handOverTx(t *testing.T, hop mail.Hop, tx *mail.Transaction, text string, to ...mail.Address) []mail.Outcome {
	t.Helper()
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
	m.EightBit = eightBit([]byte(text))
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
		t.Error("mistaken for a server that accepts every address")
	}
}

func itoa(i int) string { return strconv.Itoa(i) }

// set changes the script of a peer that is already listening.
func (p *peer) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

// failOnce makes the next command with this verb fail.
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

// reply returns the peer's reply to a command.
func (p *peer) reply(line, verb string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lines = append(p.lines, line)
	if s, ok := p.once[verb]; ok {
		delete(p.once, verb)
		return s
	}
	if verb == "RCPT" && p.most > 0 && p.rcpts >= p.most {
		return p.tooMany
	}
	if p.say != nil {
		if s, ok := p.say(line); ok {
			return s
		}
	}
	for _, key := range []string{line, verb} {
		if s, ok := p.replies[key]; ok {
			return s
		}
	}
	switch verb {
	case "EHLO", "LHLO":
		return "250-old.example.org\r\n250-PIPELINING\r\n250 SIZE 1000000"
	case "DATA":
		return "354 go"
	case "QUIT":
		return "221 bye"
	}
	return "250 2.0.0 ok"
}
