package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"time"

	"hoplite/internal/files"
)

// How many suspected proxies are recorded, and for how long.
const (
	maxProxied = 10
	proxiedFor = 7 * 24 * time.Hour
)

// proxiedFile returns the path of the file that records suspected proxies.
func (c *Config) proxiedFile() string { return c.Under("state/proxied") }

// NoteProxied records that most clients came from one trusted address, as from a
// proxy that does not pass on their addresses.
func (c *Config) NoteProxied(addr netip.Addr, now time.Time) error {
	text := fmt.Sprintf("%s %s\n", addr, now.UTC().Format(time.RFC3339))
	for _, other := range c.Proxied(now) {
		if other.Addr != addr && strings.Count(text, "\n") < maxProxied {
			text += fmt.Sprintf("%s %s\n", other.Addr, other.At.Format(time.RFC3339))
		}
	}
	return files.Write(c.proxiedFile(), []byte(text), 0o640)
}

// Proxied is a trusted address from which most clients came.
type Proxied struct {
	Addr netip.Addr
	At   time.Time
}

// Proxied returns what NoteProxied has recorded in the last week. A file that
// cannot be read has no entries.
func (c *Config) Proxied(now time.Time) (list []Proxied) {
	text, err := os.ReadFile(c.proxiedFile())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for line := range strings.Lines(string(text)) {
		addr, at, _ := strings.Cut(strings.TrimSpace(line), " ")
		p := Proxied{}
		if p.Addr, err = netip.ParseAddr(addr); err != nil {
			continue
		}
		if p.At, err = time.Parse(time.RFC3339, at); err != nil || now.Sub(p.At) > proxiedFor {
			continue
		}
		list = append(list, p)
	}
	return list
}
