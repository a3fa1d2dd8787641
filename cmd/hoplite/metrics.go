package main

import (
	"context"
	"fmt"
	"net"

	"hoplite/internal/stats"
	"hoplite/relay"
	"hoplite/relay/queue"
)

// serveMetrics opens the listener of the block metrics, if there is one, and
// serves the figures of doors and queue until stop is called.
func (s *server) serveMetrics(cfg *Config) (stop func(), err error) {
	if cfg.Metrics == nil {
		return func() {}, nil
	}
	where := cfg.Metrics.Listen
	if where.Network == "unix" {
		where.Address = cfg.under(where.Address)
	}
	l, err := net.Listen(where.Network, where.Address)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	fmt.Fprintln(s.out, "listening metrics", address(l.Addr()))
	registry := stats.New()
	registry.MustRegister(s.ground.figures, s.ground.doorFigures)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := stats.Serve(ctx, l, registry); err != nil {
			s.log.Error().Err(err).Msg("metrics")
		}
	}()
	return func() { cancel(); <-done }, nil
}

// openFigured opens the queue with its figures kept.
func (g *ground) openFigured(cfg *Config) (err error) {
	g.figures, g.doorFigures = queue.NewMetrics(), relay.NewMetrics()
	g.queue, err = openQueue(cfg, g.log, queueParts{
		synced: g.figures.Synced,
		sender: g.sender,
		attempted: func(a queue.Attempt) {
			g.figures.Attempted(a)
			g.attempted(a)
		},
	})
	if err == nil {
		g.figures.Watch(g.queue)
	}
	return err
}
