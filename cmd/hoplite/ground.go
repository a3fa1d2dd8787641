package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"github.com/rs/zerolog"

	"hoplite/internal/control"
	"hoplite/internal/history"
	"hoplite/internal/listen"
	"hoplite/internal/spool"
	"hoplite/internal/users"
	"hoplite/mail"
	"hoplite/mail/srs"
	"hoplite/mail/trace"
	"hoplite/maildrop"
	"hoplite/relay"
	"hoplite/relay/queue"
)

// ground is what outlives a reload of the configuration: the data folder with
// its lock, history, sockets, and what was learned of guessers.
type ground struct {
	data        string
	log         zerolog.Logger
	lock        io.Closer
	sockets     *listen.Sockets
	gate        *listen.Gate
	history     *history.Store
	throttle    *users.Throttle
	spool       *spool.Dir
	queue       *queue.Queue
	figures     *queue.Metrics
	doorFigures *relay.Metrics
	srs         *srs.Rewriter
	own         atomic.Pointer[users.Resolver] // of the house that stands now
	imapTally   listen.Tally
	storesMu    sync.Mutex
	stores      map[string]*keptStore // by maildrop.Location
	clocks      *trace.Clocks         // of neighbours
	learned     chan struct{}         // closed once they are saved for the last time
	forget      context.CancelFunc
}

// keptStore is an open maildrop. Houses whose maildrops lie in one place share
// it: two of them would have two ideas of a folder.
type keptStore struct {
	*maildrop.Store
	houses int // that use it
}

// store opens the maildrop at a path for a house, or gives it the one that is
// open there.
func (g *ground) store(path string, c *maildrop.Config, account func(mail.Address) (maildrop.Account, bool)) (*maildrop.Store, error) {
	g.storesMu.Lock()
	defer g.storesMu.Unlock()
	k := g.stores[path]
	if k == nil {
		s, err := maildrop.Open(*c, maildrop.Env{
			Data: g.data, Log: g.log.With().Str("hop", c.Name).Logger(), Account: account,
		})
		if err != nil {
			return nil, err
		}
		k = &keptStore{Store: s}
		g.stores[path] = k
	}
	k.houses++
	return k.Store, nil
}

// leaveStore is the other end of store. The last house to leave closes it, once
// the mail that is still on its way into it has arrived.
func (g *ground) leaveStore(path string) {
	g.storesMu.Lock()
	defer g.storesMu.Unlock()
	k := g.stores[path]
	if k.houses--; k.houses > 0 {
		return
	}
	delete(g.stores, path)
	if err := k.Retire(); err != nil {
		g.log.Error().Err(err).Str("path", path).Msg("close maildrop")
	}
}

// stand takes the data folder.
func stand(cfg *Config, log zerolog.Logger) (*ground, error) {
	lock, err := control.Lock(cfg.Data)
	if err != nil {
		return nil, err
	}
	g := &ground{
		data: cfg.Data, log: log, lock: lock,
		sockets:  listen.NewSockets(),
		gate:     listen.NewGate(0),
		throttle: users.NewThrottle(),
		stores:   map[string]*keptStore{},
		clocks:   trace.LoadClocks(cfg.under("state/clocks.json")),
		learned:  make(chan struct{}),
	}
	ctx, forget := context.WithCancel(context.Background())
	g.forget = forget
	go func() { g.clocks.Run(ctx, log); close(g.learned) }()
	for _, dir := range []string{"spool", "queue", "state", "tls"} {
		if err := os.MkdirAll(cfg.under(dir), 0o750); err != nil {
			g.leave()
			return nil, fmt.Errorf("make data folder: %w", err)
		}
	}
	if err := sameFileSystem(cfg.under("spool"), cfg.under("queue")); err != nil {
		g.leave()
		return nil, err
	}
	if g.spool, err = spool.Open(cfg.under("spool"), 0); err != nil {
		g.leave()
		return nil, err
	}
	g.history, err = history.Open(cfg.under("history"), cfg.History.Keep, int64(cfg.History.Max), log)
	if err != nil {
		g.leave()
		return nil, err
	}
	if g.srs, err = srs.Open(cfg.under("state/srs.key"), cfg.Hostname); err != nil {
		g.leave()
		return nil, err
	}
	if err = g.openFigured(cfg); err != nil {
		g.leave()
		return nil, err
	}
	return g, nil
}

// leave gives everything back.
func (g *ground) leave() {
	g.sockets.Close()
	g.forget()
	<-g.learned
	if g.queue != nil {
		if err := g.queue.Close(); err != nil {
			g.log.Error().Err(err).Msg("close queue")
		}
	}
	for path, k := range g.stores {
		if err := k.Close(); err != nil {
			g.log.Error().Err(err).Str("path", path).Msg("close maildrop")
		}
	}
	if g.history != nil {
		g.history.Close()
	}
	g.lock.Close()
}
