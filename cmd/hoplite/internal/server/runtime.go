package server

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/rs/zerolog"

	"hoplite/cmd/hoplite/internal/assembly"
	"hoplite/cmd/hoplite/internal/check"
	"hoplite/cmd/hoplite/internal/config"
	"hoplite/cmd/hoplite/internal/queueadmin"
	"hoplite/imap"
	"hoplite/internal/control"
	"hoplite/internal/handles"
	"hoplite/internal/history"
	"hoplite/internal/listen"
	"hoplite/internal/spool"
	"hoplite/internal/users"
	"hoplite/mail"
	"hoplite/mail/srs"
	"hoplite/mail/trace"
	"hoplite/relay"
	"hoplite/relay/forward/tlsresults"
	"hoplite/relay/queue"
)

// runtime holds everything that outlives a reload of the configuration.
type runtime struct {
	data string
	log  zerolog.Logger
	lock io.Closer // lock of the data folder

	sockets *listen.Sockets
	gate    *listen.Gate
	handles *handles.Pool // open files of the maildrops
	spool   *spool.Dir
	history *history.Store
	queue   *queue.Queue
	stores  stores
	results *tlsresults.Store // results of TLS sessions

	throttle *users.Throttle // slows down clients that guess passwords
	srs      *srs.Rewriter
	// directory is the current generation's directory. It is nil until the
	// first generation is complete.
	directory atomic.Pointer[assembly.Directory]

	// signing is the generation that signs messages of this server. It is nil until
	// the first generation is complete.
	signing atomic.Pointer[serving]

	issuer *issuance // manager of the acme block; nil if there is none
	// certificates is the generation whose certificates are in use. It is nil
	// before the first generation.
	certificates atomic.Pointer[serving]

	metrics      metrics
	imapTally    listen.Tally
	imapWorks    imap.Works
	clocks       *trace.Clocks // clock errors of neighbouring servers
	clocksSaved  chan struct{} // closed after they have been saved for the last time
	forgetClocks context.CancelFunc
}

// metrics holds the counters for the metrics block.
type metrics struct {
	queue *queue.Metrics
	relay *relay.Metrics
}

// openRuntime locks the data folder and opens its contents.
func openRuntime(cfg *config.Config, log zerolog.Logger) (*runtime, error) {
	lock, err := control.Lock(cfg.Data)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &runtime{
		data: cfg.Data, log: log, lock: lock,
		sockets:  listen.NewSockets(),
		gate:     listen.NewGate(0),
		handles:  handles.Share(),
		throttle: users.NewThrottle(),
		metrics:  metrics{queue.NewMetrics(), relay.NewMetrics()},
		clocks:   trace.LoadClocks(cfg.Under("state/clocks.json")), clocksSaved: make(chan struct{}), forgetClocks: cancel,
	}
	go func() { r.clocks.Run(ctx, log); close(r.clocksSaved) }()
	if err := r.openData(cfg); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func (r *runtime) openData(cfg *config.Config) (err error) {
	for _, dir := range []string{"spool", "queue", "state", "tls"} {
		if err := os.MkdirAll(cfg.Under(dir), 0o750); err != nil {
			return fmt.Errorf("create data folder: %w", err)
		}
	}
	if err := check.SameFileSystem(cfg.Under("spool"), cfg.Under("queue")); err != nil {
		return err
	}
	if r.spool, err = spool.Open(cfg.Under("spool"), 0); err != nil {
		return err
	}
	if r.history, err = history.Open(cfg.Under("history"), cfg.History.Keep, int64(cfg.History.Max), r.log); err != nil {
		return err
	}
	if r.results, err = tlsresults.Open(cfg.Under("state/tls-results.json")); err != nil {
		r.log.Warn().Err(err).Msg("TLS reports")
	}
	if r.srs, err = assembly.OpenRewriter(cfg, r.log); err != nil {
		return err
	}
	r.queue, err = queueadmin.Open(cfg, r.log, queueadmin.Callbacks{
		Sender: r.sender, Sign: r.signOwn, Attempted: r.attempted, Synced: r.metrics.queue.Synced, Spare: true,
	})
	if err != nil {
		return err
	}
	r.metrics.queue.Watch(r.queue)
	return nil
}

// close closes everything and unlocks the data folder.
func (r *runtime) close() {
	r.sockets.Close()
	r.issuer.close()
	r.forgetClocks()
	<-r.clocksSaved
	if r.queue != nil {
		if err := r.queue.Close(); err != nil {
			r.log.Error().Err(err).Msg("close queue")
		}
	}
	if err := r.results.Flush(); err != nil {
		r.log.Error().Err(err).Msg("TLS reports")
	}
	if err := r.stores.close(); err != nil {
		r.log.Error().Err(err).Msg("close maildrops")
	}
	if r.history != nil {
		r.history.Close()
	}
	r.lock.Close()
}

// path returns a path in the data folder.
func (r *runtime) path(name string) string { return filepath.Join(r.data, name) }

// runQueue delivers queued mail until stop is called. stop waits for running
// attempts.
func (r *runtime) runQueue() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := r.queue.Run(ctx, grace); err != nil {
			r.log.Error().Err(err).Msg("queue")
		}
	}()
	return func() { cancel(); <-done }
}

// sender returns the reverse path to use for a recipient.
func (r *runtime) sender(from mail.Address, to mail.Rcpt) mail.Address {
	d := r.directory.Load()
	if d == nil {
		return from
	}
	return d.Sender(from, to)
}

// attempted records an attempt of the queue in metrics and history.
func (r *runtime) attempted(a queue.Attempt) {
	r.metrics.queue.Attempted(a)
	to := make([]string, len(a.Outcomes))
	for i, o := range a.Outcomes {
		to[i] = string(o.Rcpt)
	}
	r.history.Add(history.Record{
		ID: a.ID, At: a.Started, Kind: "attempt", From: string(a.From), To: to,
	}, &a)
}
