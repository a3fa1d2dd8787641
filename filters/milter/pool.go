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
	// hold is how long a connection waits for a client's next command. Later
	// commands use a new connection.
	hold = 30 * time.Second
	// maxIdle is the maximum number of connections that wait for another
	// message.
	maxIdle = 32
)

// pool holds waiting connections, both between two commands of a client's
// transaction and between two messages from the same client.
//
// Other clients get separate connections, as in Postfix. The protocol has
// SMFIC_QUIT_NC to announce another client on the same connection, but
// libmilter accepts it in only one state and stops replying in any other. Most
// programs have left that state after their final reply.
type pool struct {
	keep time.Duration // lifetime of idle connections

	mu   sync.Mutex
	held map[string]*parked // by holder
	idle []*parked          // most recently used last
}

// parked is a session that is waiting.
type parked struct {
	s     *session
	tx    string // id of the transaction
	timer *time.Timer
}

// holder returns the key for a transaction's client. A client has one
// transaction at a time, so a session held for an earlier one is free.
func holder(tx *mail.Transaction) string {
	if a := tx.Client.Addr; a.IsValid() && a.Port() != 0 {
		return a.String()
	}
	return tx.ID
}

// hold keeps a session for the client's next command.
func (p *pool) hold(tx *mail.Transaction, s *session) {
	key := holder(tx)
	w := &parked{s: s, tx: tx.ID}
	p.mu.Lock()
	defer p.mu.Unlock()
	if old := p.held[key]; old != nil { // another listener with the same name and client
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

// heldFor returns the session that is held for a transaction, or nil. A session
// held for an earlier transaction of the same client becomes idle.
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

// release ends a session's message. The connection then waits for the next one
// if it can be reused.
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
		go oldest.s.quit() // may take a second
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

// take returns an idle session whose milter already knows the client, or nil.
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

// hungUp reports whether an error means that the peer closed the connection.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
