package imap

import (
	"errors"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// handleIdle runs IDLE (RFC 9051, 6.3.13): it reports changes until the client
// sends DONE. The session holds no buffers while it is waiting.
func handleIdle(a *account, c *call) error {
	if err := c.args.End(); err != nil {
		return err
	}
	s := a.session
	if err := c.out.proceed("idling"); err != nil {
		return err
	}
	if err := s.idle(a.selected); err != nil {
		return err
	}
	s.conn.SetReadDeadline(time.Now().Add(writeTimeout))
	line, err := s.in.Line()
	if err != nil {
		return err
	}
	if !strings.EqualFold(string(line), "DONE") {
		return badf("Expected DONE")
	}
	return nil
}

// wakeOnChange sets changed and interrupts the session's Read whenever the
// selected folder changes. After stop has returned, it interrupts no more.
func wakeOnChange(m *mailbox, changed *atomic.Bool) (stop func()) {
	conn := m.session().conn
	events, unwatch := m.folder.Watch()
	done := make(chan struct{})
	var watcher sync.WaitGroup
	watcher.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-events:
				changed.Store(true)
				conn.SetReadDeadline(time.Unix(1, 0))
			}
		}
	})
	return func() {
		close(done)
		watcher.Wait()
		unwatch()
	}
}

// idle reports changes of the selected folder, if there is one, until the client
// sends input.
func (s *session) idle(selected *mailbox) error {
	var changed atomic.Bool
	if selected != nil {
		stop := wakeOnChange(selected, &changed)
		defer stop()
	}
	limit := time.Now().Add(s.srv.cfg.IdleTimeout)
	changed.Store(true) // something may have changed before the watch started
	for {
		s.conn.SetReadDeadline(limit)
		if s.stopping.Load() {
			return os.ErrDeadlineExceeded
		}
		if changed.Swap(false) {
			if err := s.poll(true); err != nil {
				return err
			}
			if err := s.out.Flush(); err != nil {
				return err
			}
		}
		err := s.in.Wait()
		if errors.Is(err, os.ErrDeadlineExceeded) && changed.Load() && !s.stopping.Load() {
			continue
		}
		return err
	}
}
