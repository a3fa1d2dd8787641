package check

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"hoplite/cmd/hoplite/internal/config"
	"hoplite/filters"
	"hoplite/internal/conf"
	"hoplite/internal/directory"
	"hoplite/internal/users/authority"
	"hoplite/mail"
	"hoplite/mail/safe"
	"hoplite/relay/forward"
)

// probeTimeout limits the wait for one filter or upstream.
const probeTimeout = 30 * time.Second

// Probe contacts the programs and lists that filters need, the directories, the
// servers of every upstream, and this server by the names of the acme block. It reports whether all of them answered and no upstream
// accepts nonexistent recipients.
func Probe(ctx context.Context, w io.Writer, cfg *config.Config) bool {
	filters := probeFilters(ctx, w, cfg)
	directories := probeAccounts(ctx, w, cfg)
	challenges := probeChallenges(ctx, w, cfg)
	return probeUpstreams(ctx, w, cfg) && filters && directories && challenges
}

// probeAccounts contacts the directories, and the servers that check passwords.
func probeAccounts(ctx context.Context, w io.Writer, cfg *config.Config) bool {
	good := true
	p := plan{w: w, cfg: cfg}
	for _, c := range cfg.Directory {
		d, err := directory.New(*c, directory.Env{Data: cfg.Data, Log: zerolog.Nop()})
		if err == nil {
			ctx, cancel := context.WithTimeout(ctx, probeTimeout)
			err = d.Probe(ctx)
			cancel()
			d.Close()
		}
		fmt.Fprintln(w)
		if err != nil {
			good = false
			p.say("", "directory %q: %s", c.Name, safe.Line(err.Error()))
			continue
		}
		p.say("", "directory %q: answers.", c.Name)
	}
	for _, c := range cfg.Accounts {
		good = probeAuthority(ctx, p, c) && good
	}
	return good
}

// probeAuthority contacts the servers that check passwords and access tokens of
// a domain. Directories are probed by themselves.
func probeAuthority(ctx context.Context, p plan, c *authority.Config) bool {
	a, err := authority.New(*c, authority.Env{Hostname: p.cfg.Hostname, Data: p.cfg.Data})
	if err != nil {
		fmt.Fprintln(p.w)
		p.say("", "accounts %q: %s", c.Name, safe.Line(err.Error()))
		return false
	}
	good := true
	report := func(err error, format string, args ...any) {
		fmt.Fprintln(p.w)
		if err != nil {
			good = false
			format, args = "%s", []any{safe.Line(err.Error())}
		}
		p.say("", "accounts %q: %s", c.Name, fmt.Sprintf(format, args...))
	}
	if _, ok := c.Directory(); !ok && c.Login != "" {
		report(a.Probe(ctx), "%s can check passwords.", c.Login)
	}
	if c.OAuth != nil {
		report(a.Tokens().Probe(ctx), "%s publishes its keys, so access tokens can be checked.", c.OAuth.Issuer)
	}
	return good
}

func probeFilters(ctx context.Context, w io.Writer, cfg *config.Config) bool {
	good := true
	p := plan{w: w, cfg: cfg}
	diags := &conf.Diagnostics{} // Report has printed them
	env := filters.Env{Hostname: cfg.Hostname, Names: cfg.Names(), Data: cfg.Data, Log: zerolog.Nop(), Trusted: cfg.Trusted, DNS: inspectDNS(cfg, diags)}
	for _, ch := range cfg.Chain {
		for _, e := range config.BuildFilters(ch.Name, ch.Filters, env, diags) {
			f, ok := e.Filter.(filters.Prober)
			if !ok {
				continue
			}
			ctx, cancel := context.WithTimeout(ctx, probeTimeout)
			err := f.Probe(ctx)
			cancel()
			fmt.Fprintln(w)
			if err == nil {
				p.say("", "filter %q of chain %q, line %d: answers.", e.Name, ch.Name, e.Block.Range().Start.Line)
				continue
			}
			good = false
			for line := range strings.SplitSeq(err.Error(), "\n") {
				p.say("", "filter %q of chain %q, line %d: %s", e.Name, ch.Name, e.Block.Range().Start.Line, line)
			}
		}
	}
	return good
}

func probeUpstreams(ctx context.Context, w io.Writer, cfg *config.Config) bool {
	good := true
	for _, c := range cfg.Upstream {
		if c.MX {
			continue
		}
		certs, err := cfg.ClientCertificate(c, zerolog.Nop())
		var u *forward.Upstream
		if err == nil {
			u, err = forward.New(*c, forward.Env{Hostname: cfg.Hostname, Data: cfg.Data, Log: zerolog.Nop(), Certificate: certs})
		}
		if err != nil {
			fmt.Fprintf(w, "\nupstream %q: %v\n", c.Name, err)
			good = false
			continue
		}
		good = probeUpstream(ctx, plan{w: w, cfg: cfg}, c, u) && good
		u.Close()
	}
	return good
}

func probeUpstream(ctx context.Context, p plan, c *forward.Config, u *forward.Upstream) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	fmt.Fprintln(p.w)
	p.say("", "upstream %q answers:", c.Name)
	for _, line := range u.Look(ctx) {
		p.say("    ", "%s", line)
	}
	good := u.Offer().Known
	if c.Recipients != "call-ahead" {
		return good
	}
	for _, domain := range domainsOf(p.cfg, c.Name) {
		to, err := mail.Join("postmaster", domain)
		if err != nil {
			continue
		}
		tx := mail.NewTransaction(mail.Client{}, "")
		err = u.Check(ctx, tx, mail.Rcpt{To: to, Orig: to})
		switch {
		case err != nil && !mail.AsReply(err).Permanent():
			p.say("    ", "%s: recipients can't be checked now: %s", domain, mail.AsReply(err).Text)
			good = false
		case err != nil:
			p.say("    ", "postmaster@%s is refused, although every domain must accept it (RFC 5321, 4.5.1): %s", domain, mail.AsReply(err))
		case u.AcceptsAll(domain):
			p.say("    ", "%s: every address is accepted, so unknown recipients become bounces: list the recipients in a file, recipients = \"file:NAME\"", domain)
			good = false
		default:
			p.say("    ", "%s: unknown recipients are refused, as they should be", domain)
		}
	}
	return good
}

// domainsOf returns the domains that are routed to an upstream as a whole.
func domainsOf(cfg *config.Config, upstream string) []string {
	var list []string
	for _, ch := range cfg.Chain {
		for i := range ch.Routes {
			if r := &ch.Routes[i]; r.Hop == upstream {
				for _, t := range r.To {
					if a, err := mail.Join("x", t); err == nil && t != "local" {
						list = append(list, a.ASCIIDomain())
					}
				}
			}
		}
	}
	return list
}
