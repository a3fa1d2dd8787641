// Package arc is the filter that validates the Authenticated Received Chain of
// incoming mail and, as the last stage of a route, seals outgoing mail (RFC
// 8617). Servers that change mail when forwarding it seal it, so that the next
// server can see the authentication results from before the change. Package
// mail/arc implements validation and sealing.
package arc

import (
	"context"
	"crypto"
	"fmt"
	"strings"

	"hoplite/filters"
	"hoplite/internal/conf"
	"hoplite/internal/resolve"
	"hoplite/mail"
	"hoplite/mail/arc"
	"hoplite/mail/dkim"
)

// Config is the filter "arc" { ... } block: in a chain it validates, in a route
// it seals.
type Config struct {
	conf.Pos
	// Domain is the domain to seal with. It is needed only in routes.
	Domain string `hcl:"domain,optional" example:"example.org"`
	// Selector is the selector of the key, as in the "sign" filter.
	Selector string `hcl:"selector,optional" example:"s2026"`
	// Key is the file with the private key; the default is
	// "dkim/DOMAIN/SELECTOR.pem" in the data folder.
	Key string `hcl:"key,optional"`
}

// Check requires domain and selector together.
func (c *Config) Check() error {
	if (c.Domain == "") != (c.Selector == "") {
		return conf.Fieldf("domain", "domain and selector are required together")
	}
	if strings.ContainsAny(c.Domain+c.Selector, "/\\ ;") {
		return conf.Fieldf("selector", "a selector is a DNS label")
	}
	return nil
}

// Filter validates or seals according to a Config.
type Filter struct {
	cfg  Config
	host string
	data string
	dns  resolve.Resolver
	keys dkim.Keys
}

// New reads the key, if any, and returns the filter.
func New(cfg Config, env filters.Env) (filters.Filter, error) {
	f := &Filter{cfg: cfg, data: env.Data, host: env.Hostname, dns: env.DNS}
	if cfg.Domain == "" {
		return f, nil
	}
	_, err := f.key()
	return f, conf.At(cfg.Attr("selector"), err)
}

func (f *Filter) key() (crypto.Signer, error) {
	return f.keys.Of(f.data, f.cfg.Domain, f.cfg.Selector, f.cfg.Key)
}

// AtData validates the chain of an incoming message. It never rejects: a broken
// chain is treated as no chain.
func (f *Filter) AtData(ctx context.Context, tx *mail.Transaction, m *mail.Message) (filters.Verdict, error) {
	c, err := arc.Validate(ctx, m, resolve.TXTRecords(f.dns))
	if err != nil {
		return filters.Verdict{}, err
	}
	v := filters.Verdict{Auth: []mail.AuthResult{c.AuthResult()}}
	for i, s := range c.Sets {
		v.Facts = append(v.Facts, mail.Fact{Key: fmt.Sprintf("seal %d", i+1), Value: s.Sealer})
	}
	return v, nil
}

// AtSend returns a new set of fields: this server's authentication results, a
// signature of the outgoing message, and a seal of the chain.
func (f *Filter) AtSend(ctx context.Context, tx *mail.Transaction, m *mail.Message) ([]byte, error) {
	if f.cfg.Domain == "" {
		return nil, fmt.Errorf("arc: the route has no domain to seal with")
	}
	key, err := f.key()
	if err != nil {
		return nil, fmt.Errorf("ARC key: %w", err)
	}
	c, err := arc.Validate(ctx, m, resolve.TXTRecords(f.dns))
	if err != nil {
		return nil, err
	}
	s := &arc.Sealer{Signer: dkim.Signer{Domain: strings.ToLower(f.cfg.Domain), Selector: f.cfg.Selector, Key: key}, Host: f.host}
	return s.Seal(m, c, f.seen(tx, c), tx.Trail.Auth)
}

// seen returns the state of the chain when the message arrived, because our own
// edits must not invalidate it.
func (f *Filter) seen(tx *mail.Transaction, c *arc.Chain) string {
	for i := range tx.Trail.Auth {
		if a := &tx.Trail.Auth[i]; a.Method == "arc" {
			return a.Value
		}
	}
	return c.CV
}
