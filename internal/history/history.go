// Package history keeps what became of each transaction for some weeks: a
// daily file of JSON lines that any tool can read, with an index beside it.
//
// It knows no mail: a record has an id, a few keys to find it by, and data
// that its writer understands. Nothing here is synced to disk: a crash may
// lose the last second of history, never mail.
package history

import (
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

// DefaultKeep and DefaultMax bound a history when the configuration says
// nothing.
const (
	DefaultKeep = 30 * 24 * time.Hour
	DefaultMax  = 1 << 30
)

// Record is one line of history.
type Record struct {
	ID   string    `json:"id"`
	At   time.Time `json:"at"`
	Kind string    `json:"kind"` // "transaction", "refusal", "attempt", ...
	// The keys it is found by, beside ID.
	MessageID string   `json:"message_id,omitempty"`
	From      string   `json:"from,omitempty"`
	To        []string `json:"to,omitempty"`
	// Data is the rest, as its writer made it.
	Data json.RawMessage `json:"data,omitempty"`
}

// hashes are the index terms of a record.
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

// normalID is a Message-ID without its angle brackets.
func normalID(s string) string { return strings.Trim(s, "<> \t") }

const (
	maxWaiting = 8 << 20                // octets waiting for the writer
	flushEvery = 200 * time.Millisecond // how stale a look-up may be
	dayForm    = "2006-01-02"
)

// Store writes history. Reading works beside it, from other processes too:
// see Reader.
type Store struct {
	Reader
	keep time.Duration
	max  int64
	log  zerolog.Logger

	mu      sync.Mutex
	waiting batch
	spare   batch // the writer's, between two writes
	lost    atomic.Int64

	full chan struct{} // a token when the batch is large enough to write
	stop chan struct{}
	once sync.Once
	done chan struct{}
}

// Open starts a history in dir, which it makes if need be. Records older than
// keep and, beyond max octets, the oldest ones are removed day by day. Zero
// values stand for the defaults. Close it to write what waits.
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
	d, err := openDay(dir, time.Now())
	if err != nil {
		return nil, err
	}
	s.prune(time.Now())
	go s.run(d)
	return s, nil
}

// Add keeps a record, with data as its Data: nil for none. It never waits for
// the disk: when the writer can't keep up, records are dropped and counted, for
// mail goes first.
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

// Lost is the number of records that were dropped since the start.
func (s *Store) Lost() int64 { return s.lost.Load() }

// Close writes what waits and stops. No Add may follow.
func (s *Store) Close() error {
	s.once.Do(func() { close(s.stop) })
	<-s.done
	return nil
}

// run is the writer: it writes what came since the last time.
func (s *Store) run(d *day) {
	defer close(s.done)
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-s.full:
		case <-s.stop:
			s.flush(d, time.Now()).close()
			return
		}
		d = s.flush(d, time.Now())
	}
}

// flush writes the batch, and moves on to the next file when the day changed.
func (s *Store) flush(d *day, now time.Time) *day {
	s.mu.Lock()
	b := s.waiting
	s.waiting = s.spare
	s.mu.Unlock()
	if err := d.write(&b); err != nil {
		s.log.Error().Err(err).Msg("history")
	}
	b.reset()
	s.spare = b
	if d.name == now.UTC().Format(dayForm) {
		return d
	}
	next, err := openDay(s.dir, now)
	if err != nil {
		s.log.Error().Err(err).Msg("history")
		return d
	}
	d.close()
	s.prune(now)
	return next
}

// prune removes days that are too old, then the oldest beyond the space.
func (s *Store) prune(now time.Time) {
	days, err := s.days()
	if err != nil {
		s.log.Error().Err(err).Msg("history")
		return
	}
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

// days are the names of the daily files, oldest first.
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
