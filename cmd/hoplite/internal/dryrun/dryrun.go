// Package dryrun answers what would happen to a message, without sending it.
//
// Run starts the real SMTP or LMTP server on a socket of its own, with the
// chains, accounts and addresses of a configuration, and speaks to it as the
// client in question (client.go). Hops check recipients like the real ones and
// store nothing (hops.go). The server's running state is not touched: what must
// be written goes into a temporary folder. Explanation.Print prints the result.
package dryrun

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"hoplite/cmd/hoplite/internal/assembly"
	"hoplite/cmd/hoplite/internal/config"
	"hoplite/internal/conf"
	"hoplite/internal/history"
	"hoplite/internal/listen"
	"hoplite/internal/spool"
	"hoplite/internal/users"
	"hoplite/internal/users/login"
	"hoplite/mail"
	"hoplite/relay"
)

// Question is a client and a message to be tried.
type Question struct {
	// Listener is the name of the smtp or lmtp block; empty for the first.
	Listener string
	// IP is the client's address.
	IP netip.Addr
	// Helo is the name in its EHLO.
	Helo string
	// User is the account that it has logged in to; empty for none.
	User string
	// From is the reverse path.
	From string
	// To are the recipients.
	To []string
	// Message is the message, with CRLF or LF; nil stops before DATA.
	Message []byte
	// Ask makes upstreams check the recipients.
	Ask bool
	// Temp is where temporary files are made; empty for the system's folder, to
	// which a sandboxed server has no access.
	Temp string
}

// Explanation is what the listener would reply and do.
type Explanation struct {
	Listener string `json:"listener"`
	Chain    string `json:"chain"`
	Dialogue []line `json:"dialogue"`
	Paths    []path `json:"paths,omitempty"` // how addresses resolve
	Ways     []way  `json:"ways,omitempty"`  // which hops take the mail
	// Story is the transaction as history would record it.
	Story json.RawMessage `json:"story,omitempty"`

	trail    mail.Trail
	code     int // of the last reply
	accepted int // recipients
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

// Run tries a question on a configuration.
func Run(ctx context.Context, cfg *config.Config, diags *conf.Diagnostics, q Question) (*Explanation, error) {
	l, ok := cfg.FindListener(q.Listener)
	if !ok {
		return nil, unknownListener(cfg, q.Listener)
	}
	tmp, err := os.MkdirTemp(q.Temp, "hoplite-explain-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	r, err := newRun(cfg, diags, q, tmp)
	if err != nil {
		return nil, err
	}
	defer r.close()
	if _, ok := r.g.Accounts.Account(q.User); !ok && q.User != "" {
		return nil, fmt.Errorf("there is no account %q: hoplite user list shows all", q.User)
	}
	env, err := r.serverEnv(l)
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
		r.g.AskUpstreams(ctx)
	}
	x := &Explanation{Listener: l.Name, Chain: l.Chain}
	if err := r.converse(ctx, x, l, env); err != nil {
		return nil, err
	}
	select {
	case rec := <-done:
		x.Story = rec.Data
		var story struct{ Trail mail.Trail }
		json.Unmarshal(rec.Data, &story)
		x.trail = story.Trail
	default:
	}
	x.Ways = r.taken.list
	for _, to := range q.To {
		x.Paths = append(x.Paths, r.resolve(to))
	}
	return x, nil
}

// unknownListener is the error for a listener that does not exist.
func unknownListener(cfg *config.Config, name string) error {
	var known []string
	for _, l := range cfg.MailListeners() {
		known = append(known, l.Name)
	}
	if len(known) == 0 {
		return errors.New("no smtp or lmtp listener is configured")
	}
	return fmt.Errorf("no smtp or lmtp listener is called %q. %s", name, conf.Known(name, known, ""))
}

// run is one dry run: a generation whose hops store nothing.
type run struct {
	g        *assembly.Generation
	q        Question
	tmp      string
	throttle *users.Throttle
	taken    *ways
}

func newRun(cfg *config.Config, diags *conf.Diagnostics, q Question, tmp string) (*run, error) {
	r := &run{g: assembly.New(cfg, diags, zerolog.Nop()), q: q, tmp: tmp, throttle: users.NewThrottle(), taken: &ways{}}
	for _, step := range []func() error{
		r.g.OpenDNS,
		func() error { return r.g.OpenDirectory(r.throttle, nil) },
		r.openHops,
		r.g.BuildChains,
		r.g.Err,
	} {
		if err := step(); err != nil {
			r.close()
			return nil, err
		}
	}
	return r, nil
}

// close closes the hops.
func (r *run) close() {
	for _, s := range r.g.Stores() {
		s.Close()
	}
	for _, up := range r.g.Upstreams {
		up.Close()
	}
}

// serverEnv returns what the listener's server needs.
func (r *run) serverEnv(l config.MailListener) (relay.Env, error) {
	dir, err := spool.Open(filepath.Join(r.tmp, "spool"), 0)
	if err != nil {
		return relay.Env{}, err
	}
	chain, ok := r.g.Chains[l.Chain]
	if !ok {
		return relay.Env{}, fmt.Errorf("there is no chain %q", l.Chain)
	}
	cfg := r.g.Config
	env := relay.Env{
		Hostname: cfg.Hostname, Names: cfg.Names, Log: r.g.Log, Spool: dir, Chain: chain, Trusted: cfg.Trusted,
		Postmaster: cfg.Postmaster, Addresses: r.g.Directory, DNS: r.g.DNS, Carry: r.g.Carry(chain),
	}
	if r.q.User != "" {
		env.Login = login.NewGate(anyPassword{r.g.Accounts}, r.throttle)
	}
	return env, nil
}

// anyPassword accepts every password, so that the client can act as an account.
type anyPassword struct{ *users.Store }

func (a anyPassword) Verify(_ context.Context, name, _ string) (*users.Account, error) {
	acc, ok := a.Account(name)
	if !ok {
		return nil, users.ErrBadLogin
	}
	return acc, nil
}

// resolve returns how an address resolves.
func (r *run) resolve(to string) path {
	p := path{Address: to}
	found, err := r.g.Resolve(to)
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

// converse serves one connection of the client, whose address a PROXY header
// names.
func (r *run) converse(ctx context.Context, x *Explanation, l config.MailListener, env relay.Env) error {
	block := *l.Config
	block.TLS, block.CleartextLogin, block.MinRate = "off", true, 0
	if r.q.User != "" && block.Auth == "off" {
		block.Auth = "optional"
	}
	server := relay.New(&block, l.Protocol, env)
	defer server.Close()
	at := filepath.Join(r.tmp, "s")
	socket, err := net.Listen("unix", at)
	if err != nil {
		return err
	}
	listener := listen.New(socket, listen.Options{Name: l.Name, Log: env.Log, Proxy: true})
	ctx, stop := context.WithTimeout(ctx, 3*time.Minute)
	defer stop()
	go listener.Run(ctx, server.Handle)
	conn, err := net.Dial("unix", at)
	if err != nil {
		return err
	}
	defer conn.Close()
	context.AfterFunc(ctx, func() { conn.Close() })
	err = newClient(conn, r.q.IP, x).run(l.Protocol, r.q)
	conn.Close()
	listener.Drain(ctx)
	return err
}
