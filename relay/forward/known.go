package forward

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"hoplite/mail"
)

// known remembers who exists at an upstream, so that a stranger's address is
// refused at the door and never becomes a bounce.
type known struct {
	cfg     *Config
	rcpts   *lru.Cache[string, verdict]
	domains *lru.Cache[string, verdict] // whether a server accepts every address
	file    *rcptFile
}

// verdict is an answer with the time at which it is forgotten.
type verdict struct {
	reply *mail.Reply // nil: the recipient exists; for domains: accepts everything
	until time.Time
}

// acceptAllFor is how long we believe what a made-up address showed.
const acceptAllFor = 24 * time.Hour

func newKnown(cfg *Config, data string) (*known, error) {
	k := &known{cfg: cfg}
	size := max(cfg.KnownMax, 1)
	k.rcpts, _ = lru.New[string, verdict](size)
	k.domains, _ = lru.New[string, verdict](10000)
	name, ok := cfg.RecipientsFile()
	if !ok || cfg.MX {
		return k, nil
	}
	k.file = &rcptFile{path: under(data, name)}
	if _, err := k.file.set(); err != nil {
		return nil, fmt.Errorf("upstream %q: recipients: %w", cfg.Name, err)
	}
	return k, nil
}

// errUnknownRcpt is the refusal by a list of recipients.
var errUnknownRcpt = mail.NewReply(550, "5.1.1", "no such recipient here")

// Check answers RCPT: nil when the recipient may be taken, else the reply. The
// upstream is asked on a pooled connection, which is given back at once.
func (u *Upstream) Check(ctx context.Context, tx *mail.Transaction, r mail.Rcpt) error {
	if decided, err := u.known.byRule(tx, r); decided {
		return err
	}
	return u.callAhead(ctx, tx, r)
}

// byRule answers RCPT as far as that needs no question to the upstream.
func (k *known) byRule(tx *mail.Transaction, r mail.Rcpt) (decided bool, err error) {
	switch {
	case SourceRouted(r.To) && !tx.Client.MayRelay && len(r.Via) == 0:
		return true, errSourceRouted
	case k.cfg.MX || k.cfg.Recipients == "any":
		return true, nil
	case k.file == nil:
		return false, nil
	}
	set, err := k.file.set()
	if err != nil {
		return true, &mail.Reply{Code: 450, Enhanced: "4.3.0", Text: "the list of recipients can't be read now", Cause: err}
	}
	if set[r.To.Key()] || set["@"+r.To.ASCIIDomain()] {
		return true, nil
	}
	return true, errUnknownRcpt
}

func (u *Upstream) callAhead(ctx context.Context, tx *mail.Transaction, r mail.Rcpt) error {
	key := r.To.Key()
	now := time.Now()
	if v, ok := u.known.rcpts.Get(key); ok && now.Before(v.until) {
		return v.err()
	}
	if v, ok := u.known.domains.Get(r.To.ASCIIDomain()); ok && v.reply == nil && now.Before(v.until) {
		return nil
	}
	reply, err := u.askRcpt(ctx, tx, r)
	if err != nil {
		return &mail.Reply{Code: 450, Enhanced: "4.4.1", Cause: err,
			Text: fmt.Sprintf("the server for this recipient can't be asked now (%s): %s", u.cfg.Name, plainError(err))}
	}
	switch {
	case reply.Positive():
		u.known.rcpts.Add(key, verdict{until: now.Add(u.cfg.KnownFor)})
		return nil
	case aboutRcpt(reply):
		u.known.rcpts.Add(key, verdict{reply, now.Add(u.cfg.UnknownFor)})
	}
	return reply
}

func (v verdict) err() error {
	if v.reply == nil {
		return nil
	}
	return v.reply
}

// aboutRcpt tells a refusal of the recipient, which can be remembered, from
// one of the sender or of policy.
func aboutRcpt(r *mail.Reply) bool {
	if !r.Permanent() {
		return false
	}
	return strings.HasPrefix(r.Enhanced, "5.1.") && r.Enhanced != "5.1.7" && r.Enhanced != "5.1.8" ||
		strings.HasPrefix(r.Enhanced, "5.2.") ||
		r.Enhanced == "" && (r.Code == 550 || r.Code == 551 || r.Code == 553)
}

// askRcpt asks the servers, and now and then whether they take anybody.
func (u *Upstream) askRcpt(ctx context.Context, tx *mail.Transaction, r mail.Rcpt) (*mail.Reply, error) {
	var last error
	for _, p := range order(u.pools) {
		for fresh := false; ; fresh = true {
			if last = p.resting(); last != nil {
				break
			}
			c, reused, err := p.take(ctx, &u.dialer, tx.Client, fresh)
			if err != nil {
				if last = err; ctx.Err() == nil {
					p.failed(err)
				}
				break
			}
			reply, err := c.probe(ctx, tx.Envelope.From, r)
			if err == nil && reply.Positive() {
				u.askNobody(ctx, c, tx, r)
			}
			p.give(c)
			if err == nil {
				return reply, nil
			}
			if last = err; !reused {
				p.failed(err)
				break
			}
		}
		if ctx.Err() != nil {
			break
		}
	}
	if last == nil {
		last = errors.New("no server")
	}
	return nil, last
}

// askNobody tries an address that surely does not exist, once a day and
// domain: a server that takes it takes everything, and asking it is no use.
func (u *Upstream) askNobody(ctx context.Context, c *conn, tx *mail.Transaction, r mail.Rcpt) {
	domain := r.To.ASCIIDomain()
	now := time.Now()
	if v, ok := u.known.domains.Get(domain); c.spent() || ok && now.Before(v.until) {
		return
	}
	nobody, err := mail.Join(fmt.Sprintf("hoplite-probe-%08x", rand.Uint32()), r.To.Domain())
	if err != nil {
		return
	}
	reply, err := c.probe(ctx, tx.Envelope.From, mail.Rcpt{To: nobody, Orig: nobody})
	if err != nil {
		return
	}
	if !reply.Positive() {
		u.known.domains.Add(domain, verdict{reply, now.Add(acceptAllFor)})
		return
	}
	u.known.domains.Add(domain, verdict{until: now.Add(acceptAllFor)})
	u.log.Warn().Str("peer", c.server.name()).Str("domain", domain).
		Msg("the upstream accepts every address: unknown recipients will become bounces; list the recipients in a file, recipients = \"file:NAME\"")
}

// AcceptsAll tells whether a made-up address at domain was taken.
func (u *Upstream) AcceptsAll(domain string) bool {
	v, ok := u.known.domains.Get(domain)
	return ok && v.reply == nil && time.Now().Before(v.until)
}

// Verify says what is remembered of an address, for VRFY; ok is false if
// nothing is.
func (u *Upstream) Verify(a mail.Address) (exists, ok bool) {
	if u.known.file != nil {
		set, err := u.known.file.set()
		return set[a.Key()] || set["@"+a.ASCIIDomain()], err == nil
	}
	v, ok := u.known.rcpts.Get(a.Key())
	if !ok || time.Now().After(v.until) {
		return false, false
	}
	return v.reply == nil, true
}

// learn keeps what a real transaction showed.
func (u *Upstream) learn(p *parcel, got answers) {
	if u.cfg.MX || u.cfg.Recipients != "call-ahead" {
		return
	}
	now := time.Now()
	for i, r := range p.rcpts {
		switch {
		case got[i] == nil:
		case got[i].Positive():
			if _, ok := u.known.rcpts.Peek(r.To.Key()); !ok {
				u.known.rcpts.Add(r.To.Key(), verdict{until: now.Add(u.cfg.KnownFor)})
			}
		case strings.HasPrefix(got[i].Enhanced, "5.1.1"):
			u.known.rcpts.Add(r.To.Key(), verdict{got[i], now.Add(u.cfg.UnknownFor)})
		}
	}
}

// rcptFile is a list of recipients that is read again when it changes.
type rcptFile struct {
	path string

	mu     sync.Mutex
	list   map[string]bool
	stamp  time.Time
	looked time.Time
}

// set is the list as it is on disk now, looked at once a second.
func (f *rcptFile) set() (map[string]bool, error) {
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
		// A second word is the value of a Postfix map: of no interest.
		words := strings.Fields(text)
		if len(words) == 0 {
			continue
		}
		if domain, ok := strings.CutPrefix(words[0], "@"); ok {
			list["@"+strings.ToLower(domain)] = true
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
