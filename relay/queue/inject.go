package queue

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hoplite/mail"
	"hoplite/relay/queue/journal"
)

// maxInject bounds a file in the inject folder.
const maxInject = 256 << 20

// injectAll queues every pair in the inject folder.
func (q *Queue) injectAll(ctx context.Context) {
	if q.opt.Inject == "" {
		return
	}
	names, err := filepath.Glob(filepath.Join(q.opt.Inject, "*.json"))
	if err != nil {
		return
	}
	for _, name := range names {
		base := strings.TrimSuffix(name, ".json")
		if _, err := os.Lstat(base + ".eml"); errors.Is(err, fs.ErrNotExist) {
			continue // the other half is still on its way
		}
		id, err := q.inject(ctx, base)
		switch {
		case err == nil:
			q.log.Info().Str("id", id).Str("file", base+".eml").Msg("injected")
			os.Remove(base + ".json")
			os.Remove(base + ".eml")
		case errors.As(err, new(*badPair)):
			q.log.Error().Err(err).Str("file", base+".eml").Msg("not injected; renamed to .bad")
			os.Rename(base+".json", base+".json.bad")
			os.Rename(base+".eml", base+".bad")
		default: // the disk, not the pair: the next round may succeed
			q.log.Error().Err(err).Str("file", base+".eml").Msg("not injected yet")
		}
	}
}

// badPair is a file that no later round would like better.
type badPair struct{ error }

func (q *Queue) inject(ctx context.Context, base string) (string, error) {
	text, err := readRegular(base+".json", 4<<20)
	if err != nil {
		return "", err
	}
	var f envelopeFile
	if err := json.Unmarshal(text, &f); err != nil {
		return "", &badPair{fmt.Errorf("read envelope: %w", err)}
	}
	env, err := f.read()
	if err != nil {
		return "", &badPair{err}
	}
	octets, err := readRegular(base+".eml", maxInject)
	if err != nil {
		return "", err
	}
	m, err := mail.NewMessage(mail.Bytes(toCRLF(octets)))
	if err != nil {
		return "", &badPair{err}
	}
	m.EightBit = bytes.IndexFunc(octets, func(c rune) bool { return c >= 0x80 }) >= 0
	it := newItem(mail.NewID(), f.Upstream, env, time.Now())
	it.noReport = f.Forged
	return it.id, q.put(ctx, it, m, f.Quarantine)
}

// put queues a message that came by no door. With quarantine it is held.
func (q *Queue) put(ctx context.Context, it *item, m *mail.Message, quarantine string) error {
	q.mu.Lock()
	if q.running && q.upstreams[it.upstream] == nil {
		it.upstream = Router
	}
	q.mu.Unlock()
	if it.upstream == Router && len(it.env.Rcpts) == 1 {
		q.direct(it)
	}
	it.size = m.Size()
	tx := it.transaction(q.settings.Load().Hostname)
	tx.Quarantine = quarantine
	state := it.quarantine(tx)
	if err := q.opt.Journal.Commit(ctx, journal.Change{Kind: journal.Put, ID: it.id, Meta: packMeta(it, tx), State: state, Message: m}); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.admit(it)
	return nil
}

// readRegular reads a file that is no link and no device, up to limit octets.
func readRegular(path string, limit int64) ([]byte, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, &badPair{fmt.Errorf("%s is no file of at most %d octets", path, limit)}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}

// toCRLF ends all lines as mail does; editors like LF.
func toCRLF(b []byte) []byte {
	if bytes.Count(b, []byte("\n")) == bytes.Count(b, []byte("\r\n")) {
		return b
	}
	b = bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n"))
	return bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n"))
}
