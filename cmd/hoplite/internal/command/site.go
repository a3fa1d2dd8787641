package command

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"hoplite/cmd/hoplite/internal/config"
	"hoplite/cmd/hoplite/internal/owner"
	"hoplite/internal/conf"
)

// ConfigReader reads the configuration named on the command line.
type ConfigReader func() (*config.Config, *conf.File, error)

const configHelp = "configuration file (default $HOPLITE_CONFIG, /etc/hoplite/relay.hcl, or ./relay.hcl)"

// ConfigFlag adds -c to a command and returns a function that reads the
// configuration, by default the built-in one. Mistakes are added to the file's
// diagnostics.
func ConfigFlag(cmd *cobra.Command) ConfigReader {
	path := cmd.Flags().StringP("config", "c", "", configHelp)
	return func() (*config.Config, *conf.File, error) { return read(config.Read, *path) }
}

// Site is the configuration and the data folder that a command works on. Until
// Close, a process started by root runs as the folder's owner.
type Site struct {
	*config.Config
	Close func()
}

// SiteOpener opens the site of a command. If the command changes something, it
// prints the name of the configuration to stderr.
type SiteOpener func(cmd *cobra.Command, changes bool) (*Site, error)

// SiteFlag is like ConfigFlag, but for commands that work on the data folder.
// Mistakes in the file are errors.
func SiteFlag(flags *pflag.FlagSet) SiteOpener {
	path := flags.StringP("config", "c", "", configHelp)
	return func(cmd *cobra.Command, changes bool) (*Site, error) {
		cfg, file, err := read(config.ReadOwn, *path)
		if err != nil {
			return nil, err
		}
		if changes {
			fmt.Fprintf(cmd.ErrOrStderr(), "configuration: %s\n", file.Name)
		}
		restore, err := owner.Become(cfg.Data)
		if err != nil {
			return nil, err
		}
		return &Site{cfg, restore}, nil
	}
}

func read(from func(string) (*config.Config, *conf.File, error), path string) (*config.Config, *conf.File, error) {
	cfg, file, err := from(path)
	if missing := (*fs.PathError)(nil); errors.As(err, &missing) && errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("%s: %w; name the configuration file with -c or $HOPLITE_CONFIG", missing.Path, fs.ErrNotExist)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read configuration: %w", err)
	}
	return cfg, file, nil
}
