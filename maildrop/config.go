package maildrop

import (
	"strings"

	"hoplite/internal/conf"
)

// Config is the block maildrop "boxes" { ... } of relay.hcl.
type Config struct {
	conf.Pos
	Name string `hcl:"name,label"`
	// Path is where the Maildir of each account lies. {user} is the part of its
	// address before the @, {domain} the part behind it; both in lower case,
	// characters that could lead elsewhere written %XX. A path that does not
	// begin with / lies in the data folder. After a reload that changes it,
	// sessions go on in the old place until they end; nothing is moved.
	Path string `hcl:"path,optional" default:"mail/{domain}/{user}"`
	// Separator stands between the levels of a folder name on IMAP, "." or
	// "/". Dovecot and Courier use ".", and clients remember it.
	Separator string `hcl:"separator,optional" enum:".|/" default:"."`
	// Prefix stands before the names of all folders but INBOX. Users who come
	// from Courier expect "INBOX.".
	Prefix string `hcl:"prefix,optional"`
	// Junk is the folder for mail that a filter put into quarantine. It is
	// made when it is needed.
	Junk string `hcl:"junk,optional" default:"Junk"`
	// MakeFolders makes the folder of a sub-address (ann+lists@example.org)
	// when it isn't there; otherwise such mail goes to INBOX.
	MakeFolders bool `hcl:"make_folders,optional"`
	// Quota is the space that each account has; 0 sets no limit. An account's
	// own quota wins over it, and a limit in an existing maildirsize file
	// counts where neither is set.
	Quota conf.Bytes `hcl:"quota,optional"`
	// QuotaMessages is how many messages each account may have; 0 sets no limit.
	QuotaMessages int64 `hcl:"quota_messages,optional"`
	// QuotaReply is what a sender hears when a mailbox is full: "defer" (452,
	// the sender's server tries again for days) or "reject" (552, at once back
	// to the sender).
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

// Check finds what no single field can know.
func (c *Config) Check() error {
	if c.Path != "" && !strings.Contains(c.Path, "{user}") {
		return conf.Fieldf("path", "{user} is missing: all accounts would share one box")
	}
	if c.Prefix != "" && c.Separator != "" && !strings.HasSuffix(c.Prefix, c.Separator) {
		return conf.Fieldf("prefix", "must end with the separator %q", c.Separator)
	}
	return nil
}
