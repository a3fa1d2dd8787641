package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"

	"hoplite/cmd/hoplite/internal/queueadmin"
	"hoplite/cmd/hoplite/internal/state"
	"hoplite/internal/control"
	"hoplite/internal/users"
)

// serveControl serves the control socket until stop is called.
func (s *Server) serveControl() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := control.Serve(ctx, s.runtime.data, s.controlHandler()); err != nil {
			s.Log.Error().Err(err).Msg("control socket")
		}
	}()
	return func() { cancel(); <-done }
}

// errStopping is the reply to commands while the server is stopping.
var errStopping = errors.New("the server is stopping")

// inLoop runs f in the loop that also handles signals, so that the current
// generation does not change while f runs.
func (s *Server) inLoop(ctx context.Context, f func()) error {
	done := make(chan struct{})
	select {
	case s.requests <- func() { defer close(done); f() }:
		<-done
		return nil
	case <-s.stopping:
		return errStopping
	case <-ctx.Done():
		return ctx.Err()
	}
}

// controlHandler handles the requests that commands may send.
func (s *Server) controlHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /reload", func(w http.ResponseWriter, r *http.Request) {
		var outcome state.Reload
		err := s.inLoop(r.Context(), func() { outcome = s.reload() })
		control.Answer(w, outcome, err)
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		var now state.Status
		err := s.inLoop(r.Context(), func() { now = s.status() })
		control.Answer(w, now, err)
	})
	mux.HandleFunc("GET /offers", func(w http.ResponseWriter, r *http.Request) {
		var known state.Offers
		err := s.inLoop(r.Context(), func() { known = s.current.offers() })
		control.Answer(w, known, err)
	})
	mux.HandleFunc("POST /accounts/refresh", func(w http.ResponseWriter, r *http.Request) {
		var failed error
		err := s.inLoop(r.Context(), func() { failed = s.current.Refresh() })
		control.Answer(w, true, errors.Join(err, failed))
	})
	mux.HandleFunc("GET /accounts/blocks", func(w http.ResponseWriter, _ *http.Request) {
		control.Answer(w, s.runtime.throttle.Blocks(), nil)
	})
	mux.HandleFunc("POST /accounts/unblock", func(w http.ResponseWriter, r *http.Request) {
		var in state.Unblock
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			http.Error(w, "read request: "+err.Error(), http.StatusBadRequest)
			return
		}
		var done state.Unblocked
		err := s.inLoop(r.Context(), func() { done = unblock(s.runtime.throttle, s.current.Accounts.LoginName, in) })
		control.Answer(w, done, err)
	})
	mux.HandleFunc("POST /certificate/renew/{name}", s.renewCertificate)
	mux.Handle("/queue/", queueadmin.Handler(s.runtime.queue))
	return mux
}

// unblock forgets the failed logins of the accounts, addresses and networks
// named in a request. loginName returns the account that a login name refers
// to.
func unblock(t *users.Throttle, loginName func(string) string, in state.Unblock) (done state.Unblocked) {
	if in.All {
		done.Removed = t.UnblockAll()
	}
	for _, name := range in.Names {
		found := false
		if p, err := netip.ParsePrefix(name); err == nil {
			found = t.UnblockNetwork(p)
		} else if a, err := netip.ParseAddr(name); err == nil {
			found = t.UnblockNetwork(netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()))
		} else {
			found = t.UnblockAccount(loginName(name))
		}
		if found {
			done.Removed++
		} else {
			done.Missing = append(done.Missing, name)
		}
	}
	return done
}
