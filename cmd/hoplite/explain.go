package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/textproto"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"hoplite/internal/conf"
	"hoplite/internal/history"
	"hoplite/internal/listen"
	"hoplite/internal/spool"
	"hoplite/internal/users"
	"hoplite/internal/users/login"
	"hoplite/mail"
	"hoplite/relay"
)

// question is what explain is asked.
type question struct {
	Listener string
	IP       netip.Addr
	Helo     string
	User     string // as if this account had logged in
	From     string
	To       []string
	Message  []byte // CRLF or LF; nil stops before DATA
	Ask      bool   // ask upstreams about recipients
	Temp     string // where to work; "" is the system's folder, which the sandbox closes to the server
}

// explanation is what the door would say and do.
type explanation struct {
	Listener string `json:"listener"`
	Chain    string `json:"chain"`
	Dialogue []line `json:"dialogue"`
	Paths    []path `json:"paths,omitempty"` // where addresses lead
	Ways     []way  `json:"ways,omitempty"`  // where mail would go
	// Story is the transaction as history would keep it.
	Story json.RawMessage `json:"story,omitempty"`
	trail mail.Trail
	code  int // of the last reply
	taken int // recipients
}

type line struct {
	Client string   `json:"client,omitempty"`
	Server []string `json:"server"`
}

type path struct {
	Address string   `json:"address"`
	Steps   []string `json:"steps,omitempty"`
	Leads   []string `json:"leads"`
}

type way struct {
	To    string `json:"to"`
	Hop   string `json:"hop"`
	Words string `json:"words"`
}

// anyPassword lets one account log in: explain speaks in its name.
type anyPassword struct{ *users.Store }

func (a anyPassword) Verify(_ context.Context, name, _ string) (*users.Account, error) {
	acc, ok := a.Account(name)
	if !ok {
		return nil, users.ErrBadLogin
	}
	return acc, nil
}

func (a anyPassword) Known(string, string) (*users.Account, bool) { return nil, false }

// noListener is a question about a listener that is not there.
func noListener(cfg *Config, name string) error {
	var known []string
	for _, d := range cfg.mailDoors() {
		known = append(known, d.Name)
	}
	if len(known) == 0 {
		return errors.New("no smtp or lmtp listener is configured")
	}
	return fmt.Errorf("no smtp or lmtp listener is called %q. %s", name, conf.Known(name, known, ""))
}

// explain lets the real door answer a client that is not there.
func explain(ctx context.Context, cfg *Config, diags *conf.Diagnostics, q question) (*explanation, error) {
	c, protocol := findListener(cfg, q.Listener)
	if c == nil {
		return nil, noListener(cfg, q.Listener)
	}
	log := zerolog.Nop()
	tmp, err := os.MkdirTemp(q.Temp, "hoplite-explain-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	h, seen, err := dryHouse(cfg, diags, q.Ask, tmp, log)
	if err != nil {
		return nil, err
	}
	defer h.closeHops()
	if _, ok := h.accounts.Account(q.User); !ok && q.User != "" {
		return nil, fmt.Errorf("there is no account %q: hoplite user list shows all", q.User)
	}
	x := &explanation{Listener: c.Name, Chain: c.Chain}
	env, err := h.dryEnv(c, q, tmp)
	if err != nil {
		return nil, err
	}
	done := make(chan history.Record, 4)
	env.History = func(r history.Record, story zerolog.LogObjectMarshaler) {
		r.Data = history.JSON(story)
		select {
		case done <- r:
		default:
		}
	}
	if q.Ask {
		h.look(ctx)
	}
	if err := x.converse(ctx, c, protocol, env, tmp, q); err != nil {
		return nil, err
	}
	select {
	case r := <-done:
		x.Story = r.Data
		var story struct{ Trail mail.Trail }
		json.Unmarshal(r.Data, &story)
		x.trail = story.Trail
	default:
	}
	x.Ways = seen.list
	for _, to := range q.To {
		x.Paths = append(x.Paths, h.pathOf(to))
	}
	return x, nil
}

func findListener(cfg *Config, name string) (*relay.Config, string) {
	for _, c := range cfg.SMTP {
		if name == "" || c.Name == name {
			return c, "smtp"
		}
	}
	for _, c := range cfg.LMTP {
		if name == "" || c.Name == name {
			return c, "lmtp"
		}
	}
	return nil, ""
}

// dryEnv is what the door gets in a dry run.
func (h *house) dryEnv(c *relay.Config, q question, tmp string) (relay.Env, error) {
	dir, err := spool.Open(filepath.Join(tmp, "spool"), 0)
	if err != nil {
		return relay.Env{}, err
	}
	chain, ok := h.chains[c.Chain]
	if !ok {
		return relay.Env{}, fmt.Errorf("there is no chain %q", c.Chain)
	}
	env := relay.Env{
		Hostname: h.cfg.Hostname, Log: h.log, Spool: dir, Chain: chain, Trusted: h.cfg.Trusted,
		Postmaster: h.cfg.Postmaster, Addresses: h.resolver, DNS: h.dns, Carry: h.carry(chain),
	}
	if q.User != "" {
		env.Login = login.NewGate(anyPassword{h.accounts}, h.throttle)
	}
	return env, nil
}

// pathOf is where an address leads.
func (h *house) pathOf(to string) path {
	p := path{Address: to}
	found, err := h.resolver.Resolve(to)
	if err != nil {
		p.Leads = []string{err.Error()}
		return p
	}
	for _, s := range found.Path {
		p.Steps = append(p.Steps, fmt.Sprintf("%s -> %s (%s)", s.From, strings.Join(s.To, ", "), s.By))
	}
	for _, f := range found.Finals {
		text := f.Address
		if f.Folder != "" {
			text += ", folder " + f.Folder
		}
		p.Leads = append(p.Leads, text)
	}
	return p
}

// converse plays the client, on a socket of its own whose PROXY header names
// the address that is asked about.
func (x *explanation) converse(ctx context.Context, c *relay.Config, protocol string, env relay.Env, tmp string, q question) error {
	block := *c
	block.TLS, block.CleartextLogin, block.MinRate = "off", true, 0
	if q.User != "" && block.Auth == "off" {
		block.Auth = "optional"
	}
	server := relay.New(&block, protocol, env)
	defer server.Close()
	socket, err := net.Listen("unix", filepath.Join(tmp, "s"))
	if err != nil {
		return err
	}
	l := listen.New(socket, listen.Options{Name: c.Name, Log: env.Log, Proxy: true})
	ctx, stop := context.WithTimeout(ctx, 3*time.Minute)
	defer stop()
	go l.Run(ctx, server.Handle)
	conn, err := net.Dial("unix", filepath.Join(tmp, "s"))
	if err != nil {
		return err
	}
	defer conn.Close()
	context.AfterFunc(ctx, func() { conn.Close() })
	fmt.Fprint(conn, proxyLine(q.IP))
	talk := &dryTalk{conn: conn, in: textproto.NewReader(bufio.NewReader(conn)), x: x}
	err = talk.run(protocol, q)
	conn.Close()
	l.Drain(ctx)
	return err
}

func proxyLine(ip netip.Addr) string {
	if ip.Is4() {
		return fmt.Sprintf("PROXY TCP4 %s 127.0.0.1 40000 25\r\n", ip)
	}
	return fmt.Sprintf("PROXY TCP6 %s ::1 40000 25\r\n", ip)
}

// dryTalk is the dialogue of a dry run.
type dryTalk struct {
	conn net.Conn
	in   *textproto.Reader
	x    *explanation
}

// say sends a line and keeps the answer; ok tells a positive one.
func (t *dryTalk) say(text string) (ok bool, err error) {
	if text != "" {
		fmt.Fprintf(t.conn, "%s\r\n", text)
	}
	l := line{Client: text}
	for {
		got, err := t.in.ReadLine()
		if err != nil {
			if errors.Is(err, io.EOF) && len(l.Server) > 0 {
				break
			}
			return false, fmt.Errorf("dry run: %w", err)
		}
		l.Server = append(l.Server, got)
		if len(got) < 4 || got[3] != '-' {
			break
		}
	}
	t.x.Dialogue = append(t.x.Dialogue, l)
	last := l.Server[len(l.Server)-1]
	fmt.Sscanf(last, "%d", &t.x.code)
	return t.x.code < 400, nil
}

func (t *dryTalk) run(protocol string, q question) error {
	hello := "EHLO "
	if protocol == "lmtp" {
		hello = "LHLO "
	}
	steps := []string{"", hello + q.Helo}
	if q.User != "" {
		steps = append(steps, "AUTH PLAIN "+plainToken(q.User))
	}
	from := "MAIL FROM:<" + q.From + ">"
	if slices.ContainsFunc(append([]string{q.From}, q.To...), func(a string) bool { return mail.Address(a).NeedsUTF8() }) {
		from += " SMTPUTF8" // as a real client would (RFC 6531, 3.4)
	}
	if q.Message != nil {
		from += fmt.Sprintf(" SIZE=%d", len(q.Message))
	}
	for _, s := range append(steps, from) {
		if ok, err := t.say(s); err != nil || !ok {
			return err
		}
	}
	for _, to := range q.To {
		ok, err := t.say("RCPT TO:<" + to + ">")
		if err != nil {
			return err
		}
		if ok {
			t.x.taken++
		}
	}
	if q.Message != nil && t.x.taken > 0 {
		if ok, err := t.say("DATA"); err != nil || !ok {
			return err
		}
		body := bytes.ReplaceAll(bytes.ReplaceAll(q.Message, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
		w := textproto.NewWriter(bufio.NewWriter(t.conn)).DotWriter()
		w.Write(body)
		if err := w.Close(); err != nil {
			return fmt.Errorf("dry run: %w", err)
		}
		if _, err := t.say(""); err != nil {
			return err
		}
	}
	code := t.x.code
	_, err := t.say("QUIT")
	t.x.Dialogue = t.x.Dialogue[:len(t.x.Dialogue)-1]
	t.x.code = code
	return err
}
