package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"reflect"
	"sync/atomic"

	"github.com/rs/zerolog"

	"hoplite/internal/conf"
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
	stores      map[string]keptStore
	replaced    []*maildrop.Store // by a reload; sessions may still use them
	clocks      *trace.Clocks     // of neighbours
	learned     chan struct{}     // closed once they are saved for the last time
	forget      context.CancelFunc
}

// keptStore is a maildrop that a reload finds again when its block is the same.
type keptStore struct {
	cfg   maildrop.Config
	store *maildrop.Store
}

// store opens a maildrop, or gives the one that is open already.
func (g *ground) store(c *maildrop.Config, account func(mail.Address) (maildrop.Account, bool)) (*maildrop.Store, error) {
	key := *c
	key.Pos = conf.Pos{}
	if k, ok := g.stores[c.Name]; ok && reflect.DeepEqual(k.cfg, key) {
		return k.store, nil
	}
	s, err := maildrop.Open(*c, maildrop.Env{
		Data: g.data, Log: g.log.With().Str("hop", c.Name).Logger(), Account: account,
	})
	if err != nil {
		return nil, err
	}
	if k, ok := g.stores[c.Name]; ok {
		g.replaced = append(g.replaced, k.store)
	}
	g.stores[c.Name] = keptStore{key, s}
	return s, nil
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
		stores:   map[string]keptStore{},
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
	for name, k := range g.stores {
		if err := k.store.Close(); err != nil {
			g.log.Error().Err(err).Str("maildrop", name).Msg("close maildrop")
		}
	}
	for _, s := range g.replaced {
		if err := s.Close(); err != nil {
			g.log.Error().Err(err).Msg("close maildrop")
		}
	}
	if g.history != nil {
		g.history.Close()
	}
	g.lock.Close()
}
