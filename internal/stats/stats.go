// Package stats serves metrics to Prometheus. Each package provides its own
// collectors; cmd/hoplite registers them.
package stats

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"hoplite/internal/conf"
)

// Config is the metrics { ... } block. Without it no metrics are served.
type Config struct {
	conf.Pos
	// Listen is the address on which /metrics is served. There is no password,
	// so use a loopback address or one inside your own network.
	Listen conf.Listen `hcl:"listen" example:"127.0.0.1:9464"`
}

// New returns a registry with the metrics of the process and the Go runtime.
func New() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// Serve answers GET /metrics on l until ctx ends.
func Serve(ctx context.Context, l net.Listener, r *prometheus.Registry) error {
	mux := http.NewServeMux()
	// Scrapes are rare; more than a few at once indicate a mistake.
	mux.Handle("GET /metrics", promhttp.HandlerFor(r, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 20 * time.Second}))
	server := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve metrics: %w", err)
	}
	return nil
}
