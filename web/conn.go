package web

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"sync"

	"hoplite/internal/listen"
)

// handover is a net.Listener that passes connections from internal/listen,
// which accepts, counts and encrypts them, to net/http.
type handover struct {
	conns  chan *served
	closed chan struct{}
	once   sync.Once
}

func newHandover() *handover {
	return &handover{conns: make(chan *served), closed: make(chan struct{})}
}

// served is a connection that signals when it is closed.
type served struct {
	*listen.Conn
	done chan struct{}
	once sync.Once
}

func (c *served) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { close(c.done) })
	return err
}

// give passes a connection to net/http and returns when it is closed.
func (h *handover) give(ctx context.Context, c *listen.Conn) {
	s := &served{Conn: c, done: make(chan struct{})}
	select {
	case h.conns <- s:
		<-s.done
	case <-h.closed:
		c.Close()
	case <-ctx.Done():
		c.Close()
	}
}

// Accept implements net.Listener.
func (h *handover) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (h *handover) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}

// Addr implements net.Listener.
func (h *handover) Addr() net.Addr { return &net.TCPAddr{} }

type connKey struct{}

func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// client returns the client's address, taken from the PROXY header if there is
// one. It is invalid for Unix sockets.
func client(r *http.Request) netip.Addr {
	if c, ok := r.Context().Value(connKey{}).(*served); ok {
		return c.Client.Addr()
	}
	if ap, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		return ap.Addr().Unmap()
	}
	return netip.Addr{}
}

// encrypted reports whether the request arrived over TLS.
func encrypted(r *http.Request) bool {
	if c, ok := r.Context().Value(connKey{}).(*served); ok {
		_, tls := c.TLS()
		return tls
	}
	return r.TLS != nil
}
