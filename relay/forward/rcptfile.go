package forward

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"hoplite/mail"
)

// rcptFile is a list of recipients that is reloaded when its file changes.
type rcptFile struct {
	path string

	mu     sync.Mutex
	list   map[string]bool
	stamp  time.Time
	looked time.Time
}

// has reports whether the list contains an address or its domain.
func (f *rcptFile) has(a mail.Address) (bool, error) {
	list, err := f.read()
	return list[a.Key()] || list["@"+a.ASCIIDomain()], err
}

// read returns the list from the file, which it checks for changes once a
// second.
func (f *rcptFile) read() (map[string]bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.list != nil && time.Since(f.looked) < time.Second {
		return f.list, nil
	}
	info, err := os.Stat(f.path)
	if err != nil {
		return nil, err
	}
	f.looked = time.Now()
	if f.list != nil && info.ModTime().Equal(f.stamp) {
		return f.list, nil
	}
	list, err := readRcpts(f.path)
	if err != nil {
		return nil, err
	}
	f.list, f.stamp = list, info.ModTime()
	return list, nil
}

// readRcpts reads a file with one address or @domain per line. A second word,
// the value in a Postfix map, is ignored.
func readRcpts(path string) (map[string]bool, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	list := map[string]bool{}
	lines := bufio.NewScanner(file)
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(text)
		if len(words) == 0 {
			continue
		}
		if domain, ok := strings.CutPrefix(words[0], "@"); ok {
			d, err := mail.ParseDomain(domain)
			if err != nil {
				return nil, fmt.Errorf("%s:%d: %q: %w", path, n, words[0], err)
			}
			list["@"+d] = true
			continue
		}
		a, err := mail.ParseAddress(words[0])
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %q: %w", path, n, words[0], err)
		}
		list[a.Key()] = true
	}
	return list, lines.Err()
}
