// Package smime is the filter that acts on the S/MIME signatures and encryption
// of a message: its settings are the actions for signatures that are missing,
// invalid, not the sender's, or created with an untrusted certificate. Package
// mail/smime verifies the message; the filter never decrypts or changes it.
package smime

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"hoplite/filters"
	"hoplite/internal/conf"
	"hoplite/mail"
	"hoplite/mail/safe"
	"hoplite/mail/smime"
)

// Config is the filter "smime" { ... } block of a chain.
type Config struct {
	conf.Pos
	// Roots lists the trusted certificate authorities: "system", a file of
	// certificates (PEM or DER), or a folder of such files. A path is relative
	// to the data folder.
	Roots string `hcl:"roots,optional" default:"system"`
	// Trust sets other roots for senders of some domains, for example a partner
	// with a private authority, which is then trusted only for that partner.
	Trust []TrustRule `hcl:"trust,block"`
	// From limits the rules below to mail from these domains; the default is
	// all mail. The result is recorded for all mail.
	From []string `hcl:"from,optional"`
	// RequireSigned requires a valid signature on the whole message. OnMissing
	// applies if it is not signed at all.
	RequireSigned bool `hcl:"require_signed,optional"`
	// RequireEncrypted requires the whole message to be encrypted.
	RequireEncrypted bool `hcl:"require_encrypted,optional"`
	// OnMissing is the action for mail without a required signature or
	// encryption.
	OnMissing string `hcl:"on_missing,optional" enum:"reject|quarantine|tag" default:"reject"`
	// OnInvalid is the action for mail with a signature that is invalid, not
	// the sender's, or created with a revoked certificate.
	OnInvalid string `hcl:"on_invalid,optional" enum:"tag|quarantine|reject" default:"tag"`
	// OnExpired is the action for mail whose signer's certificate has expired
	// or is not valid yet.
	OnExpired string `hcl:"on_expired,optional" enum:"tag|quarantine|reject" default:"tag"`
	// OnUnknownCA is the action for mail signed with a certificate that was not
	// issued by a trusted root, is missing, or contains no address.
	OnUnknownCA string `hcl:"on_unknown_ca,optional" enum:"tag|quarantine|reject" default:"tag"`
	// OnWeak is the action for mail signed with SHA-1, MD5, a short key, or an
	// unsupported algorithm.
	OnWeak string `hcl:"on_weak,optional" enum:"tag|quarantine|reject" default:"tag"`
	// Revocation selects how certificates are checked for revocation: not at
	// all (off), using only cached data (cached), by a query in the background
	// whose result is used for later messages (soft), or by an immediate query
	// that takes at most 2 s (hard). With hard, mail is deferred while the
	// status is unknown.
	Revocation string `hcl:"revocation,optional" enum:"off|cached|soft|hard" default:"soft"`
	// MaxLayers is the maximum number of nested signatures and envelopes that
	// are opened.
	MaxLayers int `hcl:"max_layers,optional" default:"5"`
	// MaxSize is the maximum size of a signature or envelope. A larger one is
	// treated as invalid.
	MaxSize conf.Bytes `hcl:"max_size,optional" default:"64MiB"`
	// FoldCase ignores case when local parts are compared with those in the
	// certificate; otherwise a difference in case is accepted but recorded.
	FoldCase bool `hcl:"fold_case,optional"`
	// Sender accepts a signer whose address is in Sender instead of From, for
	// example if a secretary signs.
	Sender bool `hcl:"sender,optional"`
}

// TrustRule sets the roots for senders in some domains.
type TrustRule struct {
	conf.Pos
	// From lists domains of the From address.
	From []string `hcl:"from" was:"domains"`
	// Roots lists certificate authorities in the same form as roots above.
	Roots string `hcl:"roots"`
}

// Check rejects a max_layers below 1.
func (c *Config) Check() error {
	if c.MaxLayers < 1 {
		return conf.Fieldf("max_layers", "%d layers would open nothing: 5 is usual", c.MaxLayers)
	}
	return nil
}

// Filter applies a Config.
type Filter struct {
	cfg     Config
	checker *smime.Checker
}

// New returns the filter. The error names the roots that could not be read.
func New(cfg Config, env filters.Env) (filters.Filter, error) {
	under := func(path string) string {
		if path == "" || path == "system" || filepath.IsAbs(path) {
			return path
		}
		return filepath.Join(env.Data, path)
	}
	trust, err := smime.NewTrust(under(cfg.Roots))
	errs := []error{conf.At(cfg.Attr("roots"), err)}
	for i := range cfg.Trust {
		t := &cfg.Trust[i]
		errs = append(errs, conf.At(t.Attr("roots"), trust.Add(t.From, under(t.Roots))))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for i, d := range cfg.From {
		cfg.From[i] = strings.ToLower(d)
	}
	return &Filter{cfg: cfg, checker: &smime.Checker{
		Trust:      trust,
		MaxLayers:  cfg.MaxLayers,
		MaxSize:    int64(cfg.MaxSize),
		FoldCase:   cfg.FoldCase,
		Sender:     cfg.Sender,
		Spool:      filepath.Join(env.Data, "spool"),
		Revocation: smime.NewRevocation(cfg.Revocation, filepath.Join(env.Data, "state", "smime")),
	}}, nil
}

// Inherit takes over the intermediate certificates collected by another filter.
func (f *Filter) Inherit(from filters.Filter) {
	f.checker.Trust.Inherit(from.(*Filter).checker.Trust)
}

// AtData verifies the message. The results are added to the trail and to
// Authentication-Results.
func (f *Filter) AtData(ctx context.Context, tx *mail.Transaction, m *mail.Message) (filters.Verdict, error) {
	rep, err := f.checker.Message(ctx, m.Base, m.Base.Size())
	if err != nil {
		return filters.Verdict{}, fmt.Errorf("smime: %w", err)
	}
	v := f.decide(rep)
	v.Auth = rep.Auth()
	v.Facts = rep.Facts()
	return v, nil
}

// decide applies the rules to a report.
func (f *Filter) decide(rep *smime.Report) filters.Verdict {
	if f.cfg.Revocation == smime.RevokeHard && rep.Verdict == "good" && rep.Has("revocation_unknown") {
		v := filters.Deferred(451, "4.7.0", "Revocation status of the signer's certificate not known yet, please try again later")
		v.Reason = "revocation status not known yet"
		return v
	}
	action, reason := "", rep.Reason()
	if f.applies(rep) {
		switch rep.Verdict {
		case "good":
			if rep.Has("no_address") {
				action = f.cfg.OnUnknownCA
			}
		case "bad":
			action = f.cfg.OnInvalid
		case "weak", "unsupported":
			action = f.cfg.OnWeak
		case "unknown":
			action = f.cfg.OnUnknownCA
			if rep.HasTrust(smime.TrustExpired) || rep.HasTrust(smime.TrustNotYetValid) {
				action = f.cfg.OnExpired
			}
		}
		if f.cfg.RequireSigned && !rep.Signed() && !rep.Encrypted() {
			action, reason = worse(action, f.cfg.OnMissing), "messages from this domain must be signed"
		}
		if f.cfg.RequireEncrypted && !rep.Encrypted() {
			action, reason = worse(action, f.cfg.OnMissing), "messages from this domain must be encrypted"
		}
	}
	switch action {
	case "reject":
		v := filters.Rejected(550, "5.7.1", "S/MIME: %s", safe.Reply(reason))
		v.Reason = reason
		return v
	case "quarantine":
		return filters.Quarantined(reason)
	case "tag":
		return filters.Tagged(reason)
	}
	return filters.Verdict{Reason: reason}
}

// worse returns the more severe of two actions.
func worse(a, b string) string {
	order := []string{"", "tag", "quarantine", "reject"}
	return order[max(slices.Index(order, a), slices.Index(order, b))]
}

// applies reports whether the rules apply to the sender.
func (f *Filter) applies(rep *smime.Report) bool {
	return len(f.cfg.From) == 0 || slices.ContainsFunc(rep.FromDomains, func(d string) bool { return slices.Contains(f.cfg.From, d) })
}
