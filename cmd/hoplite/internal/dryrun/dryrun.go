// Package dryrun determines what would happen to a message, without sending it.
//
// Run starts the real SMTP or LMTP server on a separate socket, with the
// chains, accounts and addresses of a configuration, and connects to it as the
// given client (client.go). Hops check recipients as the real ones do but store
// nothing (hops.go). The state of a running server is not touched; files are
// written to a temporary folder. Explanation.Print prints the result.
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
	"slices"
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
	"hoplite/internal/users/authority"
	"hoplite/internal/users/login"
	"hoplite/mail"
	"hoplite/relay"
	"hoplite/relay/forward"
)

// Question describes the client and message to try.
type Question struct {
	// Listener is the name of the smtp or lmtp block. If it is empty, the first
	// one is used.
	Listener string
	// IP is the client's address.
	IP netip.Addr
	// Helo is the name in the client's EHLO.
	Helo string
	// User is the account that the client is logged in to, or "" if it is not
	// logged in.
	User string
	// From is the reverse path.
	From string
	// To lists the recipients.
	To []string
	// Message is the message, with CRLF or LF line endings. If it is nil, the
	// dialogue ends before DATA.
	Message []byte
	// Ask permits asking upstreams about the recipients.
	Ask bool
	// Offers holds the upstreams' extensions as known to a running server; they
	// determine the extensions that the listener offers. It may be nil.
	Offers map[string]forward.Offer
	// Temp is the folder for temporary files. If it is empty, the system's
	// folder is used, to which a sandboxed server has no access.
	Temp string
}

// Explanation describes the replies and actions of the listener.
type Explanation struct {
	Listener string `json:"listener"`
	Chain    string `json:"chain"`
	Dialogue []line `json:"dialogue"`
	Paths    []path `json:"paths,omitempty"` // how addresses resolve
	Ways     []way  `json:"ways,omitempty"`  // hops that accept the mail
	// Rules lists the rules without a verdict; the verdicts are in Story.
	Rules []Rule `json:"rules"`
	// Result is the overall verdict; see Verdict.
	Result string `json:"verdict"`
	// Story is the transaction's record as it would appear in history.
	Story json.RawMessage `json:"story,omitempty"`

	trail    mail.Trail
	code     int // code of the last reply
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

	rcpt mail.Rcpt
}

// Run determines the answer to a question for a configuration.
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
	if q.User != "" && !r.g.Accounts.MayExist(q.User) {
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
	if x.reached("MAIL ") {
		select { // the session may end slightly later than the connection
		case rec := <-done:
			r.read(x, rec.Data)
		case <-time.After(5 * time.Second):
		}
	}
	x.Ways = r.taken.list
	for _, to := range q.To {
		x.Paths = append(x.Paths, r.resolve(to))
	}
	x.Result = x.Verdict()
	return x, nil
}

// reached reports whether the client sent a line that begins with prefix.
func (x *Explanation) reached(prefix string) bool {
	return slices.ContainsFunc(x.Dialogue, func(l line) bool { return strings.HasPrefix(l.Client, prefix) })
}

// read completes an explanation with the record of the transaction.
func (r *run) read(x *Explanation, record json.RawMessage) {
	x.Story = record
	var story struct {
		Client mail.Client
		Trail  mail.Trail
	}
	json.Unmarshal(record, &story)
	x.trail = story.Trail
	x.trail.Events = slices.DeleteFunc(x.trail.Events, func(e mail.Event) bool {
		return e.By == "listener" && strings.HasPrefix(e.Reason, "no message: ") // the dry run's own QUIT
	})
	x.Rules = r.rules(r.g.Chains[x.Chain], &story.Client, &x.trail)
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
		r.g.OpenDNS, r.g.OpenDirectories,
		func() error { return r.g.OpenDirectory(nil, r.throttle, nil) },
		r.openHops,
		func() error { r.g.Known = q.Offers; return nil },
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
	for _, d := range r.g.Directories {
		d.Close()
	}
}

// serverEnv returns the dependencies of the listener's server.
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
		Later: r.later,
		Bounce: func(context.Context, *mail.Transaction, *mail.Message, []mail.Outcome) (mail.Address, error) {
			return "", nil
		},
	}
	if r.q.User != "" {
		env.Login = login.NewGate(anyPassword{r.g.Accounts}, r.throttle)
	}
	return env, nil
}

// anyPassword accepts every password, so that the client can act as an account.
type anyPassword struct{ *authority.Accounts }

func (a anyPassword) Verify(_ context.Context, name, _ string) (*users.Account, error) {
	if acc, ok := a.Account(name); ok {
		return acc, nil
	}
	if !a.MayExist(name) {
		return nil, users.ErrBadLogin
	}
	return &users.Account{Name: a.LoginName(name)}, nil
}

// resolve returns the resolution of an address.
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

// converse serves one connection from the client. The client's address is
// passed in a PROXY header, unless the client is a program on this machine;
// then the connection itself comes from that address.
func (r *run) converse(ctx context.Context, x *Explanation, l config.MailListener, env relay.Env) error {
	block := *l.Config
	block.MinRate = 0
	if r.q.User != "" && block.Auth == "off" {
		block.Auth = "optional"
	}
	server := relay.New(&block, l.Protocol, env)
	defer server.Close()
	opts := listen.Options{Name: l.Name, Log: env.Log}
	mode := l.Mode(l.Listen[0])
	if mode != "off" {
		if err := r.addTLS(&opts); err != nil {
			return err
		}
		opts.Implicit = mode == "implicit"
	}
	network, at := "unix", filepath.Join(r.tmp, "s")
	dial := net.Dialer{}
	if address, ok := onLoopback(&block, r.q.IP); ok {
		network, at = "tcp", address
		dial.LocalAddr = &net.TCPAddr{IP: r.q.IP.AsSlice()}
	}
	opts.Proxy = network == "unix"
	socket, err := net.Listen(network, at)
	if err != nil {
		return fmt.Errorf("dry run: %w", err)
	}
	listener := listen.New(socket, opts)
	ctx, stop := context.WithTimeout(ctx, 3*time.Minute)
	defer stop()
	go listener.Run(ctx, server.Handle)
	conn, err := dial.DialContext(ctx, network, socket.Addr().String())
	if err != nil {
		return fmt.Errorf("dry run: %w", err)
	}
	defer conn.Close()
	context.AfterFunc(ctx, func() { conn.Close() })
	c := newClient(conn, x)
	if opts.Proxy {
		c.proxy(r.q.IP)
	}
	err = c.run(l.Protocol, mode, r.q)
	conn.Close()
	listener.Drain(ctx)
	return err
}

// addTLS creates a certificate for the listener, so that it offers STARTTLS
// like the real one.
func (r *run) addTLS(opts *listen.Options) error {
	pair, err := listen.SelfSigned(filepath.Join(r.tmp, "tls"), r.g.Log, r.g.Config.Hostname)
	if err != nil {
		return err
	}
	certs, err := listen.LoadCerts([]listen.Pair{pair}, r.g.Log)
	if err != nil {
		return err
	}
	opts.TLS = listen.NewTLS(certs, listen.Profile{})
	return nil
}
