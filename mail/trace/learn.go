package trace

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/rs/zerolog"

	"hoplite/mail"
	"hoplite/mail/received"
)

// Clocks records the clock errors of neighbouring servers. For each message
// from a neighbour, the time of receipt minus the last stamp is the
// transmission delay plus the difference between the clocks. Delays vary and
// are never negative, so the minimum over many messages is the difference
// between the clocks (as in SNTP clients). Clocks is safe for concurrent use.
type Clocks struct {
	path string
	mu   sync.Mutex
	seen *lru.Cache[string, *neighbour]
	news bool // there are new observations since the last Save
}

// neighbour holds the observations of one host: the minimum difference on each
// of the last days.
type neighbour struct {
	Days []day `json:"days"`
}

type day struct {
	Day   int64 `json:"day"`   // days since 1970
	Least int64 `json:"least"` // milliseconds
	Count int   `json:"count"`
}

const (
	maxNeighbours  = 4096
	maxDays        = 7
	enoughMessages = 5
	steady         = 5 * time.Second // maximum difference between days
)

// LoadClocks loads the observations saved by an earlier run. A missing or
// damaged file is treated as empty.
func LoadClocks(path string) *Clocks {
	c := &Clocks{path: path}
	c.seen, _ = lru.New[string, *neighbour](maxNeighbours) // fails only for sizes below one
	raw, err := os.ReadFile(path)
	if err != nil {
		return c
	}
	var saved []struct {
		Host string `json:"host"`
		neighbour
	}
	if json.Unmarshal(raw, &saved) != nil {
		return c
	}
	for _, s := range saved {
		if len(s.Days) <= maxDays {
			c.seen.Add(s.Host, &neighbour{s.Days})
		}
	}
	return c
}

// Save writes the observations to disk if there are new ones.
func (c *Clocks) Save() error {
	c.mu.Lock()
	if !c.news {
		c.mu.Unlock()
		return nil
	}
	c.news = false
	type entry struct {
		Host string `json:"host"`
		neighbour
	}
	list := make([]entry, 0, c.seen.Len())
	for _, host := range c.seen.Keys() {
		if n, ok := c.seen.Peek(host); ok {
			list = append(list, entry{host, neighbour{append([]day(nil), n.Days...)}})
		}
	}
	c.mu.Unlock()
	raw, err := json.Marshal(list)
	if err != nil {
		return fmt.Errorf("save clocks: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(c.path), ".clocks-*")
	if err != nil {
		return fmt.Errorf("save clocks: %w", err)
	}
	_, err = tmp.Write(raw)
	err = errors.Join(err, tmp.Chmod(0o640), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), c.path)
	}
	if err != nil {
		os.Remove(tmp.Name())
		return fmt.Errorf("save clocks: %w", err)
	}
	return nil
}

// Run saves every ten minutes until ctx is done, and then once more.
func (c *Clocks) Run(ctx context.Context, log zerolog.Logger) {
	tick := time.NewTicker(10 * time.Minute)
	defer tick.Stop()
	for done := false; !done; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			done = true
		}
		if err := c.Save(); err != nil {
			log.Error().Err(err).Msg("neighbours' clocks")
		}
	}
}

// Learn observes a message on arrival, using its newest Received line if the
// client wrote that line. client must be the forward-confirmed name of the
// client's address, because a client can send any name in HELO.
func (c *Clocks) Learn(head []byte, now time.Time, client string) {
	for f := range mail.Fields(head) {
		if !f.Is("Received") {
			continue
		}
		h := received.Parse(f.Value())
		if !h.Stamp.OK || h.Stamp.Coarse || insideName(h.By.Name) {
			return
		}
		if sameHost(client, h.By.Name) {
			c.Observe(h.By.Name, h.Stamp.Time(), now)
		}
		return
	}
}

// Observe records a message's stamp and its time of receipt.
func (c *Clocks) Observe(host string, stamp, now time.Time) {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	diff := now.Sub(stamp).Milliseconds()
	today := now.Unix() / 86400
	c.mu.Lock()
	defer c.mu.Unlock()
	c.news = true
	n, ok := c.seen.Get(host)
	if !ok {
		n = &neighbour{}
		c.seen.Add(host, n)
	}
	if k := len(n.Days); k > 0 && n.Days[k-1].Day == today {
		d := &n.Days[k-1]
		d.Least = min(d.Least, diff)
		d.Count++
		return
	}
	n.Days = append(n.Days, day{today, diff, 1})
	if len(n.Days) > maxDays {
		n.Days = n.Days[1:]
	}
}

// Known returns the error of a host's clock, positive if the clock is fast. ok
// is false if there are too few messages, if the days disagree, or if the
// difference is so large that it could be a slow queue instead of a slow clock.
func (c *Clocks) Known(host string) (fast time.Duration, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, ok := c.seen.Peek(strings.ToLower(strings.TrimSuffix(host, ".")))
	if !ok {
		return 0, false
	}
	count, low, high := 0, int64(0), int64(0)
	for i, d := range n.Days {
		count += d.Count
		if i == 0 {
			low, high = d.Least, d.Least
		}
		low, high = min(low, d.Least), max(high, d.Least)
	}
	if count < enoughMessages || high-low > steady.Milliseconds() || low > tolerance.Milliseconds() {
		return 0, false
	}
	if low >= 0 {
		return 0, true
	}
	// Stamps are truncated to seconds, so a correct clock may appear to be
	// a second slow.
	if low > -2000 {
		return 0, true
	}
	return time.Duration(-low) * time.Millisecond, true
}
