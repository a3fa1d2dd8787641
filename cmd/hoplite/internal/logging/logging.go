// Package logging creates the program's logger, which writes to stderr.
package logging

import (
	"io"
	"os"
	"sync"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/rs/zerolog"

	"hoplite/cmd/hoplite/internal/config"
)

// New returns a logger that writes to stderr: JSON, or text on a terminal. Flush
// writes the lines that are still buffered.
func New(cfg *config.LogConfig) (log zerolog.Logger, flush func()) {
	zerolog.TimeFieldFormat = time.RFC3339Nano
	zerolog.DurationFieldUnit = time.Millisecond
	level, err := zerolog.ParseLevel(cfg.Level)
	if err != nil {
		level = zerolog.InfoLevel
	}
	var out io.Writer
	if cfg.Format == "text" || cfg.Format == "auto" && isatty.IsTerminal(os.Stderr.Fd()) {
		out, flush = zerolog.ConsoleWriter{Out: os.Stderr, TimeFormat: "15:04:05.000"}, func() {}
	} else {
		l := &lines{out: os.Stderr}
		out, flush = l, l.flush
	}
	return zerolog.New(out).Level(level).With().Timestamp().Logger(), flush
}

// Lines are buffered briefly and written together, because separate writes
// would make every session wait for the log's disk and cost a system call per
// line.
const (
	linesWait = 10 * time.Millisecond
	linesRoom = 64 << 10
)

// lines buffers log lines. Warnings and errors are written immediately,
// together with the lines buffered before them.
type lines struct {
	out io.Writer

	mu      sync.Mutex
	waiting []byte
	armed   bool // a timer is set to flush

	writing sync.Mutex // keeps the writes in order; acquired before mu
	spare   []byte
}

// Write buffers one line of unknown level.
func (l *lines) Write(p []byte) (int, error) { return l.WriteLevel(zerolog.NoLevel, p) }

// WriteLevel buffers one line.
func (l *lines) WriteLevel(level zerolog.Level, p []byte) (int, error) {
	l.mu.Lock()
	l.waiting = append(l.waiting, p...)
	now := level >= zerolog.WarnLevel || len(l.waiting) > linesRoom
	if !now && !l.armed {
		l.armed = true
		time.AfterFunc(linesWait, l.flush)
	}
	l.mu.Unlock()
	if now {
		l.flush()
	}
	return len(p), nil
}

// flush writes the buffered lines.
func (l *lines) flush() {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.mu.Lock()
	batch := l.waiting
	l.waiting, l.armed = l.spare[:0], false
	l.mu.Unlock()
	if len(batch) > 0 {
		l.out.Write(batch) // an error cannot be reported anywhere
	}
	if l.spare = batch; cap(batch) > 4*linesRoom {
		l.spare = nil
	}
}
