package assembly

import (
	"errors"
	"fmt"

	"github.com/rs/zerolog"

	"hoplite/cmd/hoplite/internal/config"
	"hoplite/internal/directory"
	"hoplite/internal/files"
	"hoplite/internal/users"
	"hoplite/internal/users/authority"
	"hoplite/internal/users/login"
	"hoplite/mail"
	"hoplite/mail/alias"
	"hoplite/mail/srs"
	"hoplite/maildrop"
)

// Directory holds the accounts of a generation, and resolves addresses.
type Directory struct {
	// Accounts holds the accounts of the users file, and the servers that check
	// passwords for accounts blocks.
	Accounts *authority.Accounts
	// Logins checks passwords and slows down clients that guess them.
	Logins *login.Gate

	aliases  *files.Watched[*alias.Table]
	path     string // of the aliases
	resolver *alias.Resolver
	srs      *srs.Rewriter // may be nil
}

// openAccounts reads the accounts, and creates the servers that check passwords.
func openAccounts(cfg *config.Config, ldap map[string]*directory.Directory, log zerolog.Logger) (*authority.Accounts, error) {
	store, err := users.Open(cfg.Under("users"), cfg.Names(), log)
	if err != nil {
		return nil, err
	}
	return authority.NewAccounts(store, cfg.Accounts, authority.Env{Hostname: cfg.Hostname, Data: cfg.Data, Directories: ldap, Log: log})
}

// openDirectory reads aliases. An aliases file that cannot be read does not keep
// the server from starting: the aliases of previous are used, which may be nil,
// or mail for the addresses that the file may contain waits. Package check
// reports the file.
func openDirectory(cfg *config.Config, accounts *authority.Accounts, previous *Directory, throttle *users.Throttle, rewriter *srs.Rewriter, log zerolog.Logger) (*Directory, error) {
	path := cfg.Under(cfg.Aliases)
	aliases, err := files.Watch(path, alias.Parse, log)
	if _, err := alias.Mistakes(err); err != nil && previous != nil && previous.path == path {
		aliases.Keep(previous.aliases.Get())
	}
	resolver := alias.New(accounts, aliases.Get, cfg.Names(), cfg.Postmaster)
	resolver.MayHold(routedDomains(cfg))
	return &Directory{Accounts: accounts, Logins: login.NewGate(accounts, throttle), aliases: aliases, path: path, resolver: resolver, srs: rewriter}, nil
}

// routedDomains returns the domains that routes name.
func routedDomains(cfg *config.Config) (domains []string) {
	for _, c := range cfg.Chain {
		for i := range c.Routes {
			if to, err := mail.ParsePatterns(c.Routes[i].To, cfg.Names()...); err == nil {
				domains = append(domains, to.Domains()...)
			}
		}
	}
	return domains
}

// OpenRewriter returns the rewriter of senders of forwarded mail. Its key is
// created at the first start. A damaged key is replaced rather than preventing
// the start; this only loses bounces of mail that has already been forwarded.
func OpenRewriter(cfg *config.Config, log zerolog.Logger) (*srs.Rewriter, error) {
	path := cfg.Under("state/srs.key")
	key, damaged, err := files.Make(path, 0o600, srs.ValidKey, srs.NewKey)
	if err != nil {
		return nil, fmt.Errorf("key for rewritten senders: %w", err)
	}
	if damaged {
		log.Warn().Str("file", path).Msg("damaged key for rewritten senders replaced")
	}
	return srs.New(key, cfg.Hostname), nil
}

// Refresh reads accounts and aliases again if their files have changed. If a
// file has mistakes, its previous content is kept.
func (d *Directory) Refresh() error { return errors.Join(d.Accounts.Reload(), d.aliases.Reload()) }

// AliasesErr returns the reason why the aliases in use differ from those in the
// file, or nil.
func (d *Directory) AliasesErr() error { return d.aliases.Err() }

// Ours reports whether domain is local.
func (d *Directory) Ours(domain string) bool { return d.resolver.Ours(domain) }

// Rewritten reports whether an address has the form of a sender rewritten by
// this server.
func (d *Directory) Rewritten(a mail.Address) bool { return d.srs != nil && d.srs.Ours(a) }

// Resolve follows aliases and forwards to the final addresses. The rewritten
// sender of forwarded mail, which receives the bounces, resolves to the
// original sender.
func (d *Directory) Resolve(addr string) (alias.Resolved, error) {
	given, err := mail.ParseAddress(addr)
	if err != nil || d.srs == nil || !d.srs.Ours(given) {
		return d.resolve(addr)
	}
	original, err := d.srs.Reverse(given)
	if err != nil {
		return alias.Resolved{}, &mail.Reply{Code: 550, Enhanced: "5.1.1", Text: "Recipient address rejected: invalid or expired rewritten sender", Cause: err}
	}
	found, err := d.resolve(string(original))
	found.Path = append([]alias.Step{{From: addr, To: []string{string(original)}, By: "rewritten sender"}}, found.Path...)
	return found, err
}

// resolve follows aliases and forwards. While a directory cannot be asked, an
// address that it may know is refused temporarily.
func (d *Directory) resolve(addr string) (alias.Resolved, error) {
	if err := d.Accounts.Missing(addr); err != nil {
		return alias.Resolved{}, directoryDown(err)
	}
	found, err := d.resolver.Resolve(addr)
	if err != nil {
		return found, err
	}
	for _, f := range found.Finals {
		if f.Account == "" {
			if err := d.Accounts.Missing(f.Address); err != nil {
				return found, directoryDown(err)
			}
		}
	}
	return found, nil
}

func directoryDown(cause error) error {
	return &mail.Reply{Code: 451, Enhanced: "4.4.3", Text: "Recipient address can't be checked now: the directory is not available", Cause: cause}
}

// Sender returns the reverse path to use for a recipient. It is rewritten only
// for mail from an external sender that a local alias or account forwards to an
// external recipient, because SPF would fail for the original sender.
func (d *Directory) Sender(from mail.Address, r mail.Rcpt) mail.Address {
	if d.srs == nil || !d.Rewrites(from, r) {
		return from
	}
	return d.srs.Forward(from)
}

// Rewrites reports whether Sender rewrites the reverse path towards a recipient.
func (d *Directory) Rewrites(from mail.Address, r mail.Rcpt) bool {
	return from != "" && len(r.Via) > 0 && !d.Ours(from.Domain()) && !d.Ours(r.To.Domain())
}

// MailboxOf returns the account settings that a maildrop needs, and reports
// whether the account exists.
func (d *Directory) MailboxOf(a mail.Address) (maildrop.Account, bool) {
	if acc, ok := d.Accounts.Account(string(a)); ok {
		return maildrop.Account{Quota: acc.Quota}, true
	}
	// Mail was accepted for the address, so it is kept while the directory cannot
	// be asked.
	name, forward, ok := d.Accounts.Find(string(a))
	return maildrop.Account{}, ok && len(forward) == 0 && name == a.Key() || d.Accounts.Missing(string(a)) != nil
}
