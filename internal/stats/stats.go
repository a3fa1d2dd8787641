// Package stats serves numbers to Prometheus. It knows no mail: each room makes
// its own collectors, and cmd registers them here.
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

// Config is the block metrics { ... }. Without it nothing listens and nothing
// is served.
type Config struct {
	conf.Pos
	// Listen is where /metrics answers, without a password: keep it on loopback
	// or inside your own network.
	Listen conf.Listen `hcl:"listen" example:"127.0.0.1:9464"`
}

// New makes a registry that has the figures of the process and of the Go
// runtime.
func New() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// Serve answers GET /metrics on l until ctx ends.
func Serve(ctx context.Context, l net.Listener, r *prometheus.Registry) error {
	mux := http.NewServeMux()
	// Scrapes are few; more than a handful at once are somebody's mistake.
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
