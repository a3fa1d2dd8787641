package config

import (
	"errors"
	"os"
	"path/filepath"

	"hoplite"
	"hoplite/internal/conf"
	"hoplite/mail"
)

// searched are the places where relay.hcl is looked for without -c.
var searched = []string{"relay.hcl", "/etc/hoplite/relay.hcl"}

// BuiltIn is the file name of the configuration inside the program.
const BuiltIn = "built-in relay.hcl"

// Read reads the file at path or, if path is empty, the first that exists of
// the usual places, else the built-in one. Mistakes are in the file's
// diagnostics; the error is for a file that cannot be read at all.
func Read(path string) (*Config, *conf.File, error) {
	file, err := open(path)
	if err != nil {
		return nil, nil, err
	}
	cfg := &Config{}
	file.Decode(cfg)
	cfg.complete(file.Name)
	return cfg, file, nil
}

func open(path string) (*conf.File, error) {
	if path != "" {
		return conf.Load(path)
	}
	for _, p := range searched {
		file, err := conf.Load(p)
		if !errors.Is(err, os.ErrNotExist) {
			return file, err
		}
	}
	return conf.Parse(BuiltIn, []byte(hoplite.Config)), nil
}

// complete sets what the file called name leaves to its surroundings: the base
// of the data folder, the host name, the blocks that always exist.
func (c *Config) complete(name string) {
	base := "."
	if name != BuiltIn {
		base = filepath.Dir(name)
	}
	if !filepath.IsAbs(c.Data) {
		c.Data = filepath.Join(base, c.Data)
	}
	if c.Hostname == "" {
		c.Hostname = "localhost"
		if name, err := os.Hostname(); err == nil {
			c.Hostname = name
		}
	}
	c.normalizeNames()
	if c.Log == nil {
		c.Log = &LogConfig{}
		conf.Defaults(c.Log)
	}
	if c.History == nil {
		c.History = &HistoryConfig{}
		conf.Defaults(c.History)
	}
	if c.Queue == nil {
		c.Queue = &QueueConfig{}
		conf.Defaults(c.Queue)
	}
}

// normalizeNames brings the names of this server into the form in which domains
// are compared. Invalid names are unchanged; package check reports them.
func (c *Config) normalizeNames() {
	if d, err := mail.ParseDomain(c.Hostname); err == nil {
		c.Hostname = d
	}
	for _, l := range c.MailListeners() {
		if d, err := mail.ParseDomain(l.Hostname); err == nil {
			l.Hostname = d
		}
	}
}
