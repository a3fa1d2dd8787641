package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/rs/zerolog"

	"hoplite/internal/control"
	"hoplite/internal/history"
	"hoplite/internal/listen"
	"hoplite/internal/users"
)

// ground is what outlives a reload of the configuration: the data folder with
// its lock, history, sockets, and what was learned of guessers.
type ground struct {
	data     string
	log      zerolog.Logger
	lock     io.Closer
	sockets  *listen.Sockets
	gate     *listen.Gate
	history  *history.Store
	throttle *users.Throttle
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
	}
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
	g.history, err = history.Open(cfg.under("history"), cfg.History.Keep, int64(cfg.History.Max), log)
	if err != nil {
		g.leave()
		return nil, err
	}
	return g, nil
}

// leave gives everything back.
func (g *ground) leave() {
	g.sockets.Close()
	if g.history != nil {
		g.history.Close()
	}
	g.lock.Close()
}

// newLogger writes the log to stderr: JSON, or text for a person's terminal.
func newLogger(cfg *LogConfig) zerolog.Logger {
	zerolog.TimeFieldFormat = time.RFC3339Nano
	zerolog.DurationFieldUnit = time.Millisecond
	level, err := zerolog.ParseLevel(cfg.Level)
	if err != nil {
		level = zerolog.InfoLevel
	}
	var out io.Writer = os.Stderr
	if cfg.Format == "text" || cfg.Format == "auto" && isatty.IsTerminal(os.Stderr.Fd()) {
		out = zerolog.ConsoleWriter{Out: os.Stderr, TimeFormat: "15:04:05.000"}
	}
	return zerolog.New(out).Level(level).With().Timestamp().Logger()
}

// watchFiles reads accounts and aliases again when they change, once a second,
// until ctx ends.
func watchFiles(ctx context.Context, log zerolog.Logger, reload ...func() error) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var last string
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var errs []error
		for _, f := range reload {
			errs = append(errs, f())
		}
		// The same complaint is logged once, not every second.
		text := ""
		if err := errors.Join(errs...); err != nil {
			text = err.Error()
		}
		if text != "" && text != last {
			log.Error().Str("cause", text).Msg("file not taken over")
		}
		last = text
	}
}
