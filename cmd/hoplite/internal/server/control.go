package server

import (
	"context"
	"net/http"
	"os"
	"syscall"

	"hoplite/cmd/hoplite/internal/queueadmin"
	"hoplite/internal/control"
)

// serveControl answers the commands on the control socket until stop is called.
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

// controlHandler handles the requests that commands may send.
func (s *Server) controlHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /reload", func(w http.ResponseWriter, _ *http.Request) {
		syscall.Kill(os.Getpid(), syscall.SIGHUP)
		control.Answer(w, true, nil)
	})
	mux.Handle("/queue/", queueadmin.Handler(s.runtime.queue))
	return mux
}
