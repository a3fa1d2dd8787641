package forward

import (
	"hoplite/internal/conf"
	"hoplite/internal/oauth"
)

// preset holds the known settings of a provider's submission server.
type preset struct {
	server      string
	connections int
	rate        string
	recipients  int // per day
}

// presets maps the values of preset to providers.
//
// Microsoft: three connections, 30 messages per minute and 10,000 recipients in
// 24 hours for a mailbox
// (learn.microsoft.com/exchange/troubleshoot/send-emails/smtp-submission-improvements,
// and "Exchange Online limits"; read in November 2026). Google: 10,000 recipients
// in 24 hours for a Workspace user (support.google.com/a/answer/166852, read in
// November 2026); the 2,000 messages in 24 hours cannot be expressed as a rate
// without delaying short bursts.
var presets = map[string]preset{
	"microsoft365": {"smtp://smtp.office365.com:587", 3, "30/1m", 10000},
	"gmail":        {"smtp://smtp.gmail.com:587", 5, "", 10000},
}

// ApplyPreset sets the preset's values for settings that are missing from the
// configuration file.
func (c *Config) ApplyPreset() {
	p, ok := presets[c.Preset]
	if !ok {
		return
	}
	if len(c.Servers) == 0 {
		c.Servers = []string{p.server}
	}
	if !c.IsSet("tls") {
		c.TLS = "verify"
	}
	if !c.IsSet("recipients") {
		c.Recipients = "any" // the provider knows its own recipients only
	}
	if !c.IsSet("connections") {
		c.Connections = p.connections
	}
	if !c.IsSet("recipients_per_day") {
		c.RecipientsPerDay = p.recipients
	}
	if !c.IsSet("rate") {
		c.Rate, _ = conf.ParseRate(p.rate) // no limit for ""
	}
}

// tokens returns the oauth2 block with the upstream's preset.
func (c *Config) tokens() oauth.Config {
	o := *c.Auth.OAuth2
	if o.Preset == "" && o.TokenURL == "" {
		o.Preset = c.Preset
	}
	return o
}

// OAuth returns the application and the user of the oauth2 block, and whether
// that block exists.
func (c *Config) OAuth() (app oauth.Config, user string, ok bool) {
	if c.Auth == nil || c.Auth.OAuth2 == nil {
		return app, "", false
	}
	return c.tokens(), c.Auth.User, true
}
