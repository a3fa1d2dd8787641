package imap

import (
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// doIdle runs IDLE (RFC 9051, 6.3.13): it tells what happens until the client
// says DONE. While nothing happens it holds no buffer.
func (s *session) doIdle() error {
	if !s.end() {
		return nil
	}
	var changed atomic.Bool
	if s.sel != nil {
		events, stop := s.sel.folder.Watch()
		defer stop()
		over := make(chan struct{})
		defer close(over)
		go func() {
			for {
				select {
				case <-over:
					return
				case <-events:
					// The session waits in a Read; a deadline in the past ends it.
					changed.Store(true)
					s.conn.SetReadDeadline(time.Unix(1, 0))
				}
			}
		}()
	}
	if err := s.proceed("idling"); err != nil {
		return err
	}
	if err := s.idle(&changed); err != nil {
		return err
	}
	s.conn.SetReadDeadline(time.Now().Add(writeTimeout))
	line, err := s.r.Line()
	if err != nil {
		return err
	}
	if !strings.EqualFold(string(line), "DONE") {
		s.p.Fail("expected DONE")
		return nil
	}
	return s.done("IDLE completed")
}

// idle returns once the client has sent something.
func (s *session) idle(changed *atomic.Bool) error {
	limit := time.Now().Add(s.srv.cfg.IdleTimeout)
	changed.Store(true) // look once: it may have happened before we watched
	for {
		s.conn.SetReadDeadline(limit)
		if s.stopping.Load() {
			return os.ErrDeadlineExceeded
		}
		if changed.Swap(false) {
			if err := s.poll(true); err != nil {
				return err
			}
			if err := s.w.Flush(); err != nil {
				return err
			}
		}
		err := s.r.Wait()
		if errors.Is(err, os.ErrDeadlineExceeded) && changed.Load() && !s.stopping.Load() {
			continue
		}
		return err
	}
}
