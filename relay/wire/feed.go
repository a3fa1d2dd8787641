package wire

import (
	"net"
	"sync"
)

// Feed is the net.Listener from which go-smtp takes its connections: those
// that a door pushes in. So the library's loop has none of the accepting to do.
type Feed struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

// NewFeed makes a feed.
func NewFeed() *Feed {
	return &Feed{conns: make(chan net.Conn), done: make(chan struct{})}
}

// Push gives a connection to the library; a closed feed closes it.
func (f *Feed) Push(c net.Conn) {
	select {
	case f.conns <- c:
	case <-f.done:
		c.Close()
	}
}

// Accept waits for a connection.
func (f *Feed) Accept() (net.Conn, error) {
	select {
	case c := <-f.conns:
		return c, nil
	case <-f.done:
		return nil, net.ErrClosed
	}
}

// Close ends Accept.
func (f *Feed) Close() error {
	f.once.Do(func() { close(f.done) })
	return nil
}

// Addr is of no meaning.
func (f *Feed) Addr() net.Addr { return &net.UnixAddr{Name: "feed", Net: "unix"} }
