package forward

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"path/filepath"
	"time"

	"hoplite/mail"
)

// errUnknownRcpt is the refusal of a recipient that is not in the list.
var errUnknownRcpt = mail.NewReply(550, "5.1.1", "Recipient address rejected: no such user")

// recipients determines whether a recipient exists at the upstream, by reading
// a file or by asking a directory or the upstream, as configured.
type recipients struct {
	up     *Upstream
	cfg    *Config
	memory *memory
	file   *rcptFile // nil: recipients is not a file
	// directory is used if recipients is one; it may then still be nil, if the
	// configuration is only being checked.
	directory Directory
}

func newRecipients(u *Upstream, env Env) (*recipients, error) {
	k := &recipients{up: u, cfg: &u.cfg}
	path := ""
	if env.State != "" && k.asks() {
		path = filepath.Join(env.State, "recipients-"+url.PathEscape(u.cfg.Name))
	}
	var err error
	if k.memory, err = newMemory(u.cfg.KnownMax, path); err != nil {
		u.log.Warn().Err(err).Msg("what was known about recipients can't be read; the upstream is asked again")
	}
	if name, ok := k.cfg.RecipientsDirectory(); ok {
		k.directory = env.Directories[name]
	}
	if name, isFile := u.cfg.RecipientsFile(); isFile && !u.cfg.MX {
		k.file = &rcptFile{path: under(env.Data, name)}
		_, err = k.file.read()
		return k, err
	}
	return k, nil
}

// asks reports whether call-ahead is configured.
func (k *recipients) asks() bool { return !k.cfg.MX && k.cfg.Recipients == "call-ahead" }

// check returns nil if the recipient may be accepted, otherwise the reply to
// RCPT. If call-ahead is configured, the upstream is asked on a pooled
// connection, which is put back immediately.
func (k *recipients) check(ctx context.Context, tx *mail.Transaction, r mail.Rcpt) error {
	if decided, err := k.checkOffline(tx, r); decided {
		return err
	}
	if name, ok := k.cfg.RecipientsDirectory(); ok {
		return k.askDirectory(ctx, name, r)
	}
	return k.callAhead(ctx, tx, r)
}

// askDirectory checks a recipient with a directory.
func (k *recipients) askDirectory(ctx context.Context, name string, r mail.Rcpt) error {
	err := fmt.Errorf("there is no directory %q", name)
	found := false
	if k.directory != nil {
		found, err = k.directory.Exists(ctx, r.To.Key())
	}
	switch {
	case err != nil:
		return &mail.Reply{Code: 451, Enhanced: "4.4.3", Text: "Recipient address can't be checked now: the directory is not available", Cause: err}
	case !found:
		return errUnknownRcpt
	}
	return nil
}

// checkOffline checks a recipient as far as possible without contacting the
// upstream.
func (k *recipients) checkOffline(tx *mail.Transaction, r mail.Rcpt) (decided bool, err error) {
	switch {
	case SourceRouted(r.To) && !tx.Client.MayRelay && len(r.Via) == 0:
		return true, errSourceRouted
	case k.tooLarge(tx.Envelope.Size):
		return true, mail.NewReply(552, "5.3.4", "message exceeds the limit of %s (%d octets)", k.cfg.Name, k.up.Offer().Size)
	case k.file != nil:
		found, err := k.file.has(r.To)
		switch {
		case err != nil:
			return true, &mail.Reply{Code: 450, Enhanced: "4.3.0", Text: "the list of recipients can't be read now", Cause: err}
		case !found:
			return true, errUnknownRcpt
		}
		return true, nil
	case k.cfg.MX || k.cfg.Recipients == "any":
		return true, nil
	}
	return false, nil
}

// askTimeout limits a recipient query, because a client waits for it and gives
// up after five minutes (RFC 5321, 4.5.3.2.3).
const askTimeout = 2 * time.Minute

// tooLarge reports whether every server of the upstream is known to refuse a
// message of the announced size.
func (k *recipients) tooLarge(size int64) bool {
	if size <= 0 {
		return false
	}
	limit := k.up.Offer().Size
	return limit > 0 && size > limit
}

// callAhead asks the upstream unless its answer is cached. While the upstream
// cannot be asked, a recipient that existed when last checked is accepted.
func (k *recipients) callAhead(ctx context.Context, tx *mail.Transaction, r mail.Rcpt) error {
	key := r.To.Key()
	was, remembered := k.memory.rcpt(key)
	if remembered && was.fresh() {
		return was.err()
	}
	all, ok := k.memory.domain(r.To.ASCIIDomain())
	if ok && all.exists() && all.fresh() {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	answer, err := k.askRcpt(limited, tx, r)
	switch {
	case err != nil && (remembered && was.exists() || ok && all.exists()):
		return nil
	case err != nil:
		return &mail.Reply{Code: 450, Enhanced: "4.4.1", Cause: err,
			Text: fmt.Sprintf("the server for this recipient can't be asked now (%s): %s", k.cfg.Name, plainError(err))}
	case answer.Positive():
		k.memory.exists(key, k.cfg.KnownFor)
		return nil
	case answer.isUnknownRcpt():
		k.memory.unknown(key, answer.Reply, k.cfg.UnknownFor)
	}
	return answer.Reply
}

// askRcpt asks the servers about a recipient and, once a day, checks whether
// they accept every address.
func (k *recipients) askRcpt(ctx context.Context, tx *mail.Transaction, r mail.Rcpt) (said, error) {
	pools, last := k.up.servers.pools(ctx)
	if last == nil {
		last = errors.New("no server")
	}
	for _, p := range pools {
		for fresh := false; ; fresh = true {
			if err := p.resting(); err != nil {
				last = err
				break
			}
			c, reused, err := p.take(ctx, k.up.net.dialer, tx.Client, fresh)
			if err != nil {
				if last = err; ctx.Err() == nil {
					p.failed(err)
				}
				break
			}
			answer, err := c.probe(ctx, tx.Envelope.From, r)
			if err == nil && answer.Positive() {
				k.askImpossible(ctx, c, tx, r)
			}
			p.give(c)
			if err == nil {
				return answer, nil
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
	return said{}, last
}

// askImpossible asks about an address that certainly does not exist, once a day
// for each domain. A server that accepts it accepts every address, so asking it
// about recipients is pointless.
func (k *recipients) askImpossible(ctx context.Context, c *conn, tx *mail.Transaction, r mail.Rcpt) {
	domain := r.To.ASCIIDomain()
	if was, ok := k.memory.domain(domain); c.spent() || ok && was.fresh() {
		return
	}
	nobody, err := mail.Join(fmt.Sprintf("hoplite-probe-%08x", rand.Uint32()), r.To.Domain())
	if err != nil {
		return
	}
	answer, err := c.probe(ctx, tx.Envelope.From, mail.Rcpt{To: nobody, Orig: nobody})
	if err != nil {
		return
	}
	k.memory.acceptsAll(domain, answer.Positive())
	if answer.Positive() {
		k.up.log.Warn().Str("peer", c.server.name()).Str("domain", domain).
			Msg("the upstream accepts every address: mail to unknown recipients is accepted, and refusals go to the postmaster; list the recipients in a file, recipients = \"file:NAME\"")
	}
}

// acceptsAll reports whether the upstream accepted a nonexistent address at
// domain when it was last asked.
func (k *recipients) acceptsAll(domain string) bool {
	if !k.asks() {
		return false
	}
	was, ok := k.memory.domain(domain)
	return ok && was.exists()
}

// verify returns the cached status of an address, for VRFY. ok is false if the
// status is not cached.
func (k *recipients) verify(a mail.Address) (exists, ok bool) {
	if k.file != nil {
		exists, err := k.file.has(a)
		return exists, err == nil
	}
	if k.directory != nil {
		return k.directory.Cached(a.Key())
	}
	was, ok := k.memory.rcpt(a.Key())
	if !ok || !was.fresh() {
		return false, false
	}
	return was.exists(), true
}

// learn caches the results of a transaction for its recipients.
func (k *recipients) learn(p *parcel, got answers) {
	if !k.asks() {
		return
	}
	for i, r := range p.rcpts {
		switch {
		case got[i] == nil:
		case got[i].Positive():
			k.memory.confirm(r.To.Key(), k.cfg.KnownFor)
		case got[i].Enhanced == "5.1.1" && (said{got[i], true}).isUnknownRcpt():
			k.memory.unknown(r.To.Key(), got[i], k.cfg.UnknownFor)
		}
	}
}

// acceptAllFor is the time for which the answer about a nonexistent address is
// valid.
const acceptAllFor = 24 * time.Hour
