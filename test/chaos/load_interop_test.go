//go:build interop && linux

package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/smtp"
	"net/textproto"
	"sync"
	"sync/atomic"
	"time"
)

// modes lists the routes of mail through the server; each has its own domain.
var modes = []string{"queue", "inline", "auto", "maildir"}

// load sends messages over several connections while it runs.
type load struct {
	addr   string
	ledger *Ledger
	group  atomic.Pointer[string] // additional group of the messages being sent

	sent    atomic.Int64
	refused atomic.Int64 // negative replies
	failed  atomic.Int64 // connections refused or broken
	ok      [4]atomic.Int64
}

// run sends about rate messages per second until ctx ends.
func (l *load) run(ctx context.Context, rate int) {
	const workers = 8
	pause := time.Second * workers / time.Duration(rate)
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			var c *smtp.Client
			var conn net.Conn
			for ctx.Err() == nil {
				start := time.Now()
				if c == nil {
					if c, conn = dial(l.addr); c == nil {
						l.failed.Add(1)
						time.Sleep(20 * time.Millisecond)
						continue
					}
				}
				conn.SetDeadline(time.Now().Add(patience))
				if err := l.one(c); err != nil && !l.recovers(c, err) {
					c.Close()
					c = nil
				}
				time.Sleep(pause - time.Since(start))
			}
			if c != nil {
				c.Close()
			}
		})
	}
	group.Wait()
}

func dial(addr string) (*smtp.Client, net.Conn) {
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return nil, nil
	}
	conn.SetDeadline(time.Now().Add(patience))
	c, err := smtp.NewClient(conn, "client.chaos.example")
	if err != nil {
		conn.Close()
		return nil, nil
	}
	return c, conn
}

// recovers counts a failure and reports whether the connection can be used again.
func (l *load) recovers(c *smtp.Client, err error) bool {
	var reply *textproto.Error
	if !errors.As(err, &reply) || reply.Code == 421 {
		l.failed.Add(1)
		return false
	}
	l.refused.Add(1)
	return c.Reset() == nil
}

// one sends one message and records it in the ledger.
func (l *load) one(c *smtp.Client) error {
	n, mode := l.sent.Add(1), rand.N(len(modes))
	id := fmt.Sprintf("<%d@chaos.example>", n)
	text := compose(id)
	groups := []string{"all", modes[mode]}
	if g := l.group.Load(); g != nil {
		groups = append(groups, *g)
	}
	l.ledger.Sent(id, text, groups...)
	if err := c.Mail("sender@sender.example"); err != nil {
		return err
	}
	if err := c.Rcpt("ann@" + modes[mode] + ".example"); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(text); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	l.ledger.Acknowledged(id)
	l.ok[mode].Add(1)
	return nil
}

var sizes = []int{300, 1000, 3000, 10_000}

// compose returns a message. One in 200 is too large to be stored in the
// queue's log.
func compose(id string) []byte {
	size := sizes[rand.N(len(sizes))]
	if rand.N(200) == 0 {
		size = 400_000
	}
	b := bytes.NewBufferString("From: sender@sender.example\r\nTo: ann@chaos.example\r\nSubject: chaos\r\nDate: " +
		time.Now().Format(time.RFC1123Z) + "\r\nMessage-ID: " + id + "\r\n\r\n")
	for b.Len() < size {
		fmt.Fprintf(b, "%016x%016x%016x%016x\r\n", rand.Uint64(), rand.Uint64(), rand.Uint64(), rand.Uint64())
	}
	return b.Bytes()
}
