package service

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"hoplite/cmd/hoplite/internal/command"
	"hoplite/cmd/hoplite/internal/state"
	"hoplite/internal/conf"
	"hoplite/internal/control"
)

// Reload returns the command hoplite reload.
func Reload() *cobra.Command {
	cmd := &cobra.Command{
		Use: "reload", Short: "Reload the configuration of the running server", Args: cobra.NoArgs,
		Long: `Have the running server read its configuration again, and wait for the outcome.
It prints what has changed and what takes effect only after a restart. If the
configuration has mistakes, they are printed and the running one is kept. Open
sessions continue under the configuration that they began with.`,
	}
	open := command.SiteFlag(cmd.Flags())
	json := command.JSONFlag(cmd.Flags())
	command.Exits(cmd, "the server runs with the new configuration", "the configuration has mistakes, or no server is running")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		site, err := open(cmd, false)
		if errors.Is(err, conf.ErrMistakes) {
			return command.Refused(fmt.Errorf("%w\n\nNot reloaded: a running server keeps its configuration", err))
		}
		if err != nil {
			return err
		}
		defer site.Close()
		var outcome state.Reload
		err = control.NewClient(site.Data).Do(cmd.Context(), http.MethodPost, "/reload", nil, &outcome)
		if errors.Is(err, control.ErrNotRunning) {
			return command.Refused(fmt.Errorf("%w: %s", err, site.Data))
		}
		if err != nil {
			return err
		}
		if json.On() {
			outcome.Shown = nil
			err = json.One(cmd.OutOrStdout(), outcome)
		} else {
			outcome.Print(cmd.OutOrStdout())
		}
		if err == nil && outcome.Error != "" {
			return command.Findings
		}
		return err
	}
	return cmd
}

// Status returns the command hoplite status.
func Status() *cobra.Command {
	cmd := &cobra.Command{
		Use: "status", Short: "Show the state of the running server", Args: cobra.NoArgs,
		Long: `Show what the running server listens on, what is queued for which upstream,
which upstreams can be reached, how long certificates are valid, which logins
are blocked, and the free disk space. What needs attention is listed at the end.`,
	}
	open := command.SiteFlag(cmd.Flags())
	json := command.JSONFlag(cmd.Flags())
	command.Exits(cmd, "the server runs and nothing needs attention", "something needs attention, or no server is running")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		site, err := open(cmd, false)
		if err != nil {
			return err
		}
		defer site.Close()
		var now state.Status
		err = control.NewClient(site.Data).Do(cmd.Context(), http.MethodGet, "/status", nil, &now)
		if errors.Is(err, control.ErrNotRunning) {
			return command.Refused(fmt.Errorf("%w: %s", err, site.Data))
		}
		if err != nil {
			return err
		}
		if json.On() {
			if now.Reload != nil {
				now.Reload.Shown = nil
			}
			err = json.One(cmd.OutOrStdout(), now)
		} else {
			now.Print(cmd.OutOrStdout(), time.Now())
		}
		if err == nil && len(now.Problems) > 0 {
			return command.Findings
		}
		return err
	}
	return cmd
}
