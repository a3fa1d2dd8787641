package tlsresults

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/rs/zerolog"

	"hoplite/internal/conf"
	"hoplite/internal/resolve"
	"hoplite/mail"
	"hoplite/mail/safe"
	"hoplite/mail/tlsrpt"
)

// Config is the tls_reports { ... } block: daily reports about TLS to the
// domains that ask for them (RFC 8460). They tell other administrators about
// problems with their servers and policies. Results are collected only if there
// is such a block.
type Config struct {
	conf.Pos
	// From is the sender of the reports, and the address for questions about them. A
	// sign filter for its domain signs them.
	From string `hcl:"from" example:"postmaster@example.org"`
	// Organization is the name of your organization; the default is the domain of
	// from.
	Organization string `hcl:"organization,optional" example:"Example Ltd"`
}

// Check requires a valid sender.
func (c *Config) Check() error {
	a, err := mail.ParseAddress(c.From)
	if err == nil && a == "" {
		err = errors.New("the address is empty")
	}
	return conf.Field("from", err)
}

// Env holds a Reporter's dependencies on the rest of the program.
type Env struct {
	Hostname string
	DNS      resolve.Resolver
	// HTTP sends reports by HTTPS. A remote domain chooses the address, so it must
	// refuse addresses of this machine.
	HTTP *http.Client
	// Send signs and queues a message.
	Send func(ctx context.Context, id string, to mail.Address, m *mail.Message) error
	Log  zerolog.Logger
}

// Reporter sends reports.
type Reporter struct {
	cfg   Config
	env   Env
	store *Store
}

// NewReporter returns a reporter of the results in store.
func NewReporter(cfg Config, store *Store, env Env) *Reporter {
	return &Reporter{cfg: cfg, env: env, store: store}
}

const (
	postTimeout = time.Minute
	maxReply    = 64 << 10
)

// SendDue sends the reports of the days that have ended. A report that cannot be
// delivered is tried again at the next call.
func (r *Reporter) SendDue(ctx context.Context, now time.Time) {
	for _, d := range r.store.due(now) {
		if ctx.Err() != nil {
			return
		}
		sent, err := r.report(ctx, d, now)
		log := r.env.Log.With().Str("domain", d.domain).Str("day", string(d.day)).Logger()
		switch {
		case errors.Is(err, resolve.ErrTemporary):
			continue
		case err != nil && sent == 0:
			log.Warn().Err(err).Msg("TLS report not sent; trying again")
			continue
		case err != nil:
			log.Warn().Err(err).Msg("TLS report not sent to every address")
		case sent > 0:
			log.Info().Int("addresses", sent).Msg("TLS report sent")
		}
		if err := r.store.done(d); err != nil {
			log.Error().Err(err).Msg("TLS reports")
		}
	}
}

// report sends a domain's report to all addresses in its record. It returns the
// number of addresses to which the report was sent. A domain without a record
// has none.
func (r *Reporter) report(ctx context.Context, d due, now time.Time) (sent int, err error) {
	texts, err := resolve.LookupTXT(ctx, r.env.DNS, "_smtp._tls."+d.domain)
	switch {
	case errors.Is(err, resolve.ErrTemporary):
		return 0, err
	case err != nil:
		return 0, nil
	}
	addresses, err := tlsrpt.ParseRecord(texts)
	if err != nil {
		if !errors.Is(err, tlsrpt.ErrNoRecord) {
			r.env.Log.Debug().Err(err).Str("domain", d.domain).Msg("TLS report")
		}
		return 0, nil
	}
	report := r.compose(d)
	var errs []error
	for _, to := range addresses {
		if to.Scheme == "https" {
			err = r.post(ctx, to, report)
		} else {
			err = r.mail(ctx, to, report, now)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		sent++
	}
	return sent, errors.Join(errs...)
}

// compose returns the report.
func (r *Reporter) compose(d due) *tlsrpt.Report {
	start := d.day.start()
	return &tlsrpt.Report{
		Organization: cmp.Or(r.cfg.Organization, mail.Address(r.cfg.From).Domain()),
		Range:        tlsrpt.Range{Start: start, End: start.AddDate(0, 0, 1).Add(-time.Second)},
		Contact:      r.cfg.From, ID: fmt.Sprintf("%sT00:00:00Z_%s", d.day, d.domain), Policies: d.results,
	}
}

// mail queues the report as a message.
func (r *Reporter) mail(ctx context.Context, to *url.URL, report *tlsrpt.Report, now time.Time) error {
	text, err := url.PathUnescape(to.Opaque)
	if err != nil {
		return fmt.Errorf("rua=%s: %w", safe.Log(to.String()), err)
	}
	address, err := mail.ParseAddress(text)
	if err != nil {
		return fmt.Errorf("rua=%s: %w", safe.Log(to.String()), err)
	}
	from, err := mail.ParseAddress(r.cfg.From)
	if err != nil {
		return err
	}
	letter := tlsrpt.Letter{Report: report, Submitter: r.env.Hostname, ID: mail.NewID(), At: now, From: from, To: address}
	m, err := letter.Compose()
	if err != nil {
		return err
	}
	return r.env.Send(ctx, letter.ID, address, m)
}

// post sends the report by HTTPS (RFC 8460, 5.4).
func (r *Reporter) post(ctx context.Context, to *url.URL, report *tlsrpt.Report) error {
	b, err := report.Compress()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, postTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, to.String(), bytes.NewReader(b))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/tlsrpt+gzip")
	reply, err := r.env.HTTP.Do(request)
	if err != nil {
		return err
	}
	defer reply.Body.Close()
	io.Copy(io.Discard, io.LimitReader(reply.Body, maxReply))
	if reply.StatusCode/100 != 2 {
		return fmt.Errorf("post report to %s: %s", safe.Log(to.Redacted()), safe.Log(reply.Status))
	}
	return nil
}
