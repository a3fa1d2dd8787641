package server

import (
	"context"
	"errors"
	"time"

	"hoplite/cmd/hoplite/internal/config"
	"hoplite/cmd/hoplite/internal/state"
	"hoplite/internal/conf"
	"hoplite/internal/listen"
)

// reload replaces the current generation with one created from the current
// configuration file. If the file has mistakes, the current generation is kept.
// Open sessions continue with the generation in which they began.
func (s *Server) reload() state.Reload {
	listen.Notify("RELOADING=1")
	defer listen.Notify("READY=1")
	outcome := state.Reload{At: time.Now(), Changed: []string{}}
	s.lastReload = &outcome
	next, diags, err := s.next()
	outcome.Warnings = diags.Lines(true)
	outcome.Shown = &state.Shown{Warnings: diags.Warnings()}
	if err != nil {
		outcome.Error = conf.Plain(err)
		outcome.Shown.Error = err.Error()
		s.Log.Error().Str("cause", err.Error()).Msg("reload failed; keeping the running configuration")
		return outcome
	}
	old := s.current
	outcome.Changed, outcome.Restart = config.Changes(old.Config, next.Config)
	s.current = next
	next.configureStores()
	next.attachQueue(old)
	s.runtime.sockets.Sweep()
	s.runtime.useIssuer(next.issuer)
	s.runtime.certificates.Store(next)
	s.draining.Store(old, true)
	s.retired.Go(func() {
		defer s.draining.Delete(old)
		old.close(context.Background())
		old.releaseStores()
	})
	s.Log.Info().Strs("changed", outcome.Changed).Strs("restart", outcome.Restart).Msg("configuration reloaded")
	return outcome
}

var errDataMoved = errors.New("data can't be changed while the server runs: restart it")

// errNoListeners means that the file was probably emptied by mistake or is
// being written.
var errNoListeners = errors.New("the configuration has no listeners; stop the server instead")

// next reads the configuration and opens its listeners. It also returns the
// findings that the error does not contain.
func (s *Server) next() (next *serving, diags conf.Diagnostics, err error) {
	cfg, file, err := s.Read()
	if err != nil {
		return nil, diags, err
	}
	if err := file.Diags.Err(); err != nil {
		return nil, diags, err
	}
	if cfg.Data != s.runtime.data {
		return nil, diags, errDataMoved
	}
	if len(cfg.MailListeners())+len(cfg.POP3)+len(cfg.IMAP)+len(cfg.Web) == 0 {
		return nil, diags, errNoListeners
	}
	s.current.SaveFilters()
	next, err = newServing(s.runtime, cfg, file.Diags, s.Version)
	if err != nil {
		return nil, diags, err // with the warnings
	}
	next.Inherit(s.current.Generation)
	if err := next.open(s.Out); err != nil {
		s.runtime.sockets.Undo()
		next.releaseStores()
		return nil, *file.Diags, err
	}
	return next, *file.Diags, nil
}
