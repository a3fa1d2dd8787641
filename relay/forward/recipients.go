package forward

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"hoplite/mail"
)

// errUnknownRcpt is the refusal by a list of recipients.
var errUnknownRcpt = mail.NewReply(550, "5.1.1", "Recipient address rejected: no such user")

// Check answers RCPT: nil when the recipient may be accepted, else the reply.
// Where call-ahead is configured, the upstream is asked on a pooled connection,
// which is returned at once.
func (u *Upstream) Check(ctx context.Context, tx *mail.Transaction, r mail.Rcpt) error {
	if decided, err := u.checkOffline(tx, r); decided {
		return err
	}
	return u.callAhead(ctx, tx, r)
}

// checkOffline answers RCPT as far as that does not need the upstream.
func (u *Upstream) checkOffline(tx *mail.Transaction, r mail.Rcpt) (decided bool, err error) {
	switch {
	case SourceRouted(r.To) && !tx.Client.MayRelay && len(r.Via) == 0:
		return true, errSourceRouted
	case u.tooLarge(tx.Envelope.Size):
		return true, mail.NewReply(552, "5.3.4", "message exceeds the limit of %s (%d octets)", u.cfg.Name, u.Offer().Size)
	case u.file != nil:
		found, err := u.file.has(r.To)
		switch {
		case err != nil:
			return true, &mail.Reply{Code: 450, Enhanced: "4.3.0", Text: "the list of recipients can't be read now", Cause: err}
		case !found:
			return true, errUnknownRcpt
		}
		return true, nil
	case u.cfg.MX || u.cfg.Recipients == "any":
		return true, nil
	}
	return false, nil
}

// askTimeout bounds a question about a recipient: a client waits for it, and
// gives up after five minutes itself (RFC 5321, 4.5.3.2.3).
const askTimeout = 2 * time.Minute

// tooLarge reports whether every server of the upstream is known to refuse a
// message of the announced size.
func (u *Upstream) tooLarge(size int64) bool {
	if size <= 0 {
		return false
	}
	limit := u.Offer().Size
	return limit > 0 && size > limit
}

// callAhead asks the upstream, unless it is known what it would say. While it
// can't be asked, a recipient that existed at the last time is accepted.
func (u *Upstream) callAhead(ctx context.Context, tx *mail.Transaction, r mail.Rcpt) error {
	key := r.To.Key()
	was, remembered := u.memory.rcpt(key)
	if remembered && was.fresh() {
		return was.err()
	}
	if u.AcceptsAll(r.To.ASCIIDomain()) {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	answer, err := u.askRcpt(limited, tx, r)
	switch {
	case err != nil && remembered && was.exists():
		return nil
	case err != nil:
		return &mail.Reply{Code: 450, Enhanced: "4.4.1", Cause: err,
			Text: fmt.Sprintf("the server for this recipient can't be asked now (%s): %s", u.cfg.Name, plainError(err))}
	case answer.Positive():
		u.memory.exists(key, u.cfg.KnownFor)
		return nil
	case answer.isUnknownRcpt():
		u.memory.unknown(key, answer.Reply, u.cfg.UnknownFor)
	}
	return answer.Reply
}

// askRcpt asks the servers about a recipient, and once a day whether they
// accept every address.
func (u *Upstream) askRcpt(ctx context.Context, tx *mail.Transaction, r mail.Rcpt) (said, error) {
	pools, last := u.pools(ctx)
	if last == nil {
		last = errors.New("no server")
	}
	for _, p := range pools {
		for fresh := false; ; fresh = true {
			if err := p.resting(); err != nil {
				last = err
				break
			}
			c, reused, err := p.take(ctx, &u.dialer, tx.Client, fresh)
			if err != nil {
				if last = err; ctx.Err() == nil {
					p.failed(err)
				}
				break
			}
			answer, err := c.probe(ctx, tx.Envelope.From, r)
			if err == nil && answer.Positive() {
				u.askImpossible(ctx, c, tx, r)
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

// askImpossible tries an address that surely does not exist, once a day for
// each domain: a server that accepts it accepts everything, and there is no
// point in asking it.
func (u *Upstream) askImpossible(ctx context.Context, c *conn, tx *mail.Transaction, r mail.Rcpt) {
	domain := r.To.ASCIIDomain()
	if was, ok := u.memory.domain(domain); c.spent() || ok && was.fresh() {
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
	u.memory.acceptsAll(domain, answer.Positive())
	if answer.Positive() {
		u.log.Warn().Str("peer", c.server.name()).Str("domain", domain).
			Msg("the upstream accepts every address: mail to unknown recipients is accepted and bounces later; list the recipients in a file, recipients = \"file:NAME\"")
	}
}

// AcceptsAll reports whether the upstream accepted an address at domain that
// can't exist.
func (u *Upstream) AcceptsAll(domain string) bool {
	was, ok := u.memory.domain(domain)
	return ok && was.exists() && was.fresh()
}

// Verify reports what is remembered of an address, for VRFY; ok is false if
// nothing is.
func (u *Upstream) Verify(a mail.Address) (exists, ok bool) {
	if u.file != nil {
		exists, err := u.file.has(a)
		return exists, err == nil
	}
	was, ok := u.memory.rcpt(a.Key())
	if !ok || !was.fresh() {
		return false, false
	}
	return was.exists(), true
}

// learn keeps what a transaction showed about its recipients.
func (u *Upstream) learn(p *parcel, got answers) {
	if u.cfg.MX || u.cfg.Recipients != "call-ahead" {
		return
	}
	for i, r := range p.rcpts {
		switch {
		case got[i] == nil:
		case got[i].Positive():
			u.memory.confirm(r.To.Key(), u.cfg.KnownFor)
		case got[i].Enhanced == "5.1.1" && (said{got[i], true}).isUnknownRcpt():
			u.memory.unknown(r.To.Key(), got[i], u.cfg.UnknownFor)
		}
	}
}

// acceptAllFor is how long the answer about an impossible address is valid.
const acceptAllFor = 24 * time.Hour
