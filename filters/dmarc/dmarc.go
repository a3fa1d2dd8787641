// Package dmarc is the filter that applies the DMARC policy of the From domain
// to mail for which neither SPF nor DKIM passed (RFC 7489 and RFC 9989).
//
// It belongs after the spf and dkim filters, whose results it reads from the
// trail; if the arc filter precedes it, it also considers the results of
// trusted forwarders. Package mail/dmarc evaluates the records.
package dmarc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"hoplite/filters"
	"hoplite/internal/conf"
	"hoplite/internal/resolve"
	"hoplite/mail"
	"hoplite/mail/dmarc"
)

// Config is the filter "dmarc" { ... } block of a chain. It belongs after spf,
// dkim and arc.
type Config struct {
	// Mode is "observe", which only records results, or "enforce", which
	// applies the policy of the domain.
	Mode string `hcl:"mode,optional" enum:"observe|enforce" default:"observe"`
	// BadFrom is the action, in enforce mode, for mail with several From
	// fields, without a From field, or without a domain in it.
	BadFrom string `hcl:"bad_from,optional" enum:"tag|quarantine|reject" default:"reject"`
	// Relayed also checks mail from one of your servers (in trusted); set it in
	// the spf filter as well.
	Relayed bool `hcl:"relayed,optional"`
	// Override replaces the records of some domains with a local policy.
	Override []Override `hcl:"override,block"`
	// Sealers lists domains whose ARC seals are trusted: mail that fails only
	// because one of them changed it passes if it passed when that domain
	// received it.
	Sealers []string `hcl:"sealers,optional" example:"lists.example"`
}

// Override replaces the policy of a domain.
type Override struct {
	// Domain is the domain of From; ".example.org" matches every domain below
	// it.
	Domain string `hcl:"domain,label"`
	// Policy is the action for mail from the domain if it fails.
	Policy string `hcl:"policy" enum:"none|quarantine|reject"`
}

// Check rejects patterns that cannot match any domain.
func (c *Config) Check() error {
	var errs []error
	for _, o := range c.Override {
		_, err := mail.ParsePattern(o.Domain)
		errs = append(errs, conf.Field("override", err))
	}
	_, err := mail.ParsePatterns(c.Sealers)
	return errors.Join(append(errs, conf.Field("sealers", err))...)
}

// Filter applies a Config.
type Filter struct {
	cfg       Config
	dns       resolve.Resolver
	overrides []override
	sealers   mail.Patterns
}

// override is the policy for the domains that match a pattern.
type override struct {
	domains mail.Patterns
	policy  dmarc.Policy
}

// New returns the filter.
func New(cfg Config, env filters.Env) (filters.Filter, error) {
	f := &Filter{cfg: cfg, dns: env.DNS}
	var errs []error
	for _, o := range cfg.Override {
		p, err := mail.ParsePatterns([]string{o.Domain}, env.Names...)
		errs = append(errs, err)
		f.overrides = append(f.overrides, override{p, dmarc.Policy(o.Policy)})
	}
	var err error
	f.sealers, err = mail.ParsePatterns(cfg.Sealers)
	return f, errors.Join(append(errs, err)...)
}

// AtData evaluates the domains of From.
func (f *Filter) AtData(ctx context.Context, tx *mail.Transaction, m *mail.Message) (filters.Verdict, error) {
	if c := &tx.Client; c.MayRelay || c.User != "" || c.Trusted && !f.cfg.Relayed {
		return filters.Verdict{}, nil
	}
	domains, problem := dmarc.FromDomains(m.Head)
	var worst dmarc.Result
	for _, d := range domains {
		r := dmarc.Evaluate(ctx, Lookup{f.dns}, d, tx.Trail.Auth)
		f.adjust(tx, &r)
		if worst.Value == "" || r.Severity() > worst.Severity() {
			worst = r
		}
	}
	var v filters.Verdict
	if worst.Value != "" {
		v = f.verdict(&worst)
		v.Auth, v.Facts = []mail.AuthResult{worst.AuthResult()}, worst.Facts()
		if len(domains) > 1 {
			v.Facts = append(v.Facts, mail.Fact{Key: "all from", Value: strings.Join(domains, " ")})
		}
	}
	if problem == "" {
		return v, nil
	}
	bad := f.badFrom(problem)
	bad.Auth, bad.Facts = []mail.AuthResult{{Method: "dmarc", Value: "permerror", Reason: problem}}, v.Facts
	if harsher(v.Action, bad.Action) {
		v.Auth = bad.Auth
		return v, nil
	}
	return bad, nil
}

// badFrom returns the verdict for a message whose From field is missing,
// repeated or malformed.
func (f *Filter) badFrom(problem string) filters.Verdict {
	if f.cfg.Mode == "enforce" {
		return filters.Acted(filters.Action(f.cfg.BadFrom), 550, "5.7.26", "%s", problem)
	}
	return filters.Tagged("DMARC: " + problem)
}

// harsher reports whether policy a is more severe than b.
func harsher(a, b filters.Action) bool {
	order := []filters.Action{"", filters.Pass, filters.Tag, filters.Quarantine, filters.Defer, filters.Reject}
	return slices.Index(order, a) > slices.Index(order, b)
}

// Lookup adapts a resolver to the interface that an evaluation needs.
type Lookup struct{ resolve.Resolver }

// TXT returns the TXT records at a name.
func (l Lookup) TXT(ctx context.Context, name string) ([]string, error) {
	return resolve.TXTRecords(l.Resolver)(ctx, name)
}

// Missing reports whether a domain has neither addresses nor mail servers.
func (l Lookup) Missing(ctx context.Context, domain string) bool {
	for _, t := range []resolve.Type{resolve.MX, resolve.A, resolve.AAAA} {
		if _, err := l.Lookup(ctx, domain, t); !errors.Is(err, resolve.ErrNotFound) {
			return false
		}
	}
	return true
}

// adjust relaxes a policy: for test mode, local overrides, and trusted
// forwarders.
func (f *Filter) adjust(tx *mail.Transaction, r *dmarc.Result) {
	if r.Value != "fail" {
		return
	}
	asked := r.Policy
	if r.Record.Testing {
		r.Policy = milder(r.Policy)
	}
	if r.Policy != asked {
		r.Reason += fmt.Sprintf("; policy %s is being tested (t=y)", asked)
	}
	for i := range f.overrides {
		if o := &f.overrides[i]; o.domains.MatchDomain(r.Domain) {
			r.Policy = o.policy
			r.Reason += "; local policy"
			break
		}
	}
	if s := f.vouchedBy(tx.Trail.Auth); s != "" {
		r.Policy = dmarc.None
		r.Reason += "; " + s + " reports that it passed (ARC)"
	}
}

// vouchedBy returns a trusted ARC sealer for which DMARC passed, or "". Every
// later sealer must be trusted as well.
func (f *Filter) vouchedBy(auth []mail.AuthResult) string {
	for i := range auth {
		a := &auth[i]
		if a.Method != "arc" || a.Value != "pass" || a.Prop("policy", "dmarc") != "pass" {
			continue
		}
		sealers := strings.Split(a.Prop("policy", "sealer"), ",")
		if !slices.ContainsFunc(sealers, func(s string) bool { return !f.sealers.MatchDomain(s) }) {
			return sealers[len(sealers)-1]
		}
	}
	return ""
}

func milder(p dmarc.Policy) dmarc.Policy {
	if p == dmarc.Reject {
		return dmarc.Quarantine
	}
	return dmarc.None
}

func (f *Filter) verdict(r *dmarc.Result) filters.Verdict {
	if r.Value != "fail" {
		return filters.Verdict{}
	}
	if f.cfg.Mode != "enforce" || r.Policy == dmarc.None {
		return filters.Tagged(fmt.Sprintf("DMARC: %s fails (policy %s)", r.Domain, r.Policy))
	}
	return filters.Acted(filters.Action(r.Policy), 550, "5.7.26", "DMARC: the policy of %s is to %s unauthenticated mail: %s", r.Domain, r.Policy, r.Reason)
}
