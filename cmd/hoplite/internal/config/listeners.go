package config

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"hoplite/internal/conf"
	"hoplite/internal/listen"
	"hoplite/maildrop"
	"hoplite/relay"
)

// MailListener is a listener that accepts mail: an smtp or lmtp block.
type MailListener struct {
	*relay.Config
	// Protocol is "smtp" or "lmtp".
	Protocol string
}

// MailListeners returns the smtp blocks, then the lmtp blocks.
func (c *Config) MailListeners() []MailListener {
	var list []MailListener
	for _, l := range c.SMTP {
		list = append(list, MailListener{l, "smtp"})
	}
	for _, l := range c.LMTP {
		list = append(list, MailListener{l, "lmtp"})
	}
	return list
}

// FindListener returns the mail listener called name, or the first one if name
// is empty.
func (c *Config) FindListener(name string) (MailListener, bool) {
	for _, l := range c.MailListeners() {
		if name == "" || l.Name == name {
			return l, true
		}
	}
	return MailListener{}, false
}

// Title returns the header of the block, for example smtp "inbound".
func (l MailListener) Title() string { return fmt.Sprintf("%s %q", l.Protocol, l.Name) }

// Local reports whether only programs on this machine can connect, because
// every address is a socket file. A loopback port is not local in this sense,
// because a proxy or NAT may forward to it.
func (l MailListener) Local() bool {
	return !slices.ContainsFunc(l.Listen, func(at conf.Listen) bool { return at.Network != "unix" })
}

// Public reports whether remote clients may send mail without logging in.
func (l MailListener) Public() bool { return l.Auth != "required" && !l.Local() }

// Relays reports whether some clients of the listener may relay.
func (l MailListener) Relays() bool { return l.Auth != "off" || len(l.RelayFrom) > 0 }

// Listener is a block that listens for mail or for mail readers.
type Listener struct {
	*listen.Config
	// Pos is the position of the block in the file.
	Pos *conf.Pos
	// Title is the header of the block, for example imap "imap".
	Title string
}

// Listeners returns the listeners of all protocols except metrics.
func (c *Config) Listeners() []Listener {
	var list []Listener
	add := func(protocol, name string, l *listen.Config, pos *conf.Pos) {
		list = append(list, Listener{l, pos, fmt.Sprintf("%s %q", protocol, name)})
	}
	for _, l := range c.MailListeners() {
		add(l.Protocol, l.Name, &l.Config.Config, &l.Pos)
	}
	for _, l := range c.POP3 {
		add("pop3", l.Name, &l.Config, &l.Pos)
	}
	for _, l := range c.IMAP {
		add("imap", l.Name, &l.Config, &l.Pos)
	}
	for _, l := range c.Web {
		add("web", l.Name, &l.Config, &l.Pos)
	}
	return list
}

// sockets returns all addresses on which the server listens.
func (c *Config) sockets() []conf.Listen {
	var all []conf.Listen
	for _, l := range c.Listeners() {
		all = append(all, l.Listen...)
	}
	if c.Metrics != nil {
		all = append(all, c.Metrics.Listen)
	}
	return all
}

// MailFolder returns the folder in which a maildrop creates its mailboxes.
func (c *Config) MailFolder(m *maildrop.Config) string {
	fixed, _, _ := strings.Cut(c.Under(m.Path), "{")
	return filepath.Dir(fixed)
}

// WritableFolders returns the folders to which the running server writes.
func (c *Config) WritableFolders() []string {
	folders := []string{c.Data}
	for _, m := range c.Maildrop {
		folders = append(folders, c.MailFolder(m))
	}
	for _, at := range c.sockets() {
		if at.Network == "unix" {
			folders = append(folders, filepath.Dir(c.Under(at.Address)))
		}
	}
	return folders
}
