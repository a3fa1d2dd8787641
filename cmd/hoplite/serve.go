package main

import (
	"github.com/spf13/cobra"

	"hoplite/cmd/hoplite/internal/check"
	"hoplite/cmd/hoplite/internal/config"
	"hoplite/cmd/hoplite/internal/logging"
	"hoplite/cmd/hoplite/internal/server"
)

func serveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the server",
		Long: `Run the server until SIGTERM or SIGINT; running transactions may finish. SIGHUP
reloads the configuration; if it has mistakes, the running one is kept.`,
		Args: cobra.NoArgs,
	}
	read := configFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, file, err := read()
		if err != nil {
			return err
		}
		// Mistakes are reported before the data folder is locked: beside a running
		// server the lock would hide them.
		if file.Parsed() {
			check.Examine(cfg, file.Diags)
		}
		if err := file.Diags.Err(); err != nil {
			return refused(err)
		}
		log, flush := logging.New(cfg.Log)
		defer flush()
		return server.Run(cmd.Context(), cfg, file.Diags, server.Options{
			Log: log, Out: cmd.OutOrStdout(), Read: read, Version: version, BuiltIn: file.Name == config.BuiltIn,
		})
	}
	return cmd
}
