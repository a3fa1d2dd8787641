package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// Conn is a connection that was let in. Reads and writes go to the client, in
// TLS once StartTLS has succeeded.
type Conn struct {
	net.Conn

	// Client is who speaks, taken from the PROXY header where there is one;
	// Peer is the other end of the socket. Both are unmapped addresses, and
	// invalid for Unix sockets.
	Client, Peer netip.AddrPort
	// Local is the address that the client connected to.
	Local netip.AddrPort

	listener *Listener
	socket   net.Conn // below TLS
	state    *tls.ConnectionState
	legacy   bool

	mu     sync.Mutex
	pass   pass
	closed bool
}

func newConn(c net.Conn, l *Listener) *Conn {
	peer := addrPort(c.RemoteAddr())
	return &Conn{Conn: c, Client: peer, Peer: peer, Local: addrPort(c.LocalAddr()), listener: l, socket: c}
}

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		ap := t.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
	}
	return netip.AddrPort{}
}

// ErrNoTLS is returned by StartTLS on a listener without TLS.
var ErrNoTLS = errors.New("no TLS on this listener")

// CanTLS reports whether StartTLS may be called.
func (c *Conn) CanTLS() bool { return c.listener.opts.TLS != nil && c.state == nil }

// StartTLS does the server's side of a TLS handshake within 30 seconds. The
// caller has read nothing that follows its own go-ahead, or refuses to call:
// what came in the clear behind STARTTLS must never be taken for protected.
// After an error the connection is of no further use.
func (c *Conn) StartTLS() error {
	if !c.CanTLS() {
		return ErrNoTLS
	}
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
	defer cancel()
	cfg := c.listener.opts.TLS.server(time.Now())
	t := tls.Server(c.Conn, cfg)
	if err := t.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("tls handshake: %w", err)
	}
	state := t.ConnectionState()
	c.Conn, c.state = t, &state
	c.legacy = legacy(state)
	if c.legacy {
		c.listener.opts.TLS.usedLegacy(c.listener.opts, c.Client, state)
	}
	return nil
}

// TLS is the state of the connection's TLS; ok is false without.
func (c *Conn) TLS() (state tls.ConnectionState, ok bool) {
	if c.state == nil {
		return state, false
	}
	return *c.state, true
}

// OnHost reports that what is sent does not leave this machine: the client is
// on it, with no proxy elsewhere between.
func (c *Conn) OnHost() bool {
	a := c.Client.Addr()
	return !a.IsValid() || a.IsLoopback() && c.Peer.Addr().IsLoopback()
}

// Legacy reports that the client speaks TLS which only the listener's legacy
// profile allows.
func (c *Conn) Legacy() bool { return c.legacy }

// Close closes the connection and gives its place to another. It may be called
// more than once and by several goroutines.
func (c *Conn) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	pass := c.pass
	c.mu.Unlock()
	err := c.Conn.Close()
	c.listener.leave(c, pass)
	return err
}

// watchEvery is how often Watched looks. A script that closes its side behind
// the last command still waits for the answer: quick work is not cut off.
const watchEvery = 2 * time.Second

// Watched is a context that ends when the client has hung up, for work that
// nobody would wait for any more. Nothing is read meanwhile: what the client
// sends ahead stays where it is. Stop ends the watching.
func (c *Conn) Watched(parent context.Context) (ctx context.Context, stop context.CancelFunc) {
	ctx, stop = context.WithCancel(parent)
	raw, ok := c.socket.(syscall.Conn)
	if !ok {
		return ctx, stop
	}
	sc, err := raw.SyscallConn()
	if err != nil {
		return ctx, stop
	}
	go func() {
		defer stop()
		tick := time.NewTicker(watchEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			gone := false
			if err := sc.Control(func(fd uintptr) { gone = hungUp(int(fd)) }); err != nil || gone {
				return
			}
		}
	}()
	return ctx, stop
}
