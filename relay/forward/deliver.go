package forward

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hoplite/internal/oauth"
	"hoplite/mail"
)

// handoff is one message on its way to an upstream. It holds no connection
// until Send, so that a slow client does not occupy one of the server's
// sessions.
type handoff struct {
	u     *Upstream
	tx    *mail.Transaction
	check func(context.Context, *mail.Transaction, mail.Rcpt) error // nil: recipients are checked by Send
	rcpts []mail.Rcpt
}

func (h *handoff) Rcpt(ctx context.Context, r mail.Rcpt) error {
	if h.check != nil {
		if err := h.check(ctx, h.tx, r); err != nil {
			return err
		}
	}
	h.rcpts = append(h.rcpts, r)
	return nil
}

func (h *handoff) Close() error { return nil }

// Send sends the message in one transaction for each group of recipients that
// share servers.
func (h *handoff) Send(ctx context.Context, m *mail.Message) []mail.Outcome {
	if len(h.rcpts) == 0 {
		return nil
	}
	p := &parcel{tx: h.tx, rcpts: h.rcpts, msg: m, waits: h.check != nil}
	if p.waits && h.u.cfg.Mode == "auto" {
		limited, cancel := context.WithCancel(ctx)
		defer cancel()
		ctx, p.patience = limited, time.AfterFunc(patience, cancel)
		defer p.patience.Stop()
	}
	return h.u.handOver(ctx, p, h.u.next)
}

// patience is the maximum time, in auto mode, that a client waits for an
// upstream to accept the message. After that the message is queued.
const patience = time.Minute

func (u *Upstream) handOver(ctx context.Context, all *parcel, next *Upstream) []mail.Outcome {
	asked := all
	all, refusal := u.sentAs(asked)
	if refusal != nil {
		return u.refuse(asked, refusal)
	}
	reserved := time.Now()
	if full := u.quota.reserve(len(all.rcpts), reserved, u.cfg.Name); full != nil {
		return u.refuse(asked, full)
	}
	if late := u.pace.wait(ctx, u.cfg.Name); late != nil {
		out := u.refuse(asked, late)
		u.quota.settle(out, reserved)
		return out
	}
	out := make([]mail.Outcome, len(all.rcpts))
	for _, g := range u.groups(ctx, all) {
		for i, o := range u.deliver(ctx, all.only(g.rcpts), g, next) {
			out[g.rcpts[i]] = o
		}
	}
	u.quota.settle(out, reserved)
	return out
}

// group is a set of recipients with the same servers.
type group struct {
	rcpts    []int
	pools    []*pool
	err      *mail.Reply // why there are no servers
	sessions *sessions   // records new connections; may be nil
}

func (u *Upstream) groups(ctx context.Context, p *parcel) []group {
	rcpts := p.rcpts
	if u.mx == nil {
		g := group{}
		var err error
		if g.pools, err = u.servers.pools(ctx); err != nil && len(g.pools) == 0 {
			g.err = u.unreachable(err)
		}
		for i := range rcpts {
			g.rcpts = append(g.rcpts, i)
		}
		return []group{g}
	}
	var groups []group
	type destination struct {
		domain string
		policy *PolicyConfig // a policy may be for one address of the domain
	}
	byDestination := map[destination]int{}
	lax := p.tlsNotRequired()
	for i, r := range rcpts {
		d := destination{r.To.ASCIIDomain(), u.net.policies.For(r.To, time.Now())}
		n, ok := byDestination[d]
		if !ok {
			n = len(groups)
			byDestination[d] = n
			g := group{}
			g.pools, g.sessions, g.err = u.mx.find(ctx, r.To, lax)
			groups = append(groups, g)
		}
		groups[n].rcpts = append(groups[n].rcpts, i)
	}
	return groups
}

// deliver sends the parcel to the servers of a group, on as many connections as
// their limits require.
func (u *Upstream) deliver(ctx context.Context, p *parcel, g group, next *Upstream) []mail.Outcome {
	out, left := u.deliverSome(ctx, p, g, next)
	for len(left) > 0 {
		more, again := u.deliverSome(ctx, p.only(left), g, next)
		for k, i := range left {
			out[i] = more[k]
		}
		for k := range again {
			again[k] = left[again[k]]
		}
		left = again
	}
	return out
}

// deliverSome tries the servers of a group, and then those of next, until one
// of them accepts or refuses the message. left holds the recipients that no
// server was asked about. Each call settles at least one recipient.
func (u *Upstream) deliverSome(ctx context.Context, p *parcel, g group, next *Upstream) (out []mail.Outcome, left []int) {
	start := time.Now()
	if g.err != nil {
		return u.outcomes(p, nil, make(answers, len(p.rcpts)).all(g.err), start), nil
	}
	var last error // why the last server could not be used
	for _, pool := range g.pools {
		c, got, err := u.attempt(ctx, pool, p, g.sessions)
		if err == nil {
			out := u.outcomes(p, c, got, start)
			u.rcpts.learn(p, got)
			u.logWeakened(p, c, pool.need)
			pool.give(c)
			for i := range got {
				if got[i] == nil {
					left = append(left, i)
				}
			}
			return out, left
		}
		last = err
		if ctx.Err() != nil {
			break
		}
	}
	if next != nil && ctx.Err() == nil {
		// Only one step is taken, because a fallback of the fallback could lead
		// back to this upstream.
		return next.handOver(ctx, p, nil), nil
	}
	out = u.outcomes(p, nil, make(answers, len(p.rcpts)).all(u.unreachable(last)), start)
	var staged *stageError
	if errors.As(last, &staged) {
		for i := range out {
			out[i].Host, out[i].Addr = staged.host, staged.addr
		}
	}
	return out, nil
}

// attempt sends the parcel to one server. A pooled connection that was closed
// before the transaction began is replaced once, and a server that refuses an
// extension it offers is tried again without that extension.
func (u *Upstream) attempt(ctx context.Context, pool *pool, p *parcel, record *sessions) (*conn, answers, error) {
	for fresh := false; ; {
		if err := pool.resting(); err != nil && p.waits {
			return nil, nil, err
		}
		c, reused, err := pool.take(ctx, u.net.dialer, p.tx.Client, fresh)
		if !reused && ctx.Err() == nil {
			record.opened(pool, c, err)
		}
		if err != nil {
			if ctx.Err() == nil {
				pool.failed(err)
			}
			return nil, nil, err
		}
		fit, done, refusal := u.downgraded(c, p)
		if refusal != nil {
			return c, make(answers, len(p.rcpts)).all(refusal), nil
		}
		got, err := c.sendAll(ctx, fit)
		done()
		var offer *offerError
		switch {
		case err == nil:
			return c, got, nil
		case errors.As(err, &offer) && offer.eightBit && !u.cfg.Downgrade:
			return c, offer.got, nil // nothing else to try
		case errors.As(err, &offer):
			pool.remember(offer)
			pool.give(c)
			fresh = false
			continue
		}
		pool.give(c)
		if !reused {
			pool.failed(err)
			return nil, nil, err
		}
		fresh = true
	}
}

// unreachable returns the temporary reply for an upstream whose servers could
// not be used.
func (u *Upstream) unreachable(err error) *mail.Reply {
	r := &mail.Reply{Code: 451, Enhanced: "4.4.1", Cause: err}
	var (
		said     *mail.Reply
		staged   *stageError
		insecure *insecureError
		noToken  *oauth.Error
	)
	switch {
	case errors.As(err, &said) && said.Host != "":
		r.Enhanced, r.Text = "4.3.2", fmt.Sprintf("%s does not accept mail now: %s", said.Host, said)
	case errors.As(err, &noToken):
		r.Enhanced, r.Text = "4.3.2", fmt.Sprintf("upstream %s can't be used now, because there is no access token: %s", u.cfg.Name, noToken)
	case errors.As(err, &insecure):
		// TLS or certificate problems (RFC 3463, 3.8) must be fixed by the
		// administrator of one of the two servers.
		r.Enhanced, r.Text = "4.7.5", fmt.Sprintf("upstream %s is not used, because its identity is not proved: %s", u.cfg.Name, plainError(err))
	case errors.As(err, &staged) && staged.stage == "TLS":
		r.Enhanced, r.Text = "4.7.5", fmt.Sprintf("upstream %s is not used, because TLS failed: %s", u.cfg.Name, cause(staged.err))
	case err != nil:
		r.Text = fmt.Sprintf("upstream %s can't be reached now: %s", u.cfg.Name, plainError(err))
	default:
		r.Text = fmt.Sprintf("upstream %s has no server that can be tried", u.cfg.Name)
	}
	return r
}

func (u *Upstream) outcomes(p *parcel, c *conn, got answers, start time.Time) []mail.Outcome {
	took := time.Since(start)
	out := make([]mail.Outcome, len(p.rcpts))
	for i, r := range p.rcpts {
		if got[i] == nil {
			continue
		}
		o := mail.Outcome{Rcpt: r.To, Reply: *got[i], Hop: u.cfg.Name, At: start, Took: took}
		if c != nil {
			o.Host, o.Addr, o.TLS, o.Proof = c.server.name(), c.addr, c.proof.cipher(), c.proof.String()
			if got[i].Positive() {
				o.RemoteID = remoteID(got[i].Text)
				o.DSN = c.caps.dsn
			}
		}
		out[i] = o
	}
	return out
}
