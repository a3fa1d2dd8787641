// Package history stores the outcome of each transaction for several weeks, in
// daily files of JSON lines that any tool can read, each with an index.
//
// It is independent of mail: a record has an id, a few keys and data that only
// its writer interprets. Files are not synced to disk, so a crash may lose the
// last second of history, but never mail. Store writes records; Reader searches
// and joins them by id.
package history

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// DefaultKeep and DefaultMax are the limits of a history unless the
// configuration sets others.
const (
	DefaultKeep = 30 * 24 * time.Hour
	DefaultMax  = 1 << 30
)

// Record is one line of history.
type Record struct {
	ID   string    `json:"id"`
	At   time.Time `json:"at"`
	Kind string    `json:"kind"` // "transaction", "refusal", "attempt", ...
	// The following are the search keys in addition to ID.
	MessageID string   `json:"message_id,omitempty"`
	From      string   `json:"from,omitempty"`
	To        []string `json:"to,omitempty"`
	// Data is the record itself, as encoded by its writer.
	Data json.RawMessage `json:"data,omitempty"`
}

// hashes appends the index terms of a record.
func (r *Record) hashes(to []uint64) []uint64 {
	to = append(to, hash('i', r.ID))
	if r.MessageID != "" {
		to = append(to, hash('m', normalID(r.MessageID)))
	}
	to = append(to, hash('f', r.From))
	for _, rcpt := range r.To {
		to = append(to, hash('t', rcpt))
	}
	return to
}

// normalID returns a Message-ID without angle brackets.
func normalID(s string) string { return strings.Trim(s, "<> \t") }

const (
	maxWaiting = 8 << 20                // maximum number of bytes waiting for the writer
	flushEvery = 200 * time.Millisecond // the maximum time before a record can be found
	dayForm    = "2006-01-02"
	retryOpen  = time.Minute
)

// Store writes history. Other processes may read it at the same time with
// NewReader.
type Store struct {
	Reader
	keep time.Duration
	max  int64
	log  zerolog.Logger

	mu      sync.Mutex
	waiting batch
	spare   batch // reused by the writer
	lost    atomic.Int64
	failed  time.Time // the last time the writer could not open its file

	full chan struct{} // holds a value when the batch is large enough to write
	stop chan struct{}
	once sync.Once
	done chan struct{}
}

// Open opens the history in dir, which it creates if necessary. Days older than
// keep are removed, and so are the oldest days while there are more than max
// bytes. Zero values mean the defaults. If a file cannot be opened, the error
// is logged and the attempt is repeated every minute. Until it succeeds,
// records are dropped, because mail does not depend on history.
func Open(dir string, keep time.Duration, max int64, log zerolog.Logger) (*Store, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("open history: %w", err)
	}
	if keep <= 0 {
		keep = DefaultKeep
	}
	if max <= 0 {
		max = DefaultMax
	}
	s := &Store{
		Reader: Reader{dir: dir},
		keep:   keep, max: max, log: log,
		full: make(chan struct{}, 1),
		stop: make(chan struct{}),
		done: make(chan struct{}),
	}
	d := s.openDay(time.Now())
	s.prune(time.Now())
	go s.run(d)
	return s, nil
}

// Add adds a record, with data as its Data unless data is nil. It never waits
// for the disk: if the writer cannot keep up, records are dropped and counted,
// because mail has priority.
func (s *Store) Add(r Record, data zerolog.LogObjectMarshaler) {
	e := encoders.Get().(*encoder)
	defer encoders.Put(e)
	e.encode(&r, data)
	s.mu.Lock()
	if len(s.waiting.lines)+len(e.line) > maxWaiting {
		s.lost.Add(1)
	} else {
		s.waiting.add(e.line, e.keys)
	}
	full := len(s.waiting.lines) >= batchSize
	s.mu.Unlock()
	if full {
		select {
		case s.full <- struct{}{}:
		default:
		}
	}
}

// Lost returns the number of records dropped since Open.
func (s *Store) Lost() int64 { return s.lost.Load() }

// Close writes the remaining records. Add must not be called afterwards.
func (s *Store) Close() error {
	s.once.Do(func() { close(s.stop) })
	<-s.done
	return nil
}

// run writes the waiting records at intervals.
func (s *Store) run(d *day) {
	defer close(s.done)
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-s.full:
		case <-s.stop:
			if d = s.flush(d, time.Now()); d != nil {
				d.close()
			}
			return
		}
		d = s.flush(d, time.Now())
	}
}

// flush writes the batch, and opens the next file if the day has changed.
func (s *Store) flush(d *day, now time.Time) *day {
	s.mu.Lock()
	b := s.waiting
	s.waiting = s.spare
	s.mu.Unlock()
	if d == nil {
		d = s.openDay(now)
	}
	if d == nil {
		s.lost.Add(int64(bytes.Count(b.lines, []byte("\n"))))
	} else if err := d.write(&b); err != nil {
		s.log.Error().Err(err).Msg("history")
	}
	b.reset()
	s.spare = b
	if d == nil || d.name == now.UTC().Format(dayForm) {
		return d
	}
	next := s.openDay(now)
	if next == nil {
		return d
	}
	d.close()
	s.prune(now)
	return next
}

// openDay opens the file for the current day. It returns nil if that fails, or
// has failed within the last minute.
func (s *Store) openDay(now time.Time) *day {
	if now.Sub(s.failed) < retryOpen {
		return nil
	}
	d, rebuilt, err := openDay(s.dir, now)
	if err != nil {
		s.failed = now
		s.log.Error().Err(err).Msg("history is not written")
		return nil
	}
	if rebuilt != nil {
		s.log.Warn().Err(rebuilt).Str("day", d.name).Msg("damaged index of the history rebuilt")
	}
	return d
}

// prune removes days that are too old, and the oldest ones if the history is
// too large.
func (s *Store) prune(now time.Time) {
	days, err := s.days()
	if err != nil {
		s.log.Error().Err(err).Msg("history")
		return
	}
	now = present(now, days)
	total := int64(0)
	for i := len(days) - 1; i >= 0; i-- {
		path := filepath.Join(s.dir, days[i])
		for _, end := range []string{".jsonl", ".idx"} {
			if info, err := os.Stat(path + end); err == nil {
				total += info.Size()
			}
		}
		at, _ := time.Parse(dayForm, days[i])
		today := i == len(days)-1
		if !today && (total > s.max || now.Sub(at) > s.keep+24*time.Hour) {
			os.Remove(path + ".idx")
			os.Remove(path + ".jsonl")
		}
	}
}

// present returns the time from which the age of days is measured. It is now,
// unless the newest day is much later than the previous one: then the clock may
// be temporarily wrong, and using it would remove a month of history.
func present(now time.Time, days []string) time.Time {
	if len(days) < 2 {
		return now
	}
	before, _ := time.Parse(dayForm, days[len(days)-2])
	if latest := before.Add(48 * time.Hour); latest.Before(now) {
		return latest
	}
	return now
}

// days returns the names of the daily files, oldest first.
func (r *Reader) days() ([]string, error) {
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return nil, fmt.Errorf("list history: %w", err)
	}
	var days []string
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".jsonl")
		if _, err := time.Parse(dayForm, name); ok && err == nil {
			days = append(days, name)
		}
	}
	sort.Strings(days)
	return days, nil
}
