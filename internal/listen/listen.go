// Package listen opens the sockets of all servers and handles everything below
// their protocols: it limits connections in total, per address and per network,
// reads PROXY headers, and provides TLS and its certificates.
//
// It is independent of the protocol. A server passes it a line for refused
// clients and a function that serves a connection; greetings, deadlines and
// everything else belong to the server. Start with Config.Open and
// Listener.Run.
package listen

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"hoplite/internal/quiet"
)

// Reason is the reason for refusing a connection before it reaches its server.
type Reason string

// The reasons for refusing a connection.
const (
	Full        Reason = "too many connections"
	AddressFull Reason = "too many connections from your address"
	NetworkFull Reason = "too many connections from your network"
	NoFiles     Reason = "out of resources"
)

// proxyTimeout and handshakeTimeout apply before the server sets its own
// deadlines.
const (
	proxyTimeout     = 10 * time.Second
	handshakeTimeout = 30 * time.Second
)

// Options are the settings of one listener.
type Options struct {
	Name      string // for logs
	Log       zerolog.Logger
	Gate      *Gate          // shared by all listeners; nil counts only this one
	Readers   bool           // mail readers, which may use only part of the gate
	Limits    Limits         // zero values: no limit
	Exempt    []netip.Prefix // clients that Limits.Address and Network do not count
	TLS       *TLS           // nil: no TLS on this listener
	Implicit  bool           // TLS from the first octet
	Proxy     bool           // every connection begins with a PROXY header
	ProxyFrom []netip.Prefix // networks that may send one; empty: all

	// Refuse returns the line to send to a refused client, including its line
	// ending. If it is nil, or on an implicit TLS listener, nothing is sent.
	Refuse func(Reason) string
}

// Listener accepts connections on one socket.
type Listener struct {
	socket net.Listener
	opts   Options
	gate   *Gate
	quiet  quiet.Limiter // one line per client and reason each minute

	mu    sync.Mutex
	conns map[*Conn]struct{}
	empty chan struct{} // closed when the last connection ends during draining
}

// New returns a listener on an open socket; see Sockets.Listen.
func New(socket net.Listener, opts Options) *Listener {
	gate := opts.Gate
	if gate == nil {
		gate = NewGate(0)
	}
	return &Listener{socket: socket, opts: opts, gate: gate, conns: make(map[*Conn]struct{})}
}

// Addr returns the address of the socket.
func (l *Listener) Addr() net.Addr { return l.socket.Addr() }

// Connections returns the number of open connections.
func (l *Listener) Connections() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.conns)
}

// Run accepts connections until ctx is done, then closes the socket and returns
// nil; the connections stay open until Drain. It calls handle for each
// connection in its own goroutine, after the PROXY header and, on an implicit
// listener, the TLS handshake. handle must close the connection, which is
// counted until then.
func (l *Listener) Run(ctx context.Context, handle func(*Conn)) error {
	stop := context.AfterFunc(ctx, func() { l.socket.Close() })
	defer stop()
	defer l.socket.Close()
	spare := openSpare()
	defer func() { spare.close() }()
	for {
		c, err := l.socket.Accept()
		switch {
		case err == nil:
			l.admit(c, handle)
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept on %s: %w", l.opts.Name, err)
		case errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE):
			l.shed(ctx, spare)
		default:
			l.opts.Log.Warn().Err(err).Str("listener", l.opts.Name).Msg("accept")
			pause(ctx, 100*time.Millisecond)
		}
	}
}

// admit counts a new connection and starts serving it, or refuses it.
func (l *Listener) admit(c net.Conn, handle func(*Conn)) {
	conn := newConn(c, l)
	if reason := l.enter(conn, conn.Client.Addr()); reason != "" {
		l.refuse(conn, reason)
		return
	}
	go func() {
		defer func() {
			if p := recover(); p != nil {
				quiet.Panic(l.opts.Log.Error(), p).Str("listener", l.opts.Name).Msg("session ended by a panic")
				conn.Close()
			}
		}()
		if l.open(conn) {
			handle(conn)
		}
	}()
}

// enter counts conn under its client's address.
func (l *Listener) enter(conn *Conn, addr netip.Addr) Reason {
	pass, reason := l.gate.enter(l, addr)
	if reason != "" {
		return reason
	}
	conn.pass = pass
	l.mu.Lock()
	l.conns[conn] = struct{}{}
	l.mu.Unlock()
	return ""
}

// open reads the PROXY header and begins implicit TLS. It returns false if it
// closed the connection.
func (l *Listener) open(conn *Conn) bool {
	if l.opts.Proxy {
		if err := l.proxied(conn); err != nil {
			l.opts.Log.Info().Err(err).Str("listener", l.opts.Name).Stringer("peer", conn.Peer).Msg("no proxy header")
			conn.Close()
			return false
		}
		// Until now the connection was counted under the proxy's address.
		if reason := l.recount(conn); reason != "" {
			l.say(conn, reason)
			conn.Close()
			return false
		}
	}
	if l.opts.Implicit {
		if err := conn.StartTLS(); err != nil {
			conn.Close()
			return false
		}
	}
	return true
}

func (l *Listener) proxied(conn *Conn) error {
	if len(l.opts.ProxyFrom) > 0 && !contains(l.opts.ProxyFrom, conn.Peer.Addr()) {
		return fmt.Errorf("%s is not one of the proxies in proxy_from", conn.Peer.Addr())
	}
	conn.Conn.SetReadDeadline(time.Now().Add(proxyTimeout))
	client, local, err := readProxy(conn.Conn)
	if err != nil {
		return err
	}
	conn.Conn.SetReadDeadline(time.Time{})
	if client.IsValid() {
		conn.Client, conn.Local = client, local
	}
	return nil
}

// recount counts a connection under its client's address instead of the
// proxy's.
func (l *Listener) recount(conn *Conn) Reason {
	pass, reason := l.gate.enter(l, conn.Client.Addr())
	if reason != "" {
		return reason
	}
	conn.mu.Lock()
	old := conn.pass
	if conn.closed {
		old = pass // Drain has closed the connection and returned the old pass
	} else {
		conn.pass = pass
	}
	conn.mu.Unlock()
	l.gate.leave(old)
	return ""
}

// refuse closes a connection that was not counted.
func (l *Listener) refuse(c *Conn, reason Reason) {
	l.say(c, reason)
	c.Conn.Close()
}

// say sends the client the reason for a refusal. It does not block the accept
// loop, because a few octets always fit into the socket buffer of a new
// connection.
func (l *Listener) say(c *Conn, reason Reason) {
	l.line(c, string(reason), l.opts.Log.Warn()).Str("reason", string(reason)).Msg("connection refused")
	if l.opts.Refuse == nil || l.opts.Implicit {
		return
	}
	if text := l.opts.Refuse(reason); text != "" {
		c.SetWriteDeadline(time.Now().Add(time.Second))
		c.Write([]byte(text))
	}
}

// line adds the listener and client to a log line about a refusal. It returns
// nil if a line for the same client and reason was logged within the last
// minute.
func (l *Listener) line(c *Conn, reason string, line *zerolog.Event) *zerolog.Event {
	addr, peer := c.Client.Addr(), c.Client.String()
	key := reason
	if addr.IsValid() {
		one, _ := prefixes(addr)
		key += " " + one.String()
	} else {
		peer = c.RemoteAddr().Network()
	}
	return l.quiet.Line(key, line).Str("listener", l.opts.Name).Str("peer", peer)
}

// shed is called when the process has run out of file descriptors. It closes
// the spare one just long enough to refuse one client, which would otherwise
// hang in the kernel's queue while Accept fails in a loop.
func (l *Listener) shed(ctx context.Context, s *spare) {
	if !s.close() {
		pause(ctx, 50*time.Millisecond)
	} else if c, err := l.socket.Accept(); err == nil {
		l.refuse(newConn(c, l), NoFiles)
	}
	if !s.reopen() {
		pause(ctx, 50*time.Millisecond)
	}
}

// Drain waits until all connections are closed. If ctx is done first, it closes
// the rest and returns their number.
func (l *Listener) Drain(ctx context.Context) (cut int) {
	l.mu.Lock()
	if len(l.conns) == 0 {
		l.mu.Unlock()
		return 0
	}
	if l.empty == nil {
		l.empty = make(chan struct{})
	}
	empty := l.empty
	l.mu.Unlock()
	select {
	case <-empty:
		return 0
	case <-ctx.Done():
	}
	l.mu.Lock()
	rest := make([]*Conn, 0, len(l.conns))
	for c := range l.conns {
		rest = append(rest, c)
	}
	l.mu.Unlock()
	for _, c := range rest {
		c.Close()
	}
	return len(rest)
}

// Open returns the number of open connections.
func (l *Listener) Open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.conns)
}

func (l *Listener) leave(c *Conn, pass pass) {
	l.gate.leave(pass)
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
	if len(l.conns) == 0 && l.empty != nil {
		close(l.empty)
		l.empty = nil
	}
}

// spare is a file descriptor kept in reserve; see shed.
type spare struct{ f *os.File }

func openSpare() *spare {
	s := &spare{}
	s.reopen()
	return s
}

func (s *spare) reopen() bool {
	f, err := os.OpenFile(os.DevNull, os.O_RDONLY, fs.FileMode(0))
	s.f = f
	return err == nil
}

func (s *spare) close() bool {
	if s.f == nil {
		return false
	}
	s.f.Close()
	s.f = nil
	return true
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

func contains(nets []netip.Prefix, addr netip.Addr) bool {
	for _, n := range nets {
		if n.Contains(addr) {
			return true
		}
	}
	return false
}
