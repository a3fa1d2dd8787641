package accounts

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"hoplite/cmd/hoplite/internal/command"
	"hoplite/cmd/hoplite/internal/state"
	"hoplite/internal/control"
	"hoplite/internal/users"
	"hoplite/mail/safe"
)

func userBlocks() *cobra.Command {
	cmd := &cobra.Command{
		Use: "blocks", Short: "List networks and accounts whose logins are delayed or refused", Args: cobra.NoArgs,
		Long: `List the networks and accounts with so many failed logins that further ones are
delayed or refused. The running server keeps them in memory; each ends by itself
after two minutes at most. Clients from which an account has logged in before
are not affected.`,
	}
	open := command.SiteFlag(cmd.Flags())
	json := command.JSONFlag(cmd.Flags())
	command.Exits(cmd, "the list was printed; without a server it is empty", "the server did not answer")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		site, err := open(cmd, false)
		if err != nil {
			return err
		}
		defer site.Close()
		list, err := blocks(cmd.Context(), site.Data)
		if err != nil {
			return err
		}
		if json.On() {
			return command.List(cmd.OutOrStdout(), json, list)
		}
		state.PrintBlocks(cmd.OutOrStdout(), "", list, time.Now())
		if len(list) == 0 {
			fmt.Fprintln(cmd.OutOrStdout(), "nothing is blocked")
		}
		return nil
	}
	return cmd
}

// blocks returns the login blocks of the server that uses a data folder, or
// none if no server is running.
func blocks(ctx context.Context, data string) (list []users.Block, err error) {
	err = control.NewClient(data).Do(ctx, http.MethodGet, "/accounts/blocks", nil, &list)
	if errors.Is(err, control.ErrNotRunning) {
		return nil, nil
	}
	return list, err
}

func userUnblock() *cobra.Command {
	cmd := &cobra.Command{
		Use: "unblock [ACCOUNT|ADDRESS|NETWORK...]", Short: "Forget failed logins of accounts or networks",
		Long: `Forget the failed logins for accounts, or from IP addresses or networks, so that
the next login is checked at once. hoplite user blocks lists them.`,
		Example: "  hoplite user unblock ann@example.org\n  hoplite user unblock 192.0.2.7 2001:db8::/64",
	}
	open := command.SiteFlag(cmd.Flags())
	all := cmd.Flags().Bool("all", false, "forget every failed login")
	command.Exits(cmd, "the blocks were removed", "some were not blocked, or no server is running")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 && !*all {
			return errors.New("nothing to unblock: give accounts, addresses or networks, or --all")
		}
		site, err := open(cmd, true)
		if err != nil {
			return err
		}
		defer site.Close()
		var done state.Unblocked
		err = control.NewClient(site.Data).Do(cmd.Context(), http.MethodPost, "/accounts/unblock", state.Unblock{Names: args, All: *all}, &done)
		if errors.Is(err, control.ErrNotRunning) {
			return command.Refused(errors.New("no server is running, so nothing is blocked"))
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "unblocked: %d\n", done.Removed)
		for _, name := range done.Missing {
			fmt.Fprintf(cmd.ErrOrStderr(), "not blocked: %s\n", safe.Line(name))
		}
		if len(done.Missing) > 0 {
			return command.Findings
		}
		return nil
	}
	return cmd
}
