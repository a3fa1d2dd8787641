package check

import (
	"fmt"
	"slices"
	"strings"

	"hoplite/cmd/hoplite/internal/config"
	"hoplite/internal/conf"
	"hoplite/internal/directory"
	"hoplite/internal/listen"
	"hoplite/internal/users/authority"
	"hoplite/web"
)

// surroundings prints the settings that all listeners share: certificates, DNS,
// the postmaster.
func (p plan) surroundings() {
	a := p.cfg.ACME
	if a != nil {
		p.say("", "TLS uses certificates of %s (%s) that come from %s.", strings.Join(p.cfg.ACMENames(), ", "), strings.Join(a.Keys, " and "), a.CA)
	}
	if len(p.cfg.ServerCertificates()) == 0 && a == nil {
		p.say("", "TLS uses a self-signed certificate for %s, which is made at the first start.", strings.Join(p.cfg.Names(), ", "))
	}
	for _, c := range p.cfg.ServerCertificates() {
		p.say("", "TLS uses the certificate %s.", p.cfg.Under(c.Cert))
	}
	if d := p.cfg.DNS; d != nil {
		p.say("", "DNS server %s, %s.", d.Server, map[bool]string{true: "whose answers are trusted", false: "which does not validate DNSSEC"}[validates(d)])
	} else {
		p.say("", "The system's DNS servers are used.")
	}
	if usesMX(p.cfg) && !mayUseDANE(p.cfg) {
		p.say("  ", "DANE needs a resolver that validates DNSSEC and runs on this machine: dns { server = \"127.0.0.1:53\" }. Without it only MTA-STS protects mail to other domains.")
	}
	if r := p.cfg.TLSReports; r != nil {
		p.say("", "Domains that ask for TLS reports receive one each day from %s.", r.From)
	}
	p.postmaster()
}

// validates reports whether a DNS server's answers are trusted. A server on
// this machine is always trusted.
func validates(d *config.DNSConfig) bool { return d.Validates || d.Server.Addr().IsLoopback() }

// mayUseDANE reports whether the configuration names a trusted resolver.
func mayUseDANE(cfg *config.Config) bool { return cfg.DNS != nil && validates(cfg.DNS) }

// usesMX reports whether mail is sent to the mail servers of other domains.
func usesMX(cfg *config.Config) bool {
	for _, u := range cfg.Upstream {
		if u.MX && u.TLS != "off" {
			return true
		}
	}
	return false
}

// postmaster prints the recipients of mail for the postmaster.
func (p plan) postmaster() {
	if to := postmasterOf(p.cfg); len(to) > 0 {
		p.say("", "Mail for the postmaster, and reports that cannot be returned, go to %s.", strings.Join(to, ", "))
		return
	}
	if len(p.cfg.Maildrop) == 0 {
		p.say("", "Mail for the postmaster has no recipient.")
		return
	}
	p.say("", "No account exists yet: the first one, or the first admin, will receive mail for the postmaster.")
}

// readers prints the listeners for mail readers, browsers and metrics.
func (p plan) readers() {
	for _, l := range p.cfg.POP3 {
		p.reader(fmt.Sprintf("pop3 %q", l.Name), &l.Config, p.logins(&l.Config, l.CleartextLogin))
	}
	for _, l := range p.cfg.IMAP {
		p.reader(fmt.Sprintf("imap %q", l.Name), &l.Config, p.logins(&l.Config, l.CleartextLogin))
	}
	for _, l := range p.cfg.Web {
		who := "Clients on this machine may trace a message without a login"
		if l.Open {
			who = "Any client may trace a message without a login"
		}
		p.reader(fmt.Sprintf("web %q", l.Name), &l.Config, who+"; history and explain need one.")
		for _, c := range l.MTASTS {
			p.policyHost(c)
		}
	}
	if m := p.cfg.Metrics; m != nil {
		fmt.Fprintln(p.w)
		p.say("", "metrics at %s", m.Listen)
		p.say("    ", "Figures for Prometheus, without a password.")
	}
}

// policyHost prints an MTA-STS policy and the DNS records to publish for it.
func (p plan) policyHost(c *web.STSConfig) {
	_, domain, _ := strings.Cut(c.Host(), ".")
	p.say("    ", "MTA-STS policy of %s, mode %s, servers %s. DNS must have:", domain, c.Mode, strings.Join(c.Servers(p.cfg.Hostname), ", "))
	p.say("      ", "%s. with this server's addresses", c.Host())
	p.say("      ", "_mta-sts.%s. TXT \"%s\"", domain, c.Record(p.cfg.Hostname))
}

func (p plan) reader(title string, l *listen.Config, text string) {
	fmt.Fprintln(p.w)
	p.say("", "%s at %s", title, join(l.Listen))
	modes := tlsModes(l)
	if strings.HasPrefix(title, "web") {
		modes = strings.ReplaceAll(modes, "TLS by STARTTLS", "no TLS")
	}
	p.say("    ", "%s. %s", upper(modes), text)
}

// directory prints how an LDAP server is asked.
func (p plan) directory(d *directory.Config) {
	fmt.Fprintln(p.w)
	p.say("", "directory %q", d.Name)
	as := "anonymously"
	if d.BindDN != "" {
		as = "as " + d.BindDN
	}
	p.say("    ", "%s, searched below %s %s; schema %s.", strings.Join(strings.Fields(d.URL), ", then "), d.Base, as, d.Schema)
	p.say("    ", "Answers are kept for %s; while it cannot be asked, for %s. Then recipients are refused temporarily.",
		conf.FormatDuration(d.KnownFor), conf.FormatDuration(max(d.KnownFor, d.StaleFor)))
}

// accounts prints which servers check the passwords and access tokens of a
// domain.
func (p plan) accounts(a *authority.Config) {
	fmt.Fprintln(p.w)
	p.say("", "accounts %q", a.Name)
	if o := a.OAuth; o != nil {
		p.say("    ", "Access tokens of %s for %s (OAUTHBEARER, XOAUTH2); the address is in the claim %q.", o.Issuer, strings.Join(o.Audience, ", "), o.Claim)
		p.say("    ", "While its keys cannot be fetched, known ones are used for %s. Then these logins fail temporarily.", conf.FormatDuration(a.StaleFor))
	}
	if a.Login == "" {
		p.say("    ", "Passwords of accounts here.")
		return
	}
	who := a.Login
	if name, ok := a.Directory(); ok {
		who = fmt.Sprintf("directory %q", name)
	}
	p.say("    ", "Passwords of accounts here, then those that %s accepts, which are remembered for %s.", who, conf.FormatDuration(a.KnownFor))
	if name, ok := a.AddressDirectory(); ok {
		p.say("    ", "Addresses are those of directory %q; groups are expanded here.", name)
	}
	p.say("    ", "While it cannot be asked: passwords that were correct in the last %s. Other logins fail temporarily.",
		conf.FormatDuration(max(a.KnownFor, a.StaleFor)))
}

// logins describes the clients that may send a password in clear text.
func (p plan) logins(l *listen.Config, cleartext bool) string {
	switch {
	case l.TLS == "implicit":
		return "Passwords are always encrypted."
	case cleartext:
		return "Passwords may be sent in clear text."
	}
	if l.ProxyProtocol || !slices.ContainsFunc(l.Listen, onHost) {
		return "Passwords require TLS."
	}
	return "Passwords in clear text are accepted from this machine only."
}

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// postmasterOf returns the final addresses of mail for the postmaster.
func postmasterOf(cfg *config.Config) (to []string) {
	a, err := ReadAddresses(cfg)
	if err != nil {
		return nil
	}
	name := "postmaster@" + cfg.Hostname
	found, err := a.Resolve(name)
	if err != nil {
		return nil
	}
	for _, f := range found.Finals {
		if f.Account == "" && f.Address == name && a.problem(f) != "" {
			continue // no route matches
		}
		to = append(to, f.Address)
	}
	return to
}
