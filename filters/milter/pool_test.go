package milter

import (
	"context"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"hoplite/mail"
)

// keeper is a milter that records the commands of each connection and can be
// killed and restarted.
type keeper struct {
	t        *testing.T
	path     string
	mu       sync.Mutex
	heard    []string // commands by connection
	listener net.Listener
	conns    []net.Conn
}

func startKeeper(t *testing.T) (*keeper, *Filter) {
	k := &keeper{t: t, path: filepath.Join(t.TempDir(), "m")}
	k.start()
	t.Cleanup(k.kill)
	return k, newFilter(t, "unix:"+k.path, "headers")
}

func (k *keeper) start() {
	l, err := net.Listen("unix", k.path)
	if err != nil {
		k.t.Fatal(err)
	}
	k.listener = l
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			k.mu.Lock()
			n := len(k.heard)
			k.heard, k.conns = append(k.heard, ""), append(k.conns, c)
			k.mu.Unlock()
			go k.serve(n, newConn(c))
		}
	}()
}

func (k *keeper) serve(n int, c *conn) {
	defer c.Close()
	for {
		cmd, _, err := c.receive()
		if err != nil {
			return
		}
		k.mu.Lock()
		if cmd != 'D' {
			k.heard[n] += string(cmd)
		}
		k.mu.Unlock()
		switch {
		case cmd == 'O':
			c.send('O', []byte("\x00\x00\x00\x06\x00\x00\x00\xff\x00\x00\x00\x00"))
		case cmd == 'Q':
			return
		case cmd == 'D', cmd == 'A':
		default:
			c.send('c')
		}
	}
}

// kill closes all connections abruptly, as a crash would.
func (k *keeper) kill() {
	k.listener.Close()
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.conns {
		c.Close()
	}
}

// said checks the commands received on each connection. It waits briefly,
// because the last ones may not have arrived yet.
func (k *keeper) said(want ...string) {
	k.t.Helper()
	for range 1000 {
		k.mu.Lock()
		got := slices.Clone(k.heard)
		k.mu.Unlock()
		if slices.Equal(got, want) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.t.Errorf("heard %q, want %q", k.heard, want)
}

func client(port uint16) mail.Client {
	return mail.Client{Addr: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), port), Helo: "mx.example.com"}
}

// deliver passes one message of a client through all stages and calls between
// before DATA.
func deliver(t *testing.T, f *Filter, c mail.Client, between func(stage string)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	tx := mail.NewTransaction(c, "ann@example.org")
	m, err := mail.NewMessage(mail.Bytes("A: b\r\n\r\nx\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	r := mail.Rcpt{To: "bob@example.com", Orig: "bob@example.com"}
	if _, err := f.AtMail(ctx, tx); err != nil {
		t.Fatal("MAIL", err)
	}
	between("rcpt")
	if _, err := f.AtRcpt(ctx, tx, &r); err != nil {
		t.Fatal("RCPT", err)
	}
	tx.Envelope.Rcpts = append(tx.Envelope.Rcpts, r)
	between("data")
	if _, err := f.AtData(ctx, tx, m); err != nil {
		t.Fatal("DATA", err)
	}
}

func nothing(string) {}

const (
	hello   = "OCH"
	message = "MRTLNBE"
)

func TestConnectionsAreKept(t *testing.T) {
	t.Run("one client", func(t *testing.T) {
		k, f := startKeeper(t)
		for range 3 {
			deliver(t, f, client(1234), nothing)
		}
		k.said(hello + message + message + message)
	})
	t.Run("another client", func(t *testing.T) {
		k, f := startKeeper(t)
		for _, port := range []uint16{1, 2, 1} {
			deliver(t, f, client(port), nothing)
		}
		k.said(hello+message+message, hello+message)
	})
	t.Run("another HELO", func(t *testing.T) {
		k, f := startKeeper(t)
		c := client(1)
		deliver(t, f, c, nothing)
		c.Helo = "other.example.com"
		deliver(t, f, c, nothing)
		k.said(hello+message, hello+message)
	})
	t.Run("two at once", func(t *testing.T) {
		k, f := startKeeper(t)
		deliver(t, f, client(1), func(stage string) {
			if stage == "data" {
				deliver(t, f, client(2), nothing)
			}
		})
		k.said(hello+message, hello+message)
	})
	t.Run("a transaction that was given up", func(t *testing.T) {
		k, f := startKeeper(t)
		if _, err := f.AtMail(context.Background(), mail.NewTransaction(client(1), "")); err != nil {
			t.Fatal(err)
		}
		deliver(t, f, client(1), nothing)
		k.said(hello + "MA" + message)
	})
	t.Run("not wanted", func(t *testing.T) {
		k, f := startKeeper(t)
		f.pool.keep = 0
		deliver(t, f, client(1), nothing)
		deliver(t, f, client(1), nothing)
		k.said(hello+message+"Q", hello+message+"Q")
	})
}

// No message is lost when a milter is restarted while connections are waiting.
func TestMilterRestarts(t *testing.T) {
	for _, stage := range []string{"mail", "rcpt", "data"} {
		t.Run(stage, func(t *testing.T) {
			k, f := startKeeper(t)
			restart := func(now string) {
				if now == stage {
					k.kill()
					k.start()
				}
			}
			deliver(t, f, client(1), nothing)
			restart("mail")
			deliver(t, f, client(1), restart)
			k.mu.Lock()
			defer k.mu.Unlock()
			if last := k.heard[len(k.heard)-1]; len(k.heard) != 2 || !strings.HasPrefix(last, hello+message) {
				t.Errorf("heard %q", k.heard)
			}
		})
	}
}

// A milter that stays down causes one error per message.
func TestMilterGone(t *testing.T) {
	k, f := startKeeper(t)
	deliver(t, f, client(1), nothing)
	k.kill()
	if _, err := f.AtMail(context.Background(), mail.NewTransaction(client(1), "")); err == nil {
		t.Error("no milter and no error")
	}
}

// sink reads until EOF and then calls done.
func sink(c net.Conn, done func()) {
	buf := make([]byte, 100)
	for {
		if _, err := c.Read(buf); err != nil {
			done()
			return
		}
	}
}

// The number and the lifetime of idle connections are limited.
func TestIdleConnectionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pool{keep: time.Minute, held: map[string]*parked{}}
		var open atomic.Int32
		want := func(conns int32, idle, held int) {
			t.Helper()
			synctest.Wait()
			p.mu.Lock()
			defer p.mu.Unlock()
			if n := open.Load(); n != conns || len(p.idle) != idle || len(p.held) != held {
				t.Errorf("%d open, %d idle, %d held; want %d, %d, %d", n, len(p.idle), len(p.held), conns, idle, held)
			}
		}
		for range maxIdle + 5 {
			ours, theirs := net.Pipe()
			open.Add(1)
			go sink(theirs, func() { open.Add(-1) })
			p.release(&session{conn: newConn(ours), client: "x"})
		}
		want(maxIdle, maxIdle, 0)
		p.hold(mail.NewTransaction(client(1), ""), p.take("x"))
		want(maxIdle, maxIdle-1, 1)
		time.Sleep(hold + time.Second) // the client sends no more commands
		want(maxIdle, maxIdle, 0)
		for range 2 { // a second one for the same client frees the first
			p.hold(mail.NewTransaction(client(1), ""), p.take("x"))
		}
		want(maxIdle, maxIdle-1, 1)
		time.Sleep(2 * time.Minute)
		want(0, 0, 0)
	})
}
