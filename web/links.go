package web

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// links stores pasted headers under permalinks, each in a file named after its
// secret and its expiry in Unix seconds.
type links struct {
	dir  string
	most time.Duration
}

const (
	maxLinks    = 1000
	maxLinkSize = 1 << 20
)

// keep stores a header for a limited time and returns its secret.
func (l *links) keep(head []byte, d time.Duration) (id string, err error) {
	if l.dir == "" {
		return "", errors.New("permalinks are disabled")
	}
	if len(head) > maxLinkSize {
		return "", errors.New("the header is too large for a permalink")
	}
	if err := os.MkdirAll(l.dir, 0o750); err != nil {
		return "", fmt.Errorf("keep permalink: %w", err)
	}
	if l.sweep() >= maxLinks {
		return "", errors.New("too many permalinks are stored: wait until some expire")
	}
	d = min(max(d, time.Minute), l.most)
	id = random()
	name := filepath.Join(l.dir, id+"."+strconv.FormatInt(time.Now().Add(d).Unix(), 10))
	if err := os.WriteFile(name, head, 0o640); err != nil {
		return "", fmt.Errorf("keep permalink: %w", err)
	}
	return id, nil
}

// find returns a stored header and its expiry.
func (l *links) find(id string) (head []byte, until time.Time, ok bool) {
	if l.dir == "" || len(id) != 32 || strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
		return nil, until, false
	}
	entries, _ := os.ReadDir(l.dir)
	for _, e := range entries {
		if name, end, _ := strings.Cut(e.Name(), "."); name == id {
			until, ok = ends(end)
			if !ok || time.Now().After(until) {
				return nil, until, false
			}
			head, err := os.ReadFile(filepath.Join(l.dir, e.Name()))
			return head, until, err == nil
		}
	}
	return nil, until, false
}

func ends(s string) (time.Time, bool) {
	unix, err := strconv.ParseInt(s, 10, 64)
	return time.Unix(unix, 0), err == nil
}

// sweep removes expired files and counts the others.
func (l *links) sweep() int {
	entries, _ := os.ReadDir(l.dir)
	n := 0
	for _, e := range entries {
		_, end, _ := strings.Cut(e.Name(), ".")
		if until, ok := ends(end); ok && time.Now().After(until) {
			os.Remove(filepath.Join(l.dir, e.Name()))
			continue
		}
		n++
	}
	return n
}
