package server

import (
	"context"
	"fmt"
	"io"

	"hoplite/internal/stats"
)

// openMetrics opens the listener of the block metrics, if there is one, and
// serves until ctx ends.
func (s *serving) openMetrics(ctx context.Context, out io.Writer) error {
	if s.Config.Metrics == nil {
		return nil
	}
	at := s.Config.Metrics.Listen
	if at.Network == "unix" {
		at.Address = s.Config.Under(at.Address)
	}
	l, err := s.runtime.sockets.Listen("metrics", at.Network, at.Address)
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	s.metricsAt = l.Addr()
	fmt.Fprintln(out, "listening metrics", address(l.Addr()))
	registry := stats.New()
	registry.MustRegister(s.runtime.metrics.queue, s.runtime.metrics.relay)
	s.accepting.Go(func() {
		if err := stats.Serve(ctx, l, registry); err != nil {
			s.Log.Error().Err(err).Msg("metrics")
		}
	})
	return nil
}
