// Package sign is the filter that signs outgoing mail with DKIM (RFC 6376). It
// is the last stage of a route, after every edit. Package mail/dkim creates the
// signatures.
package sign

import (
	"context"
	"errors"
	"strings"
	"time"

	"hoplite/filters"
	"hoplite/internal/conf"
	"hoplite/mail"
	"hoplite/mail/dkim"
	"hoplite/mail/mime"
)

// Config is the filter "sign" { ... } block of a route.
type Config struct {
	// Domains lists the domains to sign for: mail is signed if its From domain
	// is one of them or below one of them.
	Domains []Domain `hcl:"domain,block"`
	// Expire is the lifetime of a signature; 0 means that it does not expire.
	Expire time.Duration `hcl:"expire,optional" default:"0s"`
	// Unsigned is the action for mail from other domains: it is sent without a
	// signature (pass), or rejected.
	Unsigned string `hcl:"unsigned,optional" enum:"pass|reject" default:"pass"`
}

// Domain is a domain to sign for.
type Domain struct {
	conf.Pos
	Name string `hcl:"name,label"`
	// Selector is the selector of the key, which is published at
	// SELECTOR._domainkey.DOMAIN. To rotate the key, publish a new one (hoplite
	// dkim keygen), change the selector, and keep the old record for a week.
	Selector string `hcl:"selector" example:"s2026"`
	// Key is the file with the private key in PEM, relative to the data folder;
	// the default is "dkim/DOMAIN/SELECTOR.pem", where hoplite dkim keygen puts
	// it.
	Key string `hcl:"key,optional"`
	// Second is the selector of a second key to sign with, such as an Ed25519
	// key in addition to the RSA key that old verifiers require.
	Second string `hcl:"second,optional" example:"e2026"`
}

// Check requires a domain to sign for.
func (c *Config) Check() error {
	if len(c.Domains) == 0 {
		return errors.New(`no domain to sign for: want domain "example.org" { selector = "..." }`)
	}
	for _, d := range c.Domains {
		if strings.ContainsAny(d.Selector+d.Second+d.Name, "/\\ ;") || d.Selector == "" {
			return conf.Fieldf("domain", "%q: a selector is a DNS label", d.Name)
		}
	}
	return nil
}

// Filter signs according to a Config.
type Filter struct {
	cfg  Config
	data string
	keys dkim.Keys
}

// New reads all keys and returns the filter. The error names each missing key.
func New(cfg Config, env filters.Env) (filters.Filter, error) {
	f := &Filter{cfg: cfg, data: env.Data}
	var errs []error
	for i := range cfg.Domains {
		_, err := f.signers(&cfg.Domains[i])
		errs = append(errs, err)
	}
	return f, errors.Join(errs...)
}

// signers returns the keys for a domain. If a key cannot be read, the error
// points at the attribute that names it.
func (f *Filter) signers(d *Domain) ([]dkim.Signer, error) {
	selectors, attrs := []string{d.Selector}, []string{"selector"}
	if d.Key != "" {
		attrs[0] = "key"
	}
	if d.Second != "" {
		selectors, attrs = append(selectors, d.Second), append(attrs, "second")
	}
	var out []dkim.Signer
	var errs []error
	for i, selector := range selectors {
		file := ""
		if i == 0 {
			file = d.Key
		}
		key, err := f.keys.Of(f.data, d.Name, selector, file)
		if err != nil {
			errs = append(errs, conf.At(d.Attr(attrs[i]), err))
			continue
		}
		out = append(out, dkim.Signer{Domain: strings.ToLower(d.Name), Selector: selector, Key: key, Expire: f.cfg.Expire})
	}
	return out, errors.Join(errs...)
}

// AtSend signs the message for its From domain.
func (f *Filter) AtSend(_ context.Context, _ *mail.Transaction, m *mail.Message) ([]byte, error) {
	h := dkim.NewHeader(m.Header())
	d := f.domain(fromDomain(h))
	if d == nil {
		if f.cfg.Unsigned == "reject" {
			return nil, mail.NewReply(550, "5.7.20", "No DKIM key for this From domain")
		}
		return nil, nil
	}
	signers, err := f.signers(d)
	if err != nil {
		return nil, err
	}
	top, err := dkim.Sign(m, signers...)
	if errors.Is(err, dkim.ErrEmptyLines) {
		return nil, mail.NewReply(550, "5.6.0", "Message cannot be signed: %s", dkim.ErrEmptyLines)
	}
	return top, err
}

// Covers reports whether a message is from a domain to sign for.
func (f *Filter) Covers(m *mail.Message) bool {
	return f.domain(fromDomain(dkim.NewHeader(m.Header()))) != nil
}

// domain returns the longest configured domain that contains from.
func (f *Filter) domain(from string) *Domain {
	var best *Domain
	for i := range f.cfg.Domains {
		d := &f.cfg.Domains[i]
		name := strings.ToLower(d.Name)
		if (from == name || strings.HasSuffix(from, "."+name)) && (best == nil || len(name) > len(best.Name)) {
			best = d
		}
	}
	return best
}

// fromDomain returns the domain of From's first address as A-labels.
func fromDomain(h *dkim.Header) string {
	for _, f := range h.Fields("From") {
		for _, a := range mime.ParseAddresses(f.Text()) {
			if addr, err := mail.Join("x", a.Domain); err == nil {
				return addr.ASCIIDomain()
			}
		}
	}
	return ""
}
