package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"hoplite/cmd/hoplite/internal/config"
	"hoplite/cmd/hoplite/internal/owner"
	"hoplite/internal/conf"
)

// configReader reads the configuration that a command line names.
type configReader func() (*config.Config, *conf.File, error)

const configHelp = "configuration file (default $HOPLITE_CONFIG,\n/etc/hoplite/relay.hcl, or ./relay.hcl)"

// configFlag adds -c to a command and returns a function that reads the
// configuration, by default the built-in one. Its mistakes are in the file's
// diagnostics.
func configFlag(cmd *cobra.Command) configReader {
	path := cmd.Flags().StringP("config", "c", "", configHelp)
	return func() (*config.Config, *conf.File, error) { return read(config.Read, *path) }
}

// site is the configuration and the data folder that a command works on. Until
// close, root is the folder's owner.
type site struct {
	*config.Config
	close func()
}

// siteFlag is configFlag for commands that work on the data folder: mistakes in
// the file are errors. The function names the file on stderr for a command that
// changes something.
func siteFlag(flags *pflag.FlagSet) func(cmd *cobra.Command, changes bool) (*site, error) {
	path := flags.StringP("config", "c", "", configHelp)
	return func(cmd *cobra.Command, changes bool) (*site, error) {
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
		return &site{cfg, restore}, nil
	}
}

func read(from func(string) (*config.Config, *conf.File, error), path string) (*config.Config, *conf.File, error) {
	cfg, file, err := from(path)
	if err != nil {
		return nil, nil, fmt.Errorf("read configuration: %w", err)
	}
	return cfg, file, nil
}
