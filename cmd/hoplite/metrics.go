package main

import (
	"context"
	"fmt"

	"hoplite/internal/stats"
	"hoplite/relay"
	"hoplite/relay/queue"
)

// openMetrics opens the listener of the block metrics, if there is one, and
// serves the figures of doors and queue as long as this house stands.
func (s *server) openMetrics(ctx context.Context, t *tenure) error {
	if t.cfg.Metrics == nil {
		return nil
	}
	where := t.cfg.Metrics.Listen
	if where.Network == "unix" {
		where.Address = t.cfg.under(where.Address)
	}
	l, err := t.sockets.Listen("metrics", where.Network, where.Address)
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	fmt.Fprintln(s.out, "listening metrics", address(l.Addr()))
	registry := stats.New()
	registry.MustRegister(t.figures, t.doorFigures)
	t.accepting.Go(func() {
		if err := stats.Serve(ctx, l, registry); err != nil {
			s.log.Error().Err(err).Msg("metrics")
		}
	})
	return nil
}

// openFigured opens the queue with its figures kept.
func (g *ground) openFigured(cfg *Config) (err error) {
	g.figures, g.doorFigures = queue.NewMetrics(), relay.NewMetrics()
	g.queue, err = openQueue(cfg, g.log, queueParts{
		spare:  true,
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
