package resolve

import (
	"io"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	hostsTTL = 5 * time.Second
	maxHosts = 1 << 20
)

// hosts is /etc/hosts, which is reloaded after hostsTTL.
type hosts struct {
	path string

	mu    sync.Mutex
	read  time.Time
	names map[string][]netip.Addr
}

// lookup answers queries for localhost (RFC 6761, 6.3) and for names in the
// file.
func (h *hosts) lookup(name string, t Type) (Answer, bool) {
	if t != A && t != AAAA {
		return Answer{}, false
	}
	addrs := h.addrs(name)
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		addrs = []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()}
	}
	a := Answer{Name: name, TTL: hostsTTL}
	for _, ip := range addrs {
		if ip.Is4() == (t == A) {
			a.Records = append(a.Records, Record{Addr: ip})
		}
	}
	return a, len(addrs) > 0
}

func (h *hosts) addrs(name string) []netip.Addr {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now := time.Now(); h.names == nil || now.Sub(h.read) > hostsTTL {
		h.read, h.names = now, readHosts(h.path)
	}
	return h.names[name]
}

func readHosts(path string) map[string][]netip.Addr {
	names := map[string][]netip.Addr{}
	f, err := os.Open(path)
	if err != nil {
		return names // there is no file
	}
	defer f.Close()
	text, _ := io.ReadAll(io.LimitReader(f, maxHosts)) // use the part that could be read
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		ip, err := netip.ParseAddr(words[0])
		if err != nil {
			continue
		}
		for _, w := range words[1:] {
			if n, err := Canonical(w); err == nil {
				names[n] = append(names[n], ip.WithZone("").Unmap())
			}
		}
	}
	return names
}
