package server

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hoplite/cmd/hoplite/internal/assembly"
	"hoplite/internal/stats"
)

// openMetrics opens the listener of the metrics block, if there is one, and
// serves metrics until ctx ends.
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
	registry.MustRegister(s.runtime.metrics.queue, s.runtime.metrics.relay, upstreamMetrics{s.Hops}, certificateMetrics{s.certs})
	s.accepting.Go(func() {
		if err := stats.Serve(ctx, l, registry); err != nil {
			s.Log.Error().Err(err).Msg("metrics")
		}
	})
	return nil
}

// upstreamMetrics exports the metrics of a generation's upstreams.
type upstreamMetrics struct{ hops *assembly.Hops }

var (
	weakTLS       = prometheus.NewDesc("hoplite_upstream_legacy_tls_total", "Connections that only a legacy profile permits.", []string{"hop"}, nil)
	tokenFailures = prometheus.NewDesc("hoplite_upstream_token_failures_total", "Requests for an OAuth access token that failed.", []string{"hop"}, nil)
	tokenLeft     = prometheus.NewDesc("hoplite_upstream_token_seconds", "Time until the OAuth access token expires; 0 without one.", []string{"hop"}, nil)
)

// Describe implements prometheus.Collector.
func (m upstreamMetrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- weakTLS
	ch <- tokenFailures
	ch <- tokenLeft
}

// Collect implements prometheus.Collector.
func (m upstreamMetrics) Collect(ch chan<- prometheus.Metric) {
	for name, up := range m.hops.Upstreams {
		ch <- prometheus.MustNewConstMetric(weakTLS, prometheus.CounterValue, float64(up.WeakTLS()), name)
		if tokens := up.Tokens(); tokens != nil {
			ch <- prometheus.MustNewConstMetric(tokenFailures, prometheus.CounterValue, float64(tokens.Failures()), name)
			ch <- prometheus.MustNewConstMetric(tokenLeft, prometheus.GaugeValue, max(0, time.Until(tokens.Expires()).Seconds()), name)
		}
	}
}
