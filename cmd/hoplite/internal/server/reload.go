package server

import (
	"context"
	"errors"

	"hoplite/internal/listen"
)

// reload replaces the current generation by one of the configuration as it is
// now. If that has mistakes, the current one stays. Open sessions continue
// under the generation that they began in.
func (s *Server) reload() {
	listen.Notify("RELOADING=1")
	defer listen.Notify("READY=1")
	next, err := s.next()
	if err != nil {
		s.Log.Error().Str("cause", err.Error()).Msg("reload failed; keeping the running configuration")
		return
	}
	old := s.current
	s.current = next
	next.configureStores()
	next.attachQueue(old)
	s.runtime.sockets.Sweep()
	s.draining.Store(old, true)
	s.retired.Go(func() {
		defer s.draining.Delete(old)
		old.close(context.Background())
		old.releaseStores()
	})
	s.Log.Info().Msg("configuration reloaded")
}

var errDataMoved = errors.New("data can't be changed while the server runs: restart it")

// errNoListeners is a file that was emptied by mistake, or is being written.
var errNoListeners = errors.New("the configuration has no listeners; stop the server instead")

// next reads the configuration and opens its listeners.
func (s *Server) next() (*serving, error) {
	cfg, file, err := s.Read()
	if err != nil {
		return nil, err
	}
	if err := file.Diags.Err(); err != nil {
		return nil, err
	}
	if cfg.Data != s.runtime.data {
		return nil, errDataMoved
	}
	if len(cfg.MailListeners())+len(cfg.POP3)+len(cfg.IMAP)+len(cfg.Web) == 0 {
		return nil, errNoListeners
	}
	s.current.SaveFilters()
	next, err := newServing(s.runtime, cfg, file.Diags, s.Version)
	if err != nil {
		return nil, err
	}
	next.Inherit(s.current.Generation)
	if err := next.open(s.Out); err != nil {
		s.runtime.sockets.Undo()
		next.releaseStores()
		return nil, err
	}
	return next, nil
}
