package maildrop

import (
	"strings"

	"hoplite/internal/conf"
)

// Config is the maildrop "boxes" { ... } block of relay.hcl.
type Config struct {
	conf.Pos
	Name string `hcl:"name,label"`
	// Path is the location of each account's Maildir. {user} is the part of the
	// address before the @, {domain} the part after it, both in lower case;
	// characters that could lead out of the directory are written as %XX. A
	// path that does not start with / is relative to the data folder. If a
	// reload changes the path, open sessions continue in the old place; no mail
	// is moved.
	Path string `hcl:"path,optional" default:"mail/{domain}/{user}"`
	// Separator is the character between the levels of a folder name on IMAP,
	// "." or "/". Dovecot and Courier use ".", and clients remember it.
	Separator string `hcl:"separator,optional" enum:".|/" default:"."`
	// Prefix precedes the names of all folders except INBOX. Courier uses
	// "INBOX.".
	Prefix string `hcl:"prefix,optional"`
	// Junk is the folder for mail that a filter quarantined. It is created when
	// needed.
	Junk string `hcl:"junk,optional" default:"Junk"`
	// MakeFolders creates the folder of a sub-address (ann+lists@example.org)
	// if it does not exist. Otherwise such mail goes to INBOX.
	MakeFolders bool `hcl:"make_folders,optional"`
	// Quota is the space for each account; 0 sets no limit. An account's own
	// quota takes precedence. If neither is set, a limit in an existing
	// maildirsize file applies.
	Quota conf.Bytes `hcl:"quota,optional"`
	// QuotaMessages is the number of messages that each account may have; 0
	// sets no limit.
	QuotaMessages int64 `hcl:"quota_messages,optional"`
	// QuotaReply is the reply to mail for a full mailbox: "defer" (452, the
	// sending server retries for days) or "reject" (552, the sender gets a
	// bounce at once).
	QuotaReply string `hcl:"quota_reply,optional" enum:"defer|reject" default:"defer"`
}

func (c *Config) defaults() {
	set := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	set(&c.Path, "mail/{domain}/{user}")
	set(&c.Separator, ".")
	set(&c.Junk, "Junk")
	set(&c.QuotaReply, "defer")
}

// Check reports invalid combinations of fields.
func (c *Config) Check() error {
	if c.Path != "" && !strings.Contains(c.Path, "{user}") {
		return conf.Fieldf("path", "{user} is missing: all accounts would share one box")
	}
	if c.Prefix != "" && c.Separator != "" && !strings.HasSuffix(c.Prefix, c.Separator) {
		return conf.Fieldf("prefix", "must end with the separator %q", c.Separator)
	}
	return nil
}
