package main

import (
	"io"
	"os"
	"sync"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/rs/zerolog"
)

// newLogger writes the log to stderr: JSON, or text for a person's terminal.
// What still waits is written by flush.
func newLogger(cfg *LogConfig) (log zerolog.Logger, flush func()) {
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

// Lines of the log wait a moment for company: a write for each would make every
// session wait for the disk under the log, and cost a system call a line.
const (
	linesWait = 10 * time.Millisecond
	linesRoom = 64 << 10
)

// lines writes the log in bunches. Warnings and errors go out at once, with
// all that stands before them.
type lines struct {
	out io.Writer

	mu      sync.Mutex
	waiting []byte
	armed   bool // a timer will flush

	writing sync.Mutex // keeps the bunches in order; taken before mu
	spare   []byte
}

// Write takes one line whose level is not known.
func (l *lines) Write(p []byte) (int, error) { return l.WriteLevel(zerolog.NoLevel, p) }

// WriteLevel takes one line.
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

// flush writes what waits.
func (l *lines) flush() {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.mu.Lock()
	bunch := l.waiting
	l.waiting, l.armed = l.spare[:0], false
	l.mu.Unlock()
	if len(bunch) > 0 {
		l.out.Write(bunch) // nobody is left to tell of an error
	}
	if l.spare = bunch; cap(bunch) > 4*linesRoom {
		l.spare = nil
	}
}
