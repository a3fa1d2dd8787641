package history

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"
)

// Reader searches a history written by this or another process.
type Reader struct{ dir string }

// NewReader returns a Reader of the history in dir.
func NewReader(dir string) *Reader { return &Reader{dir: dir} }

// Query selects records. All keys that are set must match; if none is set, all
// records of the period match.
type Query struct {
	ID, MessageID, From, To string
	Since, Until            time.Time // zero means no bound
	Limit                   int       // maximum number of records; the newest are kept; 0 means 1000
	// Match, if not nil, must also accept a record. It does not use the index.
	Match func(*Record) bool
	// Join adds all other records with the ids of those found, so that a
	// transaction is returned with the queue's attempts.
	Join bool
}

// key returns the index term to search for: the key that is expected to be
// rarest among those that are set.
func (q *Query) key() (key uint64, ok bool) {
	switch {
	case q.ID != "":
		return hash('i', q.ID), true
	case q.MessageID != "":
		return hash('m', normalID(q.MessageID)), true
	case q.To != "":
		return hash('t', q.To), true
	case q.From != "":
		return hash('f', q.From), true
	}
	return 0, false
}

func (q *Query) matches(r *Record) bool {
	if q.ID != "" && !strings.EqualFold(q.ID, r.ID) ||
		q.MessageID != "" && !strings.EqualFold(normalID(q.MessageID), normalID(r.MessageID)) ||
		q.From != "" && !strings.EqualFold(q.From, r.From) ||
		!q.Since.IsZero() && r.At.Before(q.Since) ||
		!q.Until.IsZero() && r.At.After(q.Until) ||
		q.Match != nil && !q.Match(r) {
		return false
	}
	if q.To == "" {
		return true
	}
	for _, to := range r.To {
		if strings.EqualFold(q.To, to) {
			return true
		}
	}
	return false
}

// Find returns the newest matching records, oldest first. Records added within
// the last second may be missing.
func (r *Reader) Find(ctx context.Context, q Query) ([]Record, error) {
	limit := q.Limit
	if limit <= 0 {
		limit = 1000
	}
	days, err := r.days()
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var found []Record
	for i := len(days) - 1; i >= 0 && len(found) < limit; i-- {
		start, _ := time.Parse(dayForm, days[i])
		// A record's time is the start of the transaction, which may be on the
		// day before the file's.
		if !q.Since.IsZero() && start.Add(24*time.Hour).Before(q.Since) ||
			!q.Until.IsZero() && start.Add(-24*time.Hour).After(q.Until) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		of, err := r.findDay(days[i], &q)
		if err != nil {
			return nil, err
		}
		found = append(of, found...)
	}
	sort.SliceStable(found, func(i, j int) bool { return found[i].At.Before(found[j].At) })
	found = found[max(0, len(found)-limit):]
	if !q.Join || q.ID != "" {
		return found, nil
	}
	return r.join(ctx, found)
}

// maxJoined and maxPerID limit the records that a join reads.
const (
	maxJoined = 25 // maximum number of ids; the newest are kept
	maxPerID  = 50
)

// join returns all records with the ids in found, newest id first.
func (r *Reader) join(ctx context.Context, found []Record) ([]Record, error) {
	var all []Record
	seen := map[string]bool{}
	for i := len(found) - 1; i >= 0 && len(seen) < maxJoined; i-- {
		id := found[i].ID
		if seen[id] {
			continue
		}
		seen[id] = true
		more, err := r.Find(ctx, Query{ID: id, Limit: maxPerID})
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
	}
	return all, nil
}

func (r *Reader) findDay(name string, q *Query) ([]Record, error) {
	path := filepath.Join(r.dir, name)
	lines, err := os.Open(path + ".jsonl")
	if err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	defer lines.Close()
	key, ok := q.key()
	if !ok {
		return scan(lines, q)
	}
	idx, err := os.Open(path + ".idx")
	if err != nil {
		return scan(lines, q)
	}
	defer idx.Close()
	return lookup(lines, idx, key, q)
}

// scan reads every line.
func scan(lines io.Reader, q *Query) ([]Record, error) {
	var found []Record
	s := bufio.NewScanner(lines)
	s.Buffer(make([]byte, 64<<10), maxLine)
	for s.Scan() {
		var rec Record
		if json.Unmarshal(s.Bytes(), &rec) == nil && q.matches(&rec) {
			found = append(found, rec)
		}
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	return found, nil
}

// lookup reads the lines to which the index points.
func lookup(lines io.ReaderAt, idx io.Reader, want uint64, q *Query) ([]Record, error) {
	var found []Record
	in := bufio.NewReaderSize(idx, 256<<10)
	var entry [entrySize]byte
	last := int64(-1)
	for {
		if _, err := io.ReadFull(in, entry[:]); err != nil {
			return found, nil // an incomplete last entry also ends the index
		}
		if binary.LittleEndian.Uint64(entry[:]) != want {
			continue
		}
		off := int64(binary.LittleEndian.Uint64(entry[8:]))
		if off == last {
			continue // a record that names the address twice
		}
		last = off
		line, err := bufio.NewReader(io.NewSectionReader(lines, off, maxLine)).ReadBytes('\n')
		if err != nil {
			continue // the line has not been written yet
		}
		var rec Record
		if json.Unmarshal(line, &rec) == nil && q.matches(&rec) {
			found = append(found, rec)
		}
	}
}
