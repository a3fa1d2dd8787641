package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"hoplite/internal/conf"
	"hoplite/internal/sandbox"
	"hoplite/maildrop"
)

// confine gives up the right to write elsewhere, once everything is open.
func (s *server) confine(cfg *Config) error {
	if !cfg.Sandbox {
		return nil
	}
	folders := cfg.writable()
	active, err := sandbox.Enter(folders...)
	if err != nil {
		return fmt.Errorf("enter the sandbox (sandbox = false leaves it out): %w", err)
	}
	s.log.Debug().Bool("active", active).Strs("folders", folders).Msg("sandbox")
	return nil
}

// mailFolder is the folder in which a maildrop makes its boxes.
func (c *Config) mailFolder(m *maildrop.Config) string {
	fixed, _, _ := strings.Cut(c.under(m.Path), "{")
	return filepath.Dir(fixed)
}

// writable are the folders in which the server has something to do.
func (c *Config) writable() []string {
	folders := []string{c.Data}
	for _, m := range c.Maildrop {
		folders = append(folders, c.mailFolder(m))
	}
	var sockets []conf.Listen
	for _, l := range c.SMTP {
		sockets = append(sockets, l.Listen...)
	}
	for _, l := range c.LMTP {
		sockets = append(sockets, l.Listen...)
	}
	for _, l := range c.POP3 {
		sockets = append(sockets, l.Listen...)
	}
	for _, l := range c.IMAP {
		sockets = append(sockets, l.Listen...)
	}
	for _, l := range c.Web {
		sockets = append(sockets, l.Listen...)
	}
	if c.Metrics != nil {
		sockets = append(sockets, c.Metrics.Listen)
	}
	for _, at := range sockets {
		if at.Network == "unix" {
			folders = append(folders, filepath.Dir(c.under(at.Address)))
		}
	}
	return folders
}
