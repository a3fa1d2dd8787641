// Package smime judges signed and encrypted mail: who signed it, whether the
// signature holds, whether the signer is whom the message is from, and what
// could not be looked at because it is encrypted. The CMS format below is read
// by package cms. Nothing here decrypts, and nothing changes a message.
//
// [Checker] is the judge, for the command line as for the filter.
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

// Config is the block filter "smime" { ... } of a chain.
type Config struct {
	conf.Pos
	// Roots are the authorities that may vouch for signers: "system", a file
	// of certificates (PEM or DER), or a folder of such files. A path is
	// relative to the data folder.
	Roots string `hcl:"roots,optional" default:"system"`
	// Trust gives senders of some domains roots of their own: a partner with a
	// private authority, which is then believed for them and nobody else.
	Trust []TrustRule `hcl:"trust,block"`
	// From limits the rules below to mail from these domains. Without it they
	// are for all mail; what is found is written down for all mail in any case.
	From []string `hcl:"from,optional"`
	// RequireSigned asks that the whole message is signed, and the signature
	// good. OnMissing says what follows if it is not signed at all.
	RequireSigned bool `hcl:"require_signed,optional"`
	// RequireEncrypted asks that the whole message is encrypted.
	RequireEncrypted bool `hcl:"require_encrypted,optional"`
	// OnMissing is what happens to mail that is not signed or encrypted
	// although it must be.
	OnMissing string `hcl:"on_missing,optional" enum:"reject|quarantine|tag" default:"reject"`
	// OnInvalid is what happens to mail with a signature that does not hold, is
	// not the sender's, or was made with a revoked certificate.
	OnInvalid string `hcl:"on_invalid,optional" enum:"tag|quarantine|reject" default:"tag"`
	// OnExpired is what happens to mail whose signer's certificate has expired
	// or is not valid yet.
	OnExpired string `hcl:"on_expired,optional" enum:"tag|quarantine|reject" default:"tag"`
	// OnUnknownCA is what happens to mail signed with a certificate that no
	// root vouches for, that is missing, or that names no address at all.
	OnUnknownCA string `hcl:"on_unknown_ca,optional" enum:"tag|quarantine|reject" default:"tag"`
	// OnWeak is what happens to mail signed with SHA-1, MD5 or a short key, or
	// with an algorithm that is not supported.
	OnWeak string `hcl:"on_weak,optional" enum:"tag|quarantine|reject" default:"tag"`
	// Revocation says how to learn whether a certificate was taken back: not at
	// all, from what is at hand, by asking in the background for the next
	// message, or by asking now (2 s at most; the sender is told to come back
	// while it is not known).
	Revocation string `hcl:"revocation,optional" enum:"off|cached|soft|hard" default:"soft"`
	// MaxLayers is how many layers of signatures and envelopes are opened.
	MaxLayers int `hcl:"max_layers,optional" default:"5"`
	// MaxSize is the largest signature or envelope that is read. A larger one
	// counts as invalid.
	MaxSize conf.Bytes `hcl:"max_size,optional" default:"64MiB"`
	// FoldCase lets the part of an address before the @ differ in capitals from
	// the one in the certificate.
	FoldCase bool `hcl:"fold_case,optional"`
	// Sender lets the address in Sender be the signer's where that in From is
	// not, as for secretaries.
	Sender bool `hcl:"sender,optional"`
}

// TrustRule is the roots for senders of some domains.
type TrustRule struct {
	conf.Pos
	// From are the domains of the From address.
	From []string `hcl:"from" was:"domains"`
	// Roots are as above.
	Roots string `hcl:"roots"`
}

// Check refuses limits under which nothing would be read.
func (c *Config) Check() error {
	if c.MaxLayers < 1 {
		return conf.Fieldf("max_layers", "%d layers would open nothing: 5 is usual", c.MaxLayers)
	}
	return nil
}

// Filter keeps to a Config.
type Filter struct {
	cfg     Config
	checker *smime.Checker
}

// New makes the filter. The error says which roots could not be read.
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

// Inherit goes on with the intermediate certificates that another filter saw.
func (f *Filter) Inherit(from filters.Filter) {
	f.checker.Trust.Inherit(from.(*Filter).checker.Trust)
}

// AtData judges the message. What it finds is on the trail and in
// Authentication-Results; what follows is the configuration's choice.
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
		v := filters.Deferred(451, "4.7.0", "whether the signer's certificate was revoked is not known yet, try again later")
		v.Reason = "revocation not known yet"
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
			action, reason = worse(action, f.cfg.OnMissing), "this domain takes signed messages only"
		}
		if f.cfg.RequireEncrypted && !rep.Encrypted() {
			action, reason = worse(action, f.cfg.OnMissing), "this domain takes encrypted messages only"
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

// worse picks the harsher of two actions.
func worse(a, b string) string {
	order := []string{"", "tag", "quarantine", "reject"}
	return order[max(slices.Index(order, a), slices.Index(order, b))]
}

// applies says whether the rules are for this sender.
func (f *Filter) applies(rep *smime.Report) bool {
	return len(f.cfg.From) == 0 || slices.ContainsFunc(rep.FromDomains, func(d string) bool { return slices.Contains(f.cfg.From, d) })
}
