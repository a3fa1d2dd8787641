package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"hoplite"
	"hoplite/internal/conf"
	"hoplite/internal/files"
	"hoplite/mail"
)

// BuiltIn is the file name of the built-in configuration.
const BuiltIn = "built-in relay.hcl"

// systemFile is the path at which packages install the configuration.
// systemData is the default data folder for files below systemFolder. Tests
// change them.
var (
	systemFile   = "/etc/hoplite/relay.hcl"
	systemFolder = "/etc"
	systemData   = "/var/lib/hoplite"
)

// localFile is the configuration file in the current folder.
const localFile = "relay.hcl"

// ErrNotFound is returned by ReadOwn if there is no configuration file.
var ErrNotFound = errors.New("no configuration: neither -c nor $HOPLITE_CONFIG is given, and there is no " +
	"/etc/hoplite/relay.hcl, ./relay.hcl, or ./var of a server that runs the built-in configuration")

// Read reads the file at path. If path is empty, it reads the file named by
// $HOPLITE_CONFIG, or the first existing one of /etc/hoplite/relay.hcl and
// ./relay.hcl, or the built-in one. Mistakes are added to the file's
// diagnostics; an error means that the file could not be read at all.
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

// ReadOwn is like Read, but for commands that work on the data folder of a
// server. A mistake in the file is an error, because its data folder might not
// be the intended one. The built-in configuration is used only if a server has
// run with it in the current folder.
func ReadOwn(path string) (*Config, *conf.File, error) {
	cfg, file, err := Read(path)
	if err != nil {
		return nil, nil, err
	}
	if err := file.Diags.Err(); err != nil {
		return nil, nil, err
	}
	if file.Name == BuiltIn {
		if _, err := os.Stat(cfg.builtInMark()); err != nil {
			return nil, nil, ErrNotFound
		}
	}
	return cfg, file, nil
}

// builtInMark returns the path of the file that marks a data folder created by
// a server with the built-in configuration.
func (c *Config) builtInMark() string { return c.Under("state/built-in") }

// MarkBuiltIn records that a server with the built-in configuration uses the
// data folder, so that commands in the same folder find it.
func (c *Config) MarkBuiltIn() error {
	return files.Write(c.builtInMark(), []byte("This data folder belongs to hoplite's built-in configuration.\n"), 0o640)
}

func open(path string) (*conf.File, error) {
	if path == "" {
		path = os.Getenv("HOPLITE_CONFIG")
	}
	if path != "" {
		return conf.Load(path)
	}
	file, err := conf.Load(systemFile)
	if !errors.Is(err, os.ErrNotExist) {
		return file, err
	}
	if err := ofAnother(localFile); err != nil {
		return nil, err
	}
	file, err = conf.Load(localFile)
	if !errors.Is(err, os.ErrNotExist) {
		return file, err
	}
	return conf.Parse(BuiltIn, []byte(hoplite.Config)), nil
}

// ofAnother returns an error if the program runs as root and the file at path,
// which was not named explicitly, belongs to another user. That user could
// otherwise make root use any folder.
func ofAnother(path string) error {
	st, err := os.Stat(path)
	if err != nil || os.Geteuid() != 0 {
		return nil
	}
	if owner, ok := st.Sys().(*syscall.Stat_t); ok && owner.Uid != 0 {
		return fmt.Errorf("./%s belongs to another user (uid %d); to use it as root, name it: -c %[1]s", path, owner.Uid)
	}
	return nil
}

// complete sets values that depend on the environment of the file called name:
// the base of the data folder, the host name, and blocks that always exist.
func (c *Config) complete(name string) {
	base := "."
	if name != BuiltIn {
		base = filepath.Dir(name)
	}
	if c.Data == "" {
		c.Data = "var"
		if full, err := filepath.Abs(name); err == nil && name != BuiltIn && strings.HasPrefix(full, systemFolder+"/") {
			c.Data = systemData
		}
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
	for _, u := range c.Upstream {
		u.ApplyPreset()
	}
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

// normalizeNames converts the names of this server to the normal form of
// domains. Invalid names are left unchanged; package check reports them.
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
