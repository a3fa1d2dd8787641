package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"hoplite/mail"
	"hoplite/relay/queue/journal"
	"hoplite/relay/queue/record"
	"hoplite/relay/queue/schedule"
)

// maxInject is the maximum size of a message in the inject folder.
const maxInject = 256 << 20

// injector queues messages that an administrator places in a folder.
type injector struct {
	q   *Queue
	dir string // data/queue/inject; empty disables injection
	log zerolog.Logger
}

// run queues every pair of files in the folder.
func (in *injector) run(ctx context.Context) {
	if in.dir == "" {
		return
	}
	names, err := filepath.Glob(filepath.Join(in.dir, "*.json"))
	if err != nil {
		return
	}
	for _, name := range names {
		base := strings.TrimSuffix(name, ".json")
		if _, err := os.Lstat(base + ".eml"); errors.Is(err, fs.ErrNotExist) {
			continue // the other file does not exist yet
		}
		id, err := in.inject(ctx, base)
		switch {
		case err == nil:
			in.log.Info().Str("id", id).Str("file", base+".eml").Msg("injected")
			os.Remove(base + ".json")
			os.Remove(base + ".eml")
		case in.q.stopIfFenced(err):
			return
		case errors.As(err, new(*badPair)):
			in.log.Error().Err(err).Str("file", base+".eml").Msg("not injected; renamed to .bad")
			os.Rename(base+".json", base+".json.bad")
			os.Rename(base+".eml", base+".bad")
		default: // a disk error, not a bad pair: the next round may succeed
			in.log.Error().Err(err).Str("file", base+".eml").Msg("not injected yet")
		}
	}
}

// badPair is an error that a retry would not fix.
type badPair struct{ error }

// inject queues the message in base.eml with the envelope in base.json.
func (in *injector) inject(ctx context.Context, base string) (string, error) {
	q := in.q
	text, err := readRegular(base+".json", 4<<20)
	if err != nil {
		return "", err
	}
	f, env, err := record.ReadFile(text)
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
	msg := schedule.NewMessage(mail.NewID(), f.Upstream, env, time.Now())
	msg.Forged, msg.Unverified, msg.Size = f.Forged, f.Unverified, m.Size()
	q.update(func(sm *schedule.Machine) {
		if _, known := sm.Policy(msg.Upstream); sm.Running() && !known {
			msg.Upstream = Router
		}
	})
	if msg.Upstream == Router && len(env.Rcpts) == 1 {
		q.direct(msg)
	}
	tx := transaction(msg, q.hostname())
	tx.Quarantine = f.Quarantine
	state := quarantine(msg, f.Quarantine)
	err = q.opt.Journal.Commit(ctx, journal.Change{Kind: journal.Put, ID: msg.ID, Meta: record.Meta(msg, tx), State: state, Message: m})
	if err != nil {
		return "", err
	}
	q.stats.queued.Add(1)
	q.update(func(sm *schedule.Machine) { sm.Admit(msg, time.Now()) })
	return msg.ID, nil
}

// readRegular reads a regular file of at most limit octets. It does not follow
// symbolic links.
func readRegular(path string, limit int64) ([]byte, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, &badPair{fmt.Errorf("%s is not a regular file of at most %d octets", path, limit)}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}

// toCRLF converts all line endings to CRLF, because editors write LF.
func toCRLF(b []byte) []byte {
	if bytes.Count(b, []byte("\n")) == bytes.Count(b, []byte("\r\n")) {
		return b
	}
	b = bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n"))
	return bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n"))
}
