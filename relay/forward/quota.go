package forward

import (
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"

	"hoplite/internal/files"
	"hoplite/mail"
)

// quota limits the number of recipients in any 24 hours, counted by hour. It is
// kept across restarts. A nil *quota has no limit.
type quota struct {
	max  int
	path string // "": nothing is kept across restarts

	mu    sync.Mutex
	hours map[int64]int // recipients by hours since 1970
	dirty *time.Timer   // pending write; nil if nothing has changed
}

// newQuota returns a quota of max recipients whose state is in the file at path.
// A damaged file is ignored.
func newQuota(max int, path string) *quota {
	if max == 0 {
		return nil
	}
	q := &quota{max: max, path: path, hours: map[int64]int{}}
	if b, err := os.ReadFile(path); err != nil || json.Unmarshal(b, &q.hours) != nil || q.hours == nil {
		q.hours = map[int64]int{}
	}
	return q
}

// limited returns the quota after changing its limit.
func (q *quota) limited(max int) *quota {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.max = max
	return q
}

func hourOf(t time.Time) int64 { return t.Unix() / 3600 }

// used returns the number of recipients in the last 24 hours. The lock must be
// held.
func (q *quota) used(now time.Time) (n int) {
	for hour, count := range q.hours {
		if hour <= hourOf(now)-24 {
			delete(q.hours, hour)
			continue
		}
		n += count
	}
	return n
}

// reserve counts n recipients, or returns the reply if there would be too many.
// More recipients than the limit are counted if there were none before, because
// they could otherwise never be sent.
func (q *quota) reserve(n int, now time.Time, upstream string) *mail.Reply {
	if q == nil {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if used := q.used(now); used > 0 && used+n > q.max {
		return mail.NewReply(451, "4.3.2", "upstream %s has reached its limit of %d recipients a day", upstream, q.max)
	}
	q.change(n, now)
	return nil
}

// settle releases the recipients that were reserved at now but not accepted by a
// server.
func (q *quota) settle(out []mail.Outcome, now time.Time) {
	if q == nil {
		return
	}
	refused := 0
	for i := range out {
		if !out[i].Reply.Positive() {
			refused++
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.change(-refused, now)
}

// change adds to the count of an hour. The lock must be held.
func (q *quota) change(n int, now time.Time) {
	q.hours[hourOf(now)] = max(0, q.hours[hourOf(now)]+n)
	if q.path != "" && q.dirty == nil {
		q.dirty = time.AfterFunc(saveAfter, func() { q.flush() })
	}
}

// flush writes the count to disk if it has changed.
func (q *quota) flush() error {
	if q == nil {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.dirty == nil {
		return nil
	}
	q.dirty.Stop()
	q.dirty = nil
	b, err := json.Marshal(q.hours)
	if err == nil {
		err = files.Write(q.path, b, 0o640)
	}
	if err != nil {
		return fmt.Errorf("save the number of recipients: %w", err)
	}
	return nil
}
