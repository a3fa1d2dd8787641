package check

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"hoplite/cmd/hoplite/internal/config"
	"hoplite/internal/conf"
	"hoplite/mail"
	"hoplite/maildrop"
)

// checkHostnames finds names of this server that are not valid host names.
func checkHostnames(cfg *config.Config, diags *conf.Diagnostics) {
	check := func(what, name string, at conf.Range) {
		switch d, err := mail.ParseDomain(name); {
		case err != nil:
			diags.Add(at, fmt.Sprintf("%s %q is not a valid domain name", what, name), "")
		case !isHostname(d):
			diags.Warn(at, fmt.Sprintf("%s %q is not a host name", what, name), "Other servers refuse such a name in EHLO; it has letters, digits and hyphens, such as mail.example.org.")
		}
	}
	check("hostname", cfg.Hostname, cfg.Attr("hostname"))
	for _, l := range cfg.MailListeners() {
		if l.Hostname != "" {
			check("hostname", l.Hostname, l.Attr("hostname"))
		}
	}
	if a := cfg.ACME; a != nil && len(a.NamesOr(cfg.Names())) == 0 {
		diags.Add(a.Range(), fmt.Sprintf("no authority certifies the name %q", cfg.Hostname), "Set hostname, or names in the acme block.")
	}
	for _, u := range cfg.Upstream {
		if u.Helo != "" {
			check("helo", u.Helo, u.Attr("helo"))
		}
	}
}

// isHostname reports whether a domain in normal form is a valid host name,
// which excludes IP addresses and names with an underscore.
func isHostname(domain string) bool {
	if _, err := netip.ParseAddr(domain); err == nil {
		return false
	}
	for label := range strings.SplitSeq(domain, ".") {
		if strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || strings.Trim(label, "-") != label || label == "" {
			return false
		}
	}
	return true
}

// checkNames finds references to chains, hops and upstreams that do not exist.
func checkNames(cfg *config.Config, diags *conf.Diagnostics) {
	chains, hops, upstreams := declared(cfg, diags)
	used := map[string]bool{}
	for _, l := range cfg.MailListeners() {
		used[l.Chain] = true
		if !slices.Contains(chains, l.Chain) {
			diags.Add(l.Attr("chain"), fmt.Sprintf("there is no chain %q", l.Chain),
				conf.Known(l.Chain, chains, fmt.Sprintf("No chain is configured: write chain %q { ... }.", l.Chain)))
		}
	}
	for _, ch := range cfg.Chain {
		if !used[ch.Name] {
			diags.Warn(ch.Range(), fmt.Sprintf("no listener uses chain %q", ch.Name), "")
		}
		for i := range ch.Routes {
			if r := &ch.Routes[i]; r.Reply == "" && !slices.Contains(hops, r.Hop) {
				diags.Add(r.Attr("hop"), fmt.Sprintf("there is no hop %q", r.Hop),
					conf.Known(r.Hop, hops, "No maildrop or upstream is configured."))
			}
		}
	}
	var certificates []string
	for i := range cfg.Certificate {
		certificates = append(certificates, cfg.Certificate[i].Name)
	}
	checkAccounts(cfg, diags)
	for _, u := range cfg.Upstream {
		if u.Certificate != "" && !slices.Contains(certificates, u.Certificate) {
			diags.Add(u.Attr("certificate"), fmt.Sprintf("there is no certificate %q", u.Certificate),
				conf.Known(u.Certificate, certificates, fmt.Sprintf("Write certificate %q { ... }.", u.Certificate)))
		}
		if name, ok := u.RecipientsDirectory(); ok {
			checkDirectory(cfg, name, u.Attr("recipients"), diags)
		}
		switch {
		case u.Fallback == "":
		case u.Fallback == u.Name:
			diags.Add(u.Attr("fallback"), "an upstream can't be its own fallback", "")
		case !slices.Contains(upstreams, u.Fallback):
			diags.Add(u.Attr("fallback"), fmt.Sprintf("there is no upstream %q", u.Fallback), conf.Known(u.Fallback, upstreams, ""))
		}
	}
}

// checkAccounts finds accounts blocks that share a domain or refer to a directory
// that does not exist.
func checkAccounts(cfg *config.Config, diags *conf.Diagnostics) {
	seen := map[string]bool{}
	for _, a := range cfg.Accounts {
		if name, ok := a.Directory(); ok {
			checkDirectory(cfg, name, a.Attr("login"), diags)
		}
		if name, ok := a.AddressDirectory(); ok {
			checkDirectory(cfg, name, a.Attr("addresses"), diags)
		}
		if seen[a.Name] {
			diags.Add(a.Range(), fmt.Sprintf("another accounts block is for %s too", a.Name), "A domain has one server that checks its passwords.")
		}
		seen[a.Name] = true
	}
}

// checkDirectory finds a reference to a directory that does not exist.
func checkDirectory(cfg *config.Config, name string, at conf.Range, diags *conf.Diagnostics) {
	var known []string
	for _, d := range cfg.Directory {
		known = append(known, d.Name)
	}
	if !slices.Contains(known, name) {
		diags.Add(at, fmt.Sprintf("there is no directory %q", name),
			conf.Known(name, known, fmt.Sprintf("No directory is configured: write directory %q { ... }.", name)))
	}
}

// declared returns the names of the chains, of the hops, and of the hops that
// are upstreams. A name shared by two hops is a mistake.
func declared(cfg *config.Config, diags *conf.Diagnostics) (chains, hops, upstreams []string) {
	for _, ch := range cfg.Chain {
		chains = append(chains, ch.Name)
	}
	for _, m := range cfg.Maildrop {
		hops = append(hops, m.Name)
	}
	for _, u := range cfg.Upstream {
		if slices.Contains(hops, u.Name) {
			diags.Add(u.Range(), fmt.Sprintf("a maildrop is called %q too", u.Name), "A route could mean either: give one of them another name.")
		}
		upstreams = append(upstreams, u.Name)
	}
	return chains, append(hops, upstreams...), upstreams
}

// checkMaildrops finds maildrops that would store the same mailboxes with
// different settings.
func checkMaildrops(cfg *config.Config, diags *conf.Diagnostics) {
	names := map[string]string{}
	for _, m := range cfg.Maildrop {
		path := maildrop.Location(*m, cfg.Data)
		if other, taken := names[path]; taken {
			diags.Add(m.Attr("path"), fmt.Sprintf("maildrop %q keeps its mailboxes at the same path", other), "Several routes can lead to one maildrop.")
		}
		names[path] = m.Name
	}
}
