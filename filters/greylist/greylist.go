// Package greylist is the filter that defers the first message from a client
// network, sender and recipient that have not been seen together before. Mail
// servers retry after a few minutes; most spam senders do not.
package greylist

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/rs/zerolog"

	"hoplite/filters"
	"hoplite/internal/conf"
	"hoplite/mail"
)

const (
	maxTriplets = 200_000         // about 40 MiB of memory, 13 MiB on disk
	saveEvery   = 5 * time.Minute // the most that a crash can lose
)

// Config is the filter "greylist" { ... } block of a chain. It belongs after
// spf.
type Config struct {
	// Delay is the time before a retry by an unknown sender is accepted.
	Delay time.Duration `hcl:"delay,optional" default:"5m"`
	// Window is the period within which the sender must retry.
	Window time.Duration `hcl:"window,optional" default:"2d"`
	// Keep is how long a sender that retried is remembered after its last
	// message.
	Keep time.Duration `hcl:"keep,optional" default:"36d"`
	// Proven is the number of senders in a network that must have retried
	// before the whole network is accepted without delay; 0 means never.
	Proven int `hcl:"proven,optional" default:"5"`
	// SPF accepts mail without delay if SPF passes.
	SPF bool `hcl:"spf,optional" default:"true"`
	// Except lists networks that are never delayed.
	Except []netip.Prefix `hcl:"except,optional"`
}

// Check requires delay < window <= keep.
func (c *Config) Check() error {
	if c.Delay <= 0 || c.Window <= c.Delay || c.Keep < c.Window {
		return conf.Fieldf("delay", "want delay < window <= keep")
	}
	return nil
}

// id is the hash of a triplet or network, so that the file does not reveal
// correspondents.
type id [16]byte

// seen is the record of one triplet or network.
type seen struct {
	first, last time.Time
	back        int // number of retries
}

// Filter records triplets according to a Config.
type Filter struct {
	cfg  Config
	file string
	log  zerolog.Logger
	*memory
}

// memory holds all records; after a reload the old and the new filter share it.
type memory struct {
	mu     sync.Mutex
	known  *lru.Cache[id, seen]
	saved  time.Time
	saving bool
}

// New returns the filter and loads its state. If the state cannot be read, the
// filter starts without it, which causes some delays.
func New(cfg Config, env filters.Env) (filters.Filter, error) {
	known, err := lru.New[id, seen](maxTriplets)
	if err != nil {
		return nil, err
	}
	f := &Filter{cfg, filepath.Join(env.Data, "state", "greylist-"+env.Place), env.Log, &memory{known: known, saved: time.Now()}}
	if err := f.load(time.Now()); err != nil {
		f.log.Warn().Err(err).Msg("starting with an empty greylist")
	}
	return f, nil
}

// Inherit takes over the state of another filter.
func (f *Filter) Inherit(from filters.Filter) { f.memory = from.(*Filter).memory }

// AtRcpt accepts known senders and defers unknown ones.
func (f *Filter) AtRcpt(_ context.Context, tx *mail.Transaction, r *mail.Rcpt) (filters.Verdict, error) {
	ip := tx.Client.Addr.Addr().Unmap()
	if filters.Known(&tx.Client) || !ip.IsValid() {
		return filters.Verdict{}, nil
	}
	for _, p := range f.cfg.Except {
		if p.Contains(ip) {
			return filters.Verdict{}, nil
		}
	}
	if f.cfg.SPF {
		for _, a := range tx.Trail.Auth {
			if a.Method == "spf" && a.Value == "pass" && a.Prop("smtp", "mailfrom") != "" {
				return filters.Verdict{Reason: "SPF passed for the client"}, nil
			}
		}
	}
	return f.judge(network(ip), tx.Envelope.From.Key(), r.To.Key()), nil
}

// network returns the client's network, because large senders retry from other
// hosts.
func network(ip netip.Addr) string {
	bits := 24
	if ip.Is6() {
		bits = 64
	}
	p, err := ip.WithZone("").Prefix(bits)
	if err != nil {
		return ip.String()
	}
	return p.String()
}

func (f *Filter) judge(net, from, to string) filters.Verdict {
	now := time.Now()
	key, netKey := hash(net, from, to), hash(net)
	f.mu.Lock()
	defer f.mu.Unlock()
	defer f.saveLater(now)
	n, ok := f.known.Get(netKey)
	if ok && f.cfg.Proven > 0 && n.back >= f.cfg.Proven && now.Sub(n.last) < f.cfg.Keep {
		n.last = now
		f.known.Add(netKey, n)
		return filters.Verdict{Reason: net + " is known"}
	}
	s, ok := f.known.Get(key)
	switch {
	case ok && s.back > 0 && now.Sub(s.last) < f.cfg.Keep:
		s.last = now
		s.back++
	case ok && s.back == 0 && now.Sub(s.first) < f.cfg.Delay:
		return f.wait(net, s.first.Add(f.cfg.Delay).Sub(now))
	case ok && s.back == 0 && now.Sub(s.first) < f.cfg.Window:
		s.last, s.back = now, 1
		n.last = now
		n.back++
		f.known.Add(netKey, n)
	default:
		f.known.Add(key, seen{first: now, last: now})
		return f.wait(net, f.cfg.Delay)
	}
	f.known.Add(key, s)
	return filters.Verdict{Reason: fmt.Sprintf("retried %d times", s.back)}
}

func (f *Filter) wait(net string, d time.Duration) filters.Verdict {
	v := filters.Deferred(450, "4.7.1", "Greylisted, please try again in %s", d.Round(time.Second))
	v.Delay = true
	v.Facts = []mail.Fact{{Key: "network", Value: net}}
	return v
}

func hash(parts ...string) id {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return id(sum[:16])
}

// saveLater saves the state in the background if the last save was long enough
// ago. The caller holds f.mu.
func (f *Filter) saveLater(now time.Time) {
	if f.saving || now.Sub(f.saved) < saveEvery {
		return
	}
	f.saving = true
	go func() {
		if err := f.save(); err != nil {
			f.log.Warn().Err(err).Msg("greylist not saved")
		}
		f.mu.Lock()
		f.saving, f.saved = false, time.Now()
		f.mu.Unlock()
	}()
}

// Keep saves the state immediately.
func (f *Filter) Keep() error { return f.save() }

// save writes all records, least recently used first.
func (f *Filter) save() error {
	if err := os.MkdirAll(filepath.Dir(f.file), 0o750); err != nil {
		return err
	}
	t, err := os.CreateTemp(filepath.Dir(f.file), "greylist.tmp*")
	if err != nil {
		return err
	}
	defer os.Remove(t.Name()) // fails after the rename
	w := bufio.NewWriter(t)
	for _, k := range f.known.Keys() {
		if s, ok := f.known.Peek(k); ok {
			fmt.Fprintf(w, "%x %d %d %d\n", k, s.first.Unix(), s.last.Unix(), s.back)
		}
	}
	if err := errors.Join(w.Flush(), t.Sync(), t.Close()); err != nil {
		return err
	}
	return os.Rename(t.Name(), f.file)
}

// load reads the file. Unreadable lines are skipped: losing one costs only a
// few minutes of delay. Times in the future, which result from a clock step,
// are treated as now, because a client would otherwise have to wait until then.
func (f *Filter) load(now time.Time) error {
	file, err := os.Open(f.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read greylist: %w", err)
	}
	defer file.Close()
	in := bufio.NewScanner(file)
	for in.Scan() {
		var word string
		var first, last int64
		var back int
		if _, err := fmt.Sscanf(in.Text(), "%32s %d %d %d", &word, &first, &last, &back); err != nil {
			continue
		}
		k, err := hex.DecodeString(word)
		if err == nil && len(k) == len(id{}) && back >= 0 {
			f.known.Add(id(k), seen{earlier(time.Unix(first, 0), now), earlier(time.Unix(last, 0), now), back})
		}
	}
	return in.Err()
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
