// Package server implements the running program.
//
// A runtime (runtime.go) holds everything that outlives a reload: the locked
// data folder, sockets, queue, history. A serving (serving.go) is one
// generation of the configuration with its listeners open; services.go and
// web.go create the servers for the listeners. Server starts both, reloads
// (reload.go), serves the control socket (control.go, status.go), and stops the
// listeners before the stores they use. Package assembly creates the parts that
// a configuration describes.
package server

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"hoplite/cmd/hoplite/internal/config"
	"hoplite/cmd/hoplite/internal/state"
	"hoplite/internal/conf"
	"hoplite/internal/listen"
)

// grace is how long sessions may continue when the server stops.
const grace = 25 * time.Second

// Options holds a server's parameters from the command line.
type Options struct {
	// Log is the program's log.
	Log zerolog.Logger
	// Out receives a line for each listener, then "ready".
	Out io.Writer
	// Read reads the configuration again for a reload.
	Read func() (*config.Config, *conf.File, error)
	// Version is the program's version.
	Version string
	// File is the name of the configuration file.
	File string
}

// Server is the running program.
type Server struct {
	Options
	runtime *runtime
	started time.Time

	// The following fields are used only by the loop in wait.
	current    *serving
	lastReload *state.Reload

	requests chan func()   // functions to run in the loop
	stopping chan struct{} // closed when the loop has ended

	retired  sync.WaitGroup // earlier generations
	draining sync.Map       // earlier generations that still have sessions, by *serving
}

// Run serves the configuration until ctx ends or a signal asks it to stop.
func Run(ctx context.Context, cfg *config.Config, diags *conf.Diagnostics, o Options) (err error) {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)

	s := &Server{Options: o, started: time.Now(), requests: make(chan func()), stopping: make(chan struct{})}
	if s.runtime, err = openRuntime(cfg, o.Log); err != nil {
		return err
	}
	defer s.runtime.close()
	if o.File == config.BuiltIn {
		if err := cfg.MarkBuiltIn(); err != nil {
			return fmt.Errorf("data folder: %w", err)
		}
	}
	first, err := newServing(s.runtime, cfg, diags, o.Version)
	if err != nil {
		return err
	}
	first.attachQueue(nil)
	stopQueue := s.runtime.runQueue()
	defer stopQueue()
	if err := first.open(o.Out); err != nil {
		return err
	}
	s.runtime.sockets.Sweep()
	s.runtime.useIssuer(first.issuer)
	s.runtime.certificates.Store(first)
	s.current = first
	if err := enterSandbox(cfg, o.Log); err != nil {
		return err
	}
	go first.AskUpstreams(ctx)
	watching, endWatch := context.WithCancel(ctx)
	defer endWatch()
	go s.watchCertificates(watching)
	go s.runtime.reportTLS(watching)
	stopControl := s.serveControl()
	defer stopControl()

	fmt.Fprintln(o.Out, "ready")
	listen.Notify("READY=1")
	o.Log.Info().Str("data", cfg.Data).Str("version", o.Version).Msg("ready")
	s.wait(ctx, signals)
	close(s.stopping)
	s.stop()
	return nil
}

// wait reloads on SIGHUP, handles requests from commands, and returns when the
// server should stop.
func (s *Server) wait(ctx context.Context, signals <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case f := <-s.requests:
			f()
		case sig := <-signals:
			if sig != syscall.SIGHUP {
				s.Log.Info().Str("signal", sig.String()).Msg("stopping")
				return
			}
			s.reload()
		}
	}
}

// stop ends all sessions, including those of earlier generations.
func (s *Server) stop() {
	listen.Notify("STOPPING=1")
	s.runtime.sockets.Close() // new connections are refused rather than left waiting
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	s.draining.Range(func(old, _ any) bool { old.(*serving).drain(); return true })
	s.current.drain()
	s.current.close(ctx)
	s.current.SaveFilters()
	done := make(chan struct{})
	go func() { s.retired.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
	}
}
