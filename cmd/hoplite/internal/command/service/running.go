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
configuration has errors, they are printed and the running one is kept. Open
sessions continue under the configuration that they began with.`,
	}
	open := command.SiteFlag(cmd.Flags())
	json := command.JSONFlag(cmd.Flags())
	command.Exits(cmd, "the server runs with the new configuration", "the configuration has errors, or no server is running")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		outcome, err := reload(cmd, open)
		if json.On() {
			if err != nil {
				outcome = state.Reload{At: time.Now(), Error: conf.Plain(err), Changed: []string{}}
			}
			outcome.Shown = nil
			if err := json.One(cmd.OutOrStdout(), outcome); err != nil {
				return err
			}
			if err != nil {
				return command.Silent(err)
			}
		} else if err != nil {
			return err
		} else {
			outcome.Print(cmd.OutOrStdout())
		}
		if outcome.Error != "" {
			return command.Findings
		}
		return nil
	}
	return cmd
}

// reload has the running server reload its configuration. The error is the
// reason why the server was not asked.
func reload(cmd *cobra.Command, open command.SiteOpener) (outcome state.Reload, err error) {
	site, err := open(cmd, false)
	if errors.Is(err, conf.ErrMistakes) {
		return outcome, command.Refused(fmt.Errorf("%w\n\nNot reloaded: a running server keeps its configuration", err))
	}
	if err != nil {
		return outcome, err
	}
	defer site.Close()
	err = control.NewClient(site.Data).Do(cmd.Context(), http.MethodPost, "/reload", nil, &outcome)
	if errors.Is(err, control.ErrNotRunning) {
		err = command.Refused(fmt.Errorf("%w: %s. If data was changed in the configuration, restart the server: a reload can't move its data folder", err, site.Data))
	}
	return outcome, err
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
