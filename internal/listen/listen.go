// Package listen opens the sockets that every door of the server stands
// behind and looks at who comes in before the door does: how many connections
// there are in all, from one address and from one network, what a PROXY header
// says about the client, and TLS with its certificates.
//
// It knows no protocol. A door gives it a line to say when it turns somebody
// away and a function that serves a connection; greetings, deadlines and
// everything after that are the door's own.
package listen

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"
)

// Reason says why a connection was turned away before its door saw it.
type Reason string

// The reasons for which connections are turned away.
const (
	Full        Reason = "too many connections"
	AddressFull Reason = "too many connections from your address"
	NetworkFull Reason = "too many connections from your network"
	NoFiles     Reason = "no resources left"
)

// proxyTimeout and handshakeTimeout bound what happens before a door's own
// deadlines apply.
const (
	proxyTimeout     = 10 * time.Second
	handshakeTimeout = 30 * time.Second
)

// Options say how connections of one listener are treated.
type Options struct {
	Name      string         // for logs
	Log       zerolog.Logger // refusals at info, the rest at debug
	Gate      *Gate          // shared by all listeners; nil counts this one alone
	Limits    Limits         // zero values: no limit
	TLS       *TLS           // nil: no TLS on this listener
	Implicit  bool           // TLS from the first octet
	Proxy     bool           // every connection opens with a PROXY header
	ProxyFrom []netip.Prefix // who may bring one; empty: everybody who can connect

	// Refuse gives what a client hears that is turned away, line end
	// included. With nil, or on an implicit TLS listener, it hears nothing.
	Refuse func(Reason) string
}

// Listener accepts connections on one socket.
type Listener struct {
	socket net.Listener
	opts   Options
	gate   *Gate

	mu    sync.Mutex
	conns map[*Conn]struct{}
	empty chan struct{} // closed when the last connection goes, while draining
}

// New makes a listener of an open socket, see Sockets.Listen.
func New(socket net.Listener, opts Options) *Listener {
	gate := opts.Gate
	if gate == nil {
		gate = NewGate(0)
	}
	return &Listener{socket: socket, opts: opts, gate: gate, conns: make(map[*Conn]struct{})}
}

// Addr is where the listener can be reached.
func (l *Listener) Addr() net.Addr { return l.socket.Addr() }

// Run accepts connections until ctx ends, then closes the socket and returns
// nil; the connections live on, see Drain. Each connection is given to handle
// in a goroutine of its own, with its PROXY header read and, on an implicit
// listener, its TLS handshake done. The connection counts until it is closed,
// whether or not handle has returned; closing it is handle's duty.
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

// admit counts a new connection and starts to serve it, or turns it away.
func (l *Listener) admit(c net.Conn, handle func(*Conn)) {
	conn := newConn(c, l)
	if reason := l.enter(conn, conn.Client.Addr()); reason != "" {
		l.refuse(c, reason)
		return
	}
	go func() {
		defer func() {
			if p := recover(); p != nil {
				l.opts.Log.Error().Str("listener", l.opts.Name).Interface("panic", p).
					Bytes("stack", debug.Stack()).Msg("session ended by a panic")
				conn.Close()
			}
		}()
		if l.open(conn) {
			handle(conn)
		}
	}()
}

// enter counts conn for its client's address.
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

// open does what comes before the door: the PROXY header, then implicit TLS.
func (l *Listener) open(conn *Conn) bool {
	if l.opts.Proxy {
		if err := l.proxied(conn); err != nil {
			l.opts.Log.Info().Err(err).Str("listener", l.opts.Name).Stringer("peer", conn.Peer).Msg("no proxy header")
			conn.Close()
			return false
		}
		// The place was taken in the proxy's name; the client itself is counted now.
		if reason := l.recount(conn); reason != "" {
			l.say(conn.Conn, reason)
			conn.Close()
			return false
		}
	}
	if l.opts.Implicit {
		if err := conn.StartTLS(); err != nil {
			l.opts.Log.Debug().Err(err).Str("listener", l.opts.Name).Stringer("peer", conn.Client).Msg("tls handshake")
			conn.Close()
			return false
		}
	}
	return true
}

func (l *Listener) proxied(conn *Conn) error {
	if len(l.opts.ProxyFrom) > 0 && !contains(l.opts.ProxyFrom, conn.Peer.Addr()) {
		return fmt.Errorf("%s may not speak for others", conn.Peer.Addr())
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

// recount gives the place of the proxy back and takes one for its client.
func (l *Listener) recount(conn *Conn) Reason {
	pass, reason := l.gate.enter(l, conn.Client.Addr())
	if reason != "" {
		return reason
	}
	conn.mu.Lock()
	old := conn.pass
	if conn.closed {
		old = pass // closed by Drain meanwhile, which gave the old one back
	} else {
		conn.pass = pass
	}
	conn.mu.Unlock()
	l.gate.leave(old)
	return ""
}

// refuse turns a connection away that was not counted.
func (l *Listener) refuse(c net.Conn, reason Reason) {
	l.say(c, reason)
	c.Close()
}

// say tells the client why it must go. A few octets always fit into the socket
// buffer of a new connection, so this does not hold up the accept loop.
func (l *Listener) say(c net.Conn, reason Reason) {
	l.opts.Log.Info().Str("listener", l.opts.Name).Stringer("peer", c.RemoteAddr()).Str("reason", string(reason)).Msg("connection refused")
	if l.opts.Refuse == nil || l.opts.Implicit {
		return
	}
	if text := l.opts.Refuse(reason); text != "" {
		c.SetWriteDeadline(time.Now().Add(time.Second))
		c.Write([]byte(text))
	}
}

// shed is called when the process has no descriptor left: the spare one is
// given up for as long as it takes to tell one client so. Without it the
// client would hang in the kernel's queue, and Accept would spin.
func (l *Listener) shed(ctx context.Context, s *spare) {
	if !s.close() {
		pause(ctx, 50*time.Millisecond)
	} else if c, err := l.socket.Accept(); err == nil {
		l.refuse(c, NoFiles)
	}
	if !s.reopen() {
		pause(ctx, 50*time.Millisecond)
	}
}

// Drain waits until all connections are closed. When ctx ends before, it
// closes the rest and says how many there were.
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

// Open is the number of connections at this moment.
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

// spare is a descriptor kept for the moment when there is no other.
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
