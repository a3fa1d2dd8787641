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

// envelopeFile is the .json beside a message in deferred and inject: for
// people to read, and enough to queue the message again.
type envelopeFile struct {
	ID       string        `json:"id,omitempty"`
	Upstream string        `json:"upstream"` // empty or unknown: routed anew
	From     mail.Address  `json:"from"`
	Queued   time.Time     `json:"queued"`
	Body     string        `json:"body,omitempty"` // 7BIT, 8BITMIME
	UTF8     bool          `json:"smtputf8,omitempty"`
	TLS      bool          `json:"requiretls,omitempty"`
	Ret      string        `json:"ret,omitempty"`
	EnvID    string        `json:"envid,omitempty"`
	Held     string        `json:"held,omitempty"`
	Rcpts    []rcptsInFile `json:"rcpts"`
}

type rcptsInFile struct {
	To       mail.Address `json:"to"`
	Orig     mail.Address `json:"orig,omitempty"`
	ORcpt    string       `json:"orcpt,omitempty"`
	Notify   mail.Notify  `json:"notify,omitempty"`
	State    string       `json:"state,omitempty"` // only those waiting, or without a state, are queued again
	Attempts int          `json:"attempts,omitempty"`
	Last     string       `json:"last,omitempty"`
}

// Envelope is the text of the .json file beside a deferred message; it fits
// journal.Options.
func Envelope(id string, meta, state []byte) []byte {
	it := &item{id: id}
	err := unpackMeta(meta, it, nil)
	it.rcpts = make([]rcpt, len(it.env.Rcpts))
	if err = errors.Join(err, unpackState(state, it)); err != nil {
		return fmt.Appendf(nil, "{\"id\": %q, \"error\": %q}\n", id, err)
	}
	f := envelopeFile{
		ID: id, Upstream: it.to(), From: it.env.From, Queued: it.at, Body: it.env.Body, UTF8: it.env.UTF8,
		TLS: it.env.RequireTLS, Ret: it.env.Ret, EnvID: it.env.EnvID, Held: it.held,
	}
	for i, r := range it.env.Rcpts {
		in := rcptsInFile{To: r.To, ORcpt: r.ORcpt, Notify: r.Notify, State: it.rcpts[i].status.String(), Attempts: it.rcpts[i].attempts}
		if r.Orig != r.To {
			in.Orig = r.Orig
		}
		if last := it.rcpts[i].last; last != nil {
			in.Last = last.String()
		}
		f.Rcpts = append(f.Rcpts, in)
	}
	text, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return fmt.Appendf(nil, "{\"id\": %q, \"error\": %q}\n", id, err)
	}
	return append(text, '\n')
}

// EnvelopeFile is the text of a .json file from which the message can be
// queued again, elsewhere for instance.
func (d *Detail) EnvelopeFile() ([]byte, error) {
	f := envelopeFile{
		ID: d.ID, Upstream: d.Upstream, From: mail.Address(d.From), Queued: d.At, Held: d.Held,
		EnvID: d.Envelope.EnvID, Body: d.Envelope.Body, UTF8: d.Envelope.UTF8, TLS: d.Envelope.RequireTLS, Ret: d.Envelope.Ret,
	}
	for i, r := range d.Rcpts {
		f.Rcpts = append(f.Rcpts, rcptsInFile{
			To: mail.Address(r.To), Orig: mail.Address(r.Orig), ORcpt: d.Envelope.Rcpts[i].ORcpt, Notify: d.Envelope.Rcpts[i].Notify,
			State: r.State, Attempts: r.Attempts, Last: r.Reply,
		})
	}
	text, err := json.MarshalIndent(f, "", "  ")
	return append(text, '\n'), err
}

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
	env := mail.Envelope{From: f.From, Body: f.Body, UTF8: f.UTF8, RequireTLS: f.TLS, Ret: f.Ret, EnvID: f.EnvID}
	if f.From != "" {
		if env.From, err = mail.ParseAddress(string(f.From)); err != nil {
			return "", &badPair{fmt.Errorf("from: %w", err)}
		}
	}
	for _, r := range f.Rcpts {
		if r.State != "" && r.State != waiting.String() {
			continue
		}
		to, err := mail.ParseAddress(string(r.To))
		if err != nil {
			return "", &badPair{fmt.Errorf("recipient %q: %w", r.To, err)}
		}
		orig := to
		if r.Orig != "" {
			if orig, err = mail.ParseAddress(string(r.Orig)); err != nil {
				return "", &badPair{fmt.Errorf("original recipient %q: %w", r.Orig, err)}
			}
		}
		env.Rcpts = append(env.Rcpts, mail.Rcpt{To: to, Orig: orig, ORcpt: r.ORcpt, Notify: r.Notify})
	}
	if len(env.Rcpts) == 0 {
		return "", &badPair{errors.New("no recipient is waiting")}
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
	return q.put(ctx, f.Upstream, env, m)
}

// put queues a message of our own making under a new id.
func (q *Queue) put(ctx context.Context, upstream string, env mail.Envelope, m *mail.Message) (string, error) {
	q.mu.Lock()
	if q.running && q.upstreams[upstream] == nil {
		upstream = Router
	}
	q.mu.Unlock()
	it := newItem(mail.NewID(), upstream, env, time.Now())
	if upstream == Router && len(env.Rcpts) == 1 {
		q.direct(it)
	}
	it.size = m.Size()
	meta := packMeta(it, it.transaction(q.opt.Hostname))
	if err := q.opt.Journal.Commit(ctx, journal.Change{Kind: journal.Put, ID: it.id, Meta: meta, Message: m}); err != nil {
		return "", err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.admit(it)
	return it.id, nil
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
