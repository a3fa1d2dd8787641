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

// Conn is an accepted connection. It reads and writes through TLS once StartTLS
// has succeeded.
type Conn struct {
	net.Conn

	// Client is the client's address, taken from the PROXY header if there is
	// one; Peer is the address of the socket's peer. Both are unmapped, and
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

// CanTLS reports whether StartTLS can be called.
func (c *Conn) CanTLS() bool { return c.listener.opts.TLS != nil && c.state == nil }

// StartTLS does the server's side of a TLS handshake within 30 seconds. The
// caller must not hold octets that followed STARTTLS in clear text, because
// they must never be treated as protected. After an error the connection is
// unusable.
func (c *Conn) StartTLS() error {
	if !c.CanTLS() {
		return ErrNoTLS
	}
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
	defer cancel()
	cfg := c.listener.opts.TLS.server(time.Now())
	t := tls.Server(c.Conn, cfg)
	if err := t.HandshakeContext(ctx); err != nil {
		c.listener.line(c, "tls", c.listener.opts.Log.Info()).Err(err).Msg("tls handshake")
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

// TLS returns the TLS state of the connection; ok is false in clear text.
func (c *Conn) TLS() (state tls.ConnectionState, ok bool) {
	if c.state == nil {
		return state, false
	}
	return *c.state, true
}

// OnHost reports whether the client is a program on this machine that connected
// to a socket file or to a loopback address of the listener. On other listeners
// a loopback address may belong to a proxy or NAT, and an address given by PROXY
// proves nothing.
func (c *Conn) OnHost() bool {
	if c.listener.opts.Proxy {
		return false
	}
	if !c.Peer.Addr().IsValid() {
		return true
	}
	return c.Peer.Addr().IsLoopback() && addrPort(c.listener.socket.Addr()).Addr().IsLoopback()
}

// Legacy reports whether the connection uses TLS that only the listener's legacy
// profile permits.
func (c *Conn) Legacy() bool { return c.legacy }

// Close closes the connection, which is then no longer counted. It may be
// called more than once and from several goroutines.
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

// LoggedIn stops counting the connection for its client's address and network.
// After a login the account's limit applies, because the devices of a household
// or an office share one address.
func (c *Conn) LoggedIn() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.pass = c.listener.gate.forgive(c.pass)
	}
}

// watchEvery is the polling interval of Watched. It is long enough for clients
// that close their side after the last command but still wait for the reply.
const watchEvery = 2 * time.Second

// Watched returns a context that is cancelled when the client hangs up, for
// work whose result only the client needs. It does not read from the
// connection. stop ends the watch.
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
