package forward

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"hoplite/internal/files"
	"hoplite/mail"
)

// memory caches an upstream's answers about its recipients, so that mail for
// unknown ones is refused at RCPT and never bounces. Existing recipients, and
// domains where every address is accepted, are kept across restarts: if an old
// server is down for a weekend, its recipients must remain known.
type memory struct {
	rcpts   *lru.Cache[string, verdict]
	domains *lru.Cache[string, verdict] // whether a server accepts every address

	path    string // "": nothing is kept across restarts
	mu      sync.Mutex
	save    *time.Timer // pending write; nil if nothing has changed
	writing sync.Mutex
}

// verdict is an answer about a recipient.
type verdict struct {
	reply *mail.Reply // nil: recipient exists, or domain accepts all addresses
	until time.Time   // when to ask again
	stale time.Time   // end of use while the server cannot be asked
}

// staleFor is the maximum time for which a recipient that existed is accepted
// while its server cannot be asked.
const staleFor = 31 * 24 * time.Hour

// saveAfter is the time for which changes are collected before they are
// written.
const saveAfter = time.Minute

func (v verdict) fresh() bool { return time.Now().Before(v.until) }

func (v verdict) exists() bool { return v.reply == nil && time.Now().Before(v.stale) }

func (v verdict) err() error {
	if v.reply == nil {
		return nil
	}
	return v.reply
}

// newMemory returns a memory for at most size recipients, with the entries
// stored at path. If the file is damaged, only its entries are lost.
func newMemory(size int, path string) (*memory, error) {
	m := &memory{path: path}
	m.rcpts, _ = lru.New[string, verdict](max(size, 1))
	m.domains, _ = lru.New[string, verdict](10000)
	if path == "" {
		return m, nil
	}
	err := m.load()
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return m, err
}

func (m *memory) rcpt(key string) (verdict, bool)    { return m.rcpts.Get(key) }
func (m *memory) domain(name string) (verdict, bool) { return m.domains.Get(name) }

func (m *memory) exists(key string, valid time.Duration) {
	now := time.Now()
	m.rcpts.Add(key, verdict{until: now.Add(valid), stale: now.Add(staleFor)})
	m.changed()
}

// confirm is like exists, but for a recipient to which mail was delivered. It
// renews the recipient's verdict if that has expired.
func (m *memory) confirm(key string, valid time.Duration) {
	if v, ok := m.rcpts.Peek(key); ok && v.reply == nil && v.fresh() {
		return
	}
	m.exists(key, valid)
}

func (m *memory) unknown(key string, reply *mail.Reply, valid time.Duration) {
	m.rcpts.Add(key, verdict{reply: reply, until: time.Now().Add(valid)})
	m.changed()
}

func (m *memory) acceptsAll(domain string, all bool) {
	now := time.Now()
	v := verdict{until: now.Add(acceptAllFor), stale: now.Add(staleFor)}
	if !all {
		v.reply = errUnknownRcpt
	}
	was, known := m.domains.Peek(domain)
	m.domains.Add(domain, v)
	if all || known && was.reply == nil {
		m.changed()
	}
}

// changed schedules writing the memory to disk within saveAfter.
func (m *memory) changed() {
	if m.path == "" {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.save == nil {
		m.save = time.AfterFunc(saveAfter, func() { m.flush() })
	}
}

// flush writes the existing recipients, and the domains where every address is
// accepted as "@domain", if anything has changed.
func (m *memory) flush() error {
	m.writing.Lock()
	defer m.writing.Unlock()
	m.mu.Lock()
	pending := m.save
	m.save = nil
	m.mu.Unlock()
	if pending == nil {
		return nil
	}
	pending.Stop()
	var b bytes.Buffer
	for _, kept := range []struct {
		verdicts *lru.Cache[string, verdict]
		prefix   string
	}{{m.rcpts, ""}, {m.domains, "@"}} {
		for _, key := range kept.verdicts.Keys() { // oldest first, because load adds them in this order
			if v, ok := kept.verdicts.Peek(key); ok && v.exists() {
				fmt.Fprintf(&b, "%d %d %s%s\n", v.until.Unix(), v.stale.Unix(), kept.prefix, key)
			}
		}
	}
	if err := os.MkdirAll(filepath.Dir(m.path), 0o750); err != nil {
		return err
	}
	return files.Write(m.path, b.Bytes(), 0o640)
}

func (m *memory) load() error {
	f, err := os.Open(m.path)
	if err != nil {
		return err
	}
	defer f.Close()
	now := time.Now()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		until, rest, _ := strings.Cut(lines.Text(), " ")
		stale, key, ok := strings.Cut(rest, " ")
		u, err1 := strconv.ParseInt(until, 10, 64)
		s, err2 := strconv.ParseInt(stale, 10, 64)
		if !ok || key == "" || err1 != nil || err2 != nil {
			continue // the end of a damaged file
		}
		// If the clock was wrong when the file was written, a verdict must not
		// be valid for years.
		v := verdict{until: fromFile(u, now), stale: fromFile(s, now)}
		domain, isDomain := strings.CutPrefix(key, "@")
		switch {
		case !v.exists():
		case isDomain:
			m.domains.Add(domain, v)
		default:
			m.rcpts.Add(key, v)
		}
	}
	return lines.Err()
}

// fromFile converts a stored time to a time on this run's monotonic clock, at
// most staleFor from now.
func fromFile(unix int64, now time.Time) time.Time {
	return now.Add(min(time.Unix(unix, 0).Sub(now), staleFor))
}
