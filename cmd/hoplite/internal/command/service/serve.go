// Package service holds the commands for the server itself: serve, check,
// explain, reload and status.
//
// It handles only flags, output and exit codes; the work is done in the
// packages server, check, dryrun and state.
package service

import (
	"github.com/spf13/cobra"

	"hoplite/cmd/hoplite/internal/check"
	"hoplite/cmd/hoplite/internal/command"
	"hoplite/cmd/hoplite/internal/logging"
	"hoplite/cmd/hoplite/internal/server"
)

// Serve returns the command hoplite serve. version is the version of the
// program.
func Serve(version string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the server",
		Long: `Run the server until SIGTERM or SIGINT; running transactions may finish. SIGHUP
reloads the configuration; if it has errors, the running one is kept.`,
		Args: cobra.NoArgs,
	}
	command.Exits(cmd, "the server was stopped", "the configuration has errors")
	read := command.ConfigFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, file, err := read()
		if err != nil {
			return err
		}
		// Mistakes are reported before the data folder is locked, because a
		// running server's lock would hide them.
		if file.Parsed() {
			check.Examine(cfg, file.Diags)
		}
		if err := file.Diags.Err(); err != nil {
			return command.Refused(err)
		}
		log, flush := logging.New(cfg.Log)
		defer flush()
		return server.Run(cmd.Context(), cfg, file.Diags, server.Options{
			Log: log, Out: cmd.OutOrStdout(), Read: read, Version: version, File: file.Name,
		})
	}
	return cmd
}
