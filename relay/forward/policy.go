package forward

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"hoplite/internal/conf"
	"hoplite/mail"
)

// PolicyConfig is the policy "PATTERN" { ... } block: the protection of mail to
// some destinations. It applies to servers found by MX. The pattern is an
// address, a domain, or all domains below one (".example.org"); the most
// specific block applies.
type PolicyConfig struct {
	conf.Pos
	Name string `hcl:"pattern,label"`
	// TLS selects the use of TLS, as for an upstream: "off", "may", "require" or
	// "verify". Without until it can only add to the requirements of the upstream,
	// DANE and MTA-STS.
	TLS string `hcl:"tls" enum:"off|may|require|verify"`
	// Until is the last day on which tls replaces these requirements, even if it is
	// weaker than they are. It is for destinations that are temporarily broken. Each
	// use is logged. After that day the block has no effect.
	Until string `hcl:"until,optional" example:"2027-03-31"`
}

// Check reports an invalid pattern or day, and a weak policy without a last day.
func (c *PolicyConfig) Check() error {
	var errs []error
	switch p, err := mail.ParsePattern(c.Name); {
	case err != nil:
		errs = append(errs, err)
	case p == mail.PatternLocal || p == mail.PatternNull:
		errs = append(errs, fmt.Errorf("policy %q has no destination: use an address, a domain or .domain", c.Name))
	}
	_, err := c.last()
	errs = append(errs, conf.Field("until", err))
	if c.Until == "" && (c.TLS == "off" || c.TLS == "may") {
		errs = append(errs, conf.Fieldf("tls", `tls = %q weakens the protection and needs a last day: until = "2027-03-31"`, c.TLS))
	}
	return errors.Join(errs...)
}

// last returns the end of the last day, or the zero time if there is none.
func (c *PolicyConfig) last() (time.Time, error) {
	if c.Until == "" {
		return time.Time{}, nil
	}
	day, err := time.ParseInLocation(time.DateOnly, c.Until, time.Local)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is not a day such as 2027-03-31", c.Until)
	}
	return day.AddDate(0, 0, 1), nil
}

// Left returns the time until a temporary policy ends, which is negative after
// its end. ok is false if the policy is permanent.
func (c *PolicyConfig) Left(now time.Time) (left time.Duration, ok bool) {
	end, err := c.last()
	return end.Sub(now), err == nil && c.Until != ""
}

// String describes the effect of the policy.
func (c *PolicyConfig) String() string {
	if c.Until != "" {
		return fmt.Sprintf("TLS %s by policy %q until %s", c.TLS, c.Name, c.Until)
	}
	return fmt.Sprintf("at least TLS %s by policy %q", c.TLS, c.Name)
}

// clause describes the policy as the reason for a requirement.
func (c *PolicyConfig) clause() string {
	if c.Until != "" {
		return fmt.Sprintf("allowed by policy %q until %s", c.Name, c.Until)
	}
	return fmt.Sprintf("required by policy %q", c.Name)
}

// Policies finds the policy for a destination. A nil Policies has none.
type Policies map[mail.Pattern]*PolicyConfig

// NewPolicies returns the policies of the given blocks. Blocks with an invalid
// pattern, which Check reports, are ignored.
func NewPolicies(blocks []*PolicyConfig) Policies {
	all := Policies{}
	for _, c := range blocks {
		if p, err := mail.ParsePattern(c.Name); err == nil {
			all[p] = c
		}
	}
	return all
}

// For returns the policy with the most specific pattern that matches an
// address, or nil. Temporary policies that have ended are ignored.
func (p Policies) For(to mail.Address, now time.Time) *PolicyConfig {
	if len(p) == 0 {
		return nil
	}
	key := to.Key()
	domain := key[strings.LastIndexByte(key, '@')+1:]
	find := func(pattern string) *PolicyConfig {
		c := p[mail.Pattern(pattern)]
		if c == nil {
			return nil
		}
		if left, temporary := c.Left(now); temporary && left <= 0 {
			return nil
		}
		return c
	}
	found := cmp.Or(find(key), find(domain))
	for rest := domain; found == nil && rest != ""; {
		dot := strings.IndexByte(rest, '.')
		if dot < 0 {
			break
		}
		found, rest = find(rest[dot:]), rest[dot+1:]
	}
	return found
}

// levels maps the values of tls to requirements.
var levels = map[string]requirement{
	"off":     {},
	"may":     {startTLS: true},
	"require": {least: encrypted, startTLS: true},
	"verify":  {least: verified, startTLS: true},
}

// withPolicy returns the requirement raised to the level of a permanent policy,
// or replaced by that of a temporary one.
func (r requirement) withPolicy(c *PolicyConfig) requirement {
	level := levels[c.TLS]
	if c.Until != "" {
		level.policy, level.weakened = c.clause(), true
		return level
	}
	r.startTLS = r.startTLS || level.startTLS
	if level.least > r.least {
		r.least = level.least
		r.policy = c.clause()
	}
	return r
}

// logWeakened logs the use of a temporary policy.
func (u *Upstream) logWeakened(p *parcel, c *conn, need requirement) {
	if need.weakened {
		u.log.Warn().Str("id", p.tx.ID).Str("hop", u.cfg.Name).Str("peer", c.server.name()).Str("tls", c.proof.String()).
			Msg("temporary policy used")
	}
}
