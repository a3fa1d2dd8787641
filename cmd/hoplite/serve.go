package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"hoplite/internal/conf"
	"hoplite/internal/control"
	"hoplite/internal/listen"
)

// grace is how long sessions get to finish when the server stops.
const grace = 25 * time.Second

func serveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the server",
		Long: `Run the server until SIGTERM or SIGINT, which let transactions under way finish.
SIGHUP reads the configuration again; with mistakes in it the old one stays.`,
		Args: cobra.NoArgs,
	}
	read := configFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, file, err := read()
		if err != nil {
			return err
		}
		// Before the data folder is touched: whoever edits the file beside a
		// running server wants to hear of mistakes, not of the lock.
		if file.Parsed() {
			cfg.examine(file.Diags)
		}
		if err := file.Diags.Err(); err != nil {
			return refused(err)
		}
		log, flush := newLogger(cfg.Log)
		defer flush()
		s := &server{log: log, out: cmd.OutOrStdout(), read: read}
		return s.run(cmd.Context(), cfg, file.Diags)
	}
	return cmd
}

// server is the running program: the ground, and the house on it at present.
type server struct {
	log  zerolog.Logger
	out  io.Writer
	read configReader

	ground  *ground
	now     *tenure
	gone    sync.WaitGroup // houses of earlier configurations
	leaving sync.Map       // those of them that still have sessions, by *tenure
}

// tenure is a house with its doors open.
type tenure struct {
	*house
	listeners []*listen.Listener
	stop      context.CancelFunc // accepting ends
	accepting sync.WaitGroup
}

func (s *server) run(ctx context.Context, cfg *Config, diags *conf.Diagnostics) (err error) {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)

	if s.ground, err = stand(cfg, s.log); err != nil {
		return err
	}
	defer s.ground.leave()
	h, err := build(s.ground, cfg, diags)
	if err != nil {
		return err
	}
	h.connectQueue(nil)
	stopQueue := s.runQueue()
	defer stopQueue()
	if s.now, err = s.open(h); err != nil {
		return err
	}
	if err := s.confine(cfg); err != nil {
		return err
	}
	go h.look(ctx)
	controlled, stopControl := s.serveControl()
	defer func() { stopControl(); <-controlled }()

	fmt.Fprintln(s.out, "ready")
	listen.Notify("READY=1")
	s.log.Info().Str("data", cfg.Data).Str("version", version).Msg("ready")
	for {
		select {
		case <-ctx.Done():
			return s.end()
		case sig := <-signals:
			if sig != syscall.SIGHUP {
				s.log.Info().Str("signal", sig.String()).Msg("stopping")
				return s.end()
			}
			s.reload()
		}
	}
}

// runQueue moves queued mail until stop is called, which waits for attempts
// under way.
func (s *server) runQueue() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.ground.queue.Run(ctx, grace); err != nil {
			s.log.Error().Err(err).Msg("queue")
		}
	}()
	return func() { cancel(); <-done }
}

// open opens the doors of a house, and says where.
func (s *server) open(h *house) (*tenure, error) {
	ctx, cancel := context.WithCancel(context.Background())
	t := &tenure{house: h, stop: cancel}
	if err := s.openMetrics(ctx, t); err != nil {
		cancel()
		return nil, err
	}
	for _, d := range h.doors {
		opened, err := d.cfg.Open(d.name, h.sockets, h.certs, h.data, listen.Options{Log: h.log, Gate: h.gate, Refuse: d.refuse})
		if err != nil {
			cancel()
			return nil, err
		}
		for _, l := range opened {
			fmt.Fprintln(s.out, "listening", d.name, address(l.Addr()))
			t.listeners = append(t.listeners, l)
			t.accepting.Go(func() {
				// Sessions outlive the accepting: drain ends them.
				handle := func(c *listen.Conn) { d.handle(context.WithoutCancel(ctx), c) }
				if err := l.Run(ctx, handle); err != nil {
					h.log.Error().Err(err).Str("listener", d.name).Msg("listener")
				}
			})
		}
	}
	return t, nil
}

func address(a net.Addr) string {
	if a.Network() == "unix" {
		return "unix:" + a.String()
	}
	return a.String()
}

// drain stops accepting and asks the sessions to end.
func (t *tenure) drain() {
	t.stop()
	t.accepting.Wait()
	for _, d := range t.doors {
		d.drain()
	}
}

// close stops accepting, lets the sessions end within ctx, and clears up.
func (t *tenure) close(ctx context.Context) {
	t.stop()
	t.accepting.Wait()
	cut := 0
	for _, l := range t.listeners {
		cut += l.Drain(ctx)
	}
	for _, d := range t.doors {
		d.close()
	}
	for _, up := range t.upstreams {
		up.Close()
	}
	if cut > 0 {
		t.log.Warn().Int("connections", cut).Msg("sessions were cut off")
	}
}

// leave closes a house that another one took the place of, when its last
// session has ended.
func (t *tenure) leave() {
	t.close(context.Background())
	t.leaveBoxes()
}

// end stops from the top down.
func (s *server) end() error {
	listen.Notify("STOPPING=1")
	s.ground.sockets.Close() // who comes now is refused at once, not left waiting
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	s.leaving.Range(func(t, _ any) bool { t.(*tenure).drain(); return true })
	s.now.drain()
	s.now.close(ctx)
	s.now.keep()
	waited := make(chan struct{})
	go func() { s.gone.Wait(); close(waited) }()
	select {
	case <-waited:
	case <-ctx.Done():
	}
	return nil
}

// reload takes over a new configuration, or keeps the old one and says why.
// Sessions that are open go on under the old one.
func (s *server) reload() {
	listen.Notify("RELOADING=1")
	defer listen.Notify("READY=1")
	next, err := s.rebuild()
	if err != nil {
		s.log.Error().Str("cause", err.Error()).Msg("configuration not taken over, the old one stays")
		return
	}
	old := s.now
	s.now = next
	next.configureBoxes()
	next.connectQueue(old.house)
	s.ground.sockets.Sweep()
	s.leaving.Store(old, true)
	s.gone.Go(func() {
		defer s.leaving.Delete(old)
		old.leave()
	})
	s.log.Info().Msg("configuration taken over")
}

var errDataMoved = errors.New("data can't be changed while the server runs: restart it")

func (s *server) rebuild() (*tenure, error) {
	cfg, file, err := s.read()
	if err != nil {
		return nil, err
	}
	if err := file.Diags.Err(); err != nil {
		return nil, err
	}
	if cfg.Data != s.ground.data {
		return nil, errDataMoved
	}
	s.now.keep()
	h, err := build(s.ground, cfg, file.Diags)
	if err != nil {
		return nil, err
	}
	h.inherit(s.now.house)
	next, err := s.open(h)
	if err != nil {
		h.leaveBoxes()
	}
	return next, err
}

// serveControl answers the command line.
func (s *server) serveControl() (done chan struct{}, stop context.CancelFunc) {
	ctx, stop := context.WithCancel(context.Background())
	done = make(chan struct{})
	go func() {
		defer close(done)
		if err := control.Serve(ctx, s.ground.data, s.control()); err != nil {
			s.log.Error().Err(err).Msg("control socket")
		}
	}()
	return done, stop
}

// control are the requests that the command line may send.
func (s *server) control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /reload", func(w http.ResponseWriter, _ *http.Request) {
		syscall.Kill(os.Getpid(), syscall.SIGHUP)
		control.Answer(w, true, nil)
	})
	mux.Handle("/queue/", queueHandler(s.ground.queue))
	return mux
}
