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

// line is the record as JSON. Data is put in as it is: it was made by an
// encoder, and checking it again would cost as much as all the rest.
func (r *Record) line() ([]byte, error) {
	head := *r
	head.Data = nil
	line, err := json.Marshal(head)
	if err != nil || len(r.Data) == 0 {
		return line, err
	}
	line = append(line[:len(line)-1], `,"data":`...)
	return append(append(line, r.Data...), '}'), nil
}

// keys are the index terms of a record, in lower case.
func (r *Record) keys() []string {
	keys := make([]string, 0, 3+len(r.To))
	keys = append(keys, "i"+strings.ToLower(r.ID))
	if r.MessageID != "" {
		keys = append(keys, "m"+normalID(r.MessageID))
	}
	keys = append(keys, "f"+strings.ToLower(r.From))
	for _, to := range r.To {
		keys = append(keys, "t"+strings.ToLower(to))
	}
	return keys
}

func (r *Record) hashes() []uint64 {
	keys := r.keys()
	hashes := make([]uint64, len(keys))
	for i, k := range keys {
		hashes[i] = hash(k)
	}
	return hashes
}

// normalID is a Message-ID without its angle brackets.
func normalID(s string) string { return strings.ToLower(strings.Trim(s, "<> \t")) }

const (
	queueLen   = 4096                   // records waiting for the writer
	flushEvery = 200 * time.Millisecond // how stale a look-up may be
	dayForm    = "2006-01-02"
)

// Store writes history. Reading works beside it, from other processes too:
// see Reader.
type Store struct {
	Reader
	keep  time.Duration
	max   int64
	log   zerolog.Logger
	queue chan entry
	lost  atomic.Int64
	stop  chan struct{}
	once  sync.Once
	done  chan struct{}
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
		queue: make(chan entry, queueLen),
		stop:  make(chan struct{}),
		done:  make(chan struct{}),
	}
	w, err := openDay(dir, time.Now())
	if err != nil {
		return nil, err
	}
	s.prune(time.Now())
	go s.run(w)
	return s, nil
}

// Add keeps a record. It never waits for the disk: when the writer can't keep
// up, records are dropped and counted, for mail goes first.
func (s *Store) Add(r Record) {
	line, err := r.line()
	if err != nil {
		s.log.Error().Err(err).Str("id", r.ID).Msg("history record")
		return
	}
	select {
	case s.queue <- entry{line, r.hashes()}:
	default:
		s.lost.Add(1)
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

// run is the writer: it gathers what came since the last write.
func (s *Store) run(w *day) {
	defer close(s.done)
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case e := <-s.queue:
			w.add(e)
		case now := <-tick.C:
			w = s.flush(w, now)
		case <-s.stop:
			for {
				select {
				case e := <-s.queue:
					w.add(e)
					continue
				default:
				}
				break
			}
			s.flush(w, time.Now()).close()
			return
		}
		if w.full() {
			w = s.flush(w, time.Now())
		}
	}
}

// flush writes the batch, and moves on to the next file when the day changed.
func (s *Store) flush(w *day, now time.Time) *day {
	if err := w.flush(); err != nil {
		s.log.Error().Err(err).Msg("history")
	}
	if w.name == now.UTC().Format(dayForm) {
		return w
	}
	next, err := openDay(s.dir, now)
	if err != nil {
		s.log.Error().Err(err).Msg("history")
		return w
	}
	w.close()
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
