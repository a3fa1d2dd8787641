package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"hoplite"
	"hoplite/imap"
	"hoplite/internal/conf"
	"hoplite/internal/listen"
	"hoplite/internal/stats"
	"hoplite/mail"
	"hoplite/maildrop"
	"hoplite/pop3"
	"hoplite/relay"
	"hoplite/relay/forward"
	"hoplite/web"
)

// Config is relay.hcl. Each package owns the meaning of its block; this list
// only says which blocks there are.
type Config struct {
	conf.Pos
	// Hostname is our name in greetings, EHLO and Received, and the authserv-id
	// of Authentication-Results. It should be the name that DNS knows. Without
	// it, what the operating system calls this machine.
	Hostname string `hcl:"hostname,optional" example:"mail.example.org"`
	// Data is the folder of everything we keep: accounts, queue, mail, history.
	// Relative to this file.
	Data string `hcl:"data,optional" default:"var"`
	// Trusted are the networks whose Received lines we believe: our own servers
	// and those of a provider in front of us. It lets nobody relay.
	Trusted []netip.Prefix `hcl:"trusted,optional"`
	// Postmaster gets the mail for postmaster at any domain of ours, and what
	// can't be returned to its sender.
	Postmaster string `hcl:"postmaster,optional" example:"ann@example.org"`
	// Aliases is a file in the syntax of Postfix's virtual(5), under data.
	Aliases string `hcl:"aliases,optional" default:"aliases"`
	// Sandbox lets the running server write below data, its maildrops and the
	// folders of its socket files only (Linux, by Landlock). A folder that a
	// reload adds elsewhere can be written to after the next start.
	Sandbox bool `hcl:"sandbox,optional" default:"true"`

	DNS         *DNSConfig           `hcl:"dns,block"`
	Certificate []CertificateConfig  `hcl:"certificate,block" was:"tls"`
	Log         *LogConfig           `hcl:"log,block"`
	History     *HistoryConfig       `hcl:"history,block"`
	Queue       *QueueConfig         `hcl:"queue,block"`
	Metrics     *stats.Config        `hcl:"metrics,block"`
	SMTP        []*relay.Config      `hcl:"smtp,block"`
	LMTP        []*relay.Config      `hcl:"lmtp,block"`
	Chain       []*relay.ChainConfig `hcl:"chain,block"`
	POP3        []*pop3.Config       `hcl:"pop3,block"`
	IMAP        []*imap.Config       `hcl:"imap,block"`
	Web         []*web.Config        `hcl:"web,block"`
	Maildrop    []*maildrop.Config   `hcl:"maildrop,block"`
	Upstream    []*forward.Config    `hcl:"upstream,block"`
}

// DNSConfig is the block dns { ... }: for tests and split horizons. Without it
// the system's resolvers are asked.
type DNSConfig struct {
	// Server is the recursive server to ask.
	Server netip.AddrPort `hcl:"server" example:"127.0.0.1:53"`
	// Validates says that the server validates DNSSEC and that nobody can change
	// its answers on their way here. It is assumed of a server on this machine.
	Validates bool `hcl:"validates,optional" was:"trusted"`
}

// CertificateConfig is the block certificate "NAME" { ... }: a certificate for
// TLS. Clients that send a server name (SNI) get the one that fits it. Without
// any block, a self-signed certificate is made at the first start.
type CertificateConfig struct {
	conf.Pos
	Name string `hcl:"name,label,optional"`
	listen.CertConfig
}

// LogConfig is the block log { ... }. Lines come to stderr at most 10 ms late,
// warnings and errors at once.
type LogConfig struct {
	// Level is the least that is written: every transaction is one line at info.
	Level string `hcl:"level,optional" enum:"debug|info|warn|error" default:"info"`
	// Format is "json", "text" for people, or "auto": text on a terminal.
	Format string `hcl:"format,optional" enum:"auto|json|text" default:"auto"`
}

// HistoryConfig is the block history { ... }: what became of each message.
type HistoryConfig struct {
	// Keep is how long finished transactions and refusals can be looked up.
	Keep time.Duration `hcl:"keep,optional" default:"30d"`
	// Max is the most disk space for it; the oldest day goes first.
	Max conf.Bytes `hcl:"max,optional" default:"1GiB"`
}

// places are where relay.hcl is looked for without -c.
var places = []string{"relay.hcl", "/etc/hoplite/relay.hcl"}

// embedded is the name of the configuration inside the program.
const embedded = "built-in relay.hcl"

// readConfig reads the file that -c names, the first of the usual places, or
// the built-in one. Mistakes are in the file's diagnostics; an error means that
// nothing could be read.
func readConfig(path string) (*Config, *conf.File, error) {
	file, err := openConfig(path)
	if err != nil {
		return nil, nil, err
	}
	cfg := &Config{}
	file.Decode(cfg)
	base := "."
	if file.Name != embedded {
		base = filepath.Dir(file.Name)
	}
	if !filepath.IsAbs(cfg.Data) {
		cfg.Data = filepath.Join(base, cfg.Data)
	}
	if cfg.Hostname == "" {
		cfg.Hostname = "localhost"
		if name, err := os.Hostname(); err == nil {
			cfg.Hostname = name
		}
	}
	cfg.normalizeNames()
	if cfg.Log == nil {
		cfg.Log = &LogConfig{}
		conf.Defaults(cfg.Log)
	}
	if cfg.History == nil {
		cfg.History = &HistoryConfig{}
		conf.Defaults(cfg.History)
	}
	return cfg, file, nil
}

func openConfig(path string) (*conf.File, error) {
	if path != "" {
		return conf.Load(path)
	}
	for _, p := range places {
		file, err := conf.Load(p)
		if !errors.Is(err, os.ErrNotExist) {
			return file, err
		}
	}
	return conf.Parse(embedded, []byte(hoplite.Config)), nil
}

// configReader reads the configuration that a command line names.
type configReader func() (*Config, *conf.File, error)

// configFlag adds -c to a command and reads what it names. Mistakes end the
// command.
func configFlag(cmd *cobra.Command) configReader {
	path := cmd.Flags().StringP("config", "c", "", "configuration file (default ./relay.hcl, /etc/hoplite/relay.hcl, or the built-in one)")
	return func() (*Config, *conf.File, error) {
		cfg, file, err := readConfig(*path)
		if err != nil {
			return nil, nil, fmt.Errorf("read configuration: %w", err)
		}
		return cfg, file, nil
	}
}

// under makes a path relative to the data folder absolute to it.
func (c *Config) under(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(c.Data, path)
}

// normalizeNames brings the names of this server into the form in which domains
// are compared. What is no domain name stays, for rules to report.
func (c *Config) normalizeNames() {
	if d, err := mail.ParseDomain(c.Hostname); err == nil {
		c.Hostname = d
	}
	for _, l := range c.mailDoors() {
		if d, err := mail.ParseDomain(l.Hostname); err == nil {
			l.Hostname = d
		}
	}
}

// names are the names of this server, for which the pattern "local" stands: the
// hostname, localhost, and what listeners call themselves.
func (c *Config) names() []string {
	names := []string{c.Hostname}
	add := func(name string) {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	add("localhost")
	for _, l := range c.mailDoors() {
		add(l.Hostname)
	}
	return names
}
