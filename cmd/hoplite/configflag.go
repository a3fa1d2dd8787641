package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"hoplite/cmd/hoplite/internal/config"
	"hoplite/internal/conf"
)

// configReader reads the configuration that a command line names.
type configReader func() (*config.Config, *conf.File, error)

// configFlag adds -c to a command and returns a function that reads the
// configuration. Its mistakes are in the file's diagnostics.
func configFlag(cmd *cobra.Command) configReader {
	path := cmd.Flags().StringP("config", "c", "", "configuration file (default ./relay.hcl, /etc/hoplite/relay.hcl, or the built-in one)")
	return func() (*config.Config, *conf.File, error) {
		cfg, file, err := config.Read(*path)
		if err != nil {
			return nil, nil, fmt.Errorf("read configuration: %w", err)
		}
		return cfg, file, nil
	}
}
