package milter

import (
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"hoplite/mail"
)

const (
	// hold is how long a connection waits for the next command of a client.
	// After it, what was said is said again to another one.
	hold = 30 * time.Second
	// maxIdle is how many connections wait for another message.
	maxIdle = 32
)

// pool is the connections that wait: between two commands of a client, for its
// transaction, and between two messages, for the next one of the same client.
//
// Other clients get connections of their own, as with Postfix. The protocol has
// SMFIC_QUIT_NC for telling of another client on the same connection, but
// libmilter obeys it in one state only, which most programs have left with
// their last word, and then answers nothing any more.
type pool struct {
	keep time.Duration // for idle ones; 0 keeps none

	mu   sync.Mutex
	held map[string]*parked // by client, see holder
	idle []*parked          // the one that was used last at the end
}

// parked is a session that waits.
type parked struct {
	s     *session
	tx    string // the transaction that it is held for
	timer *time.Timer
}

// holder is the key of a transaction's client. It has one transaction at a
// time, so that what is held for an earlier one is no longer wanted.
func holder(tx *mail.Transaction) string {
	if a := tx.Client.Addr; a.IsValid() && a.Port() != 0 {
		return a.String()
	}
	return tx.ID
}

// hold lets a session wait for the client's next command.
func (p *pool) hold(tx *mail.Transaction, s *session) {
	key := holder(tx)
	w := &parked{s: s, tx: tx.ID}
	p.mu.Lock()
	defer p.mu.Unlock()
	if old := p.held[key]; old != nil { // of two listeners that look alike to us
		old.timer.Stop()
		go p.release(old.s)
	}
	p.held[key] = w
	w.timer = time.AfterFunc(hold, func() {
		p.mu.Lock()
		waits := p.held[key] == w
		if waits {
			delete(p.held, key)
		}
		p.mu.Unlock()
		if waits {
			p.release(s)
		}
	})
}

// heldFor gives the session back that waits for a transaction; nil if there is
// none. One that waits for an earlier transaction of the same client is free.
func (p *pool) heldFor(tx *mail.Transaction) *session {
	key := holder(tx)
	p.mu.Lock()
	w := p.held[key]
	delete(p.held, key)
	p.mu.Unlock()
	if w == nil {
		return nil
	}
	w.timer.Stop()
	if w.tx != tx.ID {
		p.release(w.s)
		return nil
	}
	w.s.kept = true
	return w.s
}

// release ends a session's message. The connection then waits for the next one,
// if it is good for that.
func (p *pool) release(s *session) {
	if p.keep <= 0 || !s.reset() {
		s.quit()
		return
	}
	w := &parked{s: s}
	p.mu.Lock()
	defer p.mu.Unlock()
	w.timer = time.AfterFunc(p.keep, func() {
		if p.remove(w) {
			s.quit()
		}
	})
	if p.idle = append(p.idle, w); len(p.idle) > maxIdle {
		oldest := p.idle[0]
		p.idle = slices.Delete(p.idle, 0, 1)
		oldest.timer.Stop()
		go oldest.s.quit() // which may wait for a second
	}
}

func (p *pool) remove(w *parked) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(p.idle, w)
	if i >= 0 {
		p.idle = slices.Delete(p.idle, i, i+1)
	}
	return i >= 0
}

// take gives an idle session that was told of a client already; nil if there is
// none.
func (p *pool) take(client string) *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, w := range slices.Backward(p.idle) {
		if w.s.client == client {
			p.idle = slices.Delete(p.idle, i, i+1)
			w.timer.Stop()
			w.s.kept = true
			return w.s
		}
	}
	return nil
}

// hungUp tells an error that means: nobody is at the other end any more.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
