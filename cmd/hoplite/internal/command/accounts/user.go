// Package accounts holds the commands hoplite user and hoplite alias, which
// manage accounts and aliases.
//
// Accounts and aliases are text files in the data folder, which a running
// server reads again after a change. The commands change them under a lock and
// then notify the server, so that a change has taken effect when a command
// returns.
package accounts

import (
	"context"
	"fmt"
	"net/http"
	"os"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"hoplite/cmd/hoplite/internal/command"
	"hoplite/internal/control"
	"hoplite/internal/users"
)

// User returns the command hoplite user.
func User() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "user",
		Short: "Add, change and remove accounts and passwords",
		Long: `Accounts are full addresses with passwords, a role and settings; "ann" alone
means ann@localhost. Changes take effect at once, in a running server too.`,
	}
	cmd.AddCommand(userAdd(), userSet(), userPasswd(), userRemove(), userList(), userShow(), userImport(),
		appPassword(), userBlocks(), userUnblock())
	return cmd
}

// accounts holds the accounts of a data folder.
type accounts struct {
	*users.Store
	data  string
	close func()
	// elsewhere holds the domains whose passwords another server checks.
	elsewhere []string
}

// storeFlag adds -c to a command and returns a function that opens the accounts.
func storeFlag(cmd *cobra.Command) func(cmd *cobra.Command, changes bool) (*accounts, error) {
	open := command.SiteFlag(cmd.Flags())
	return func(cmd *cobra.Command, changes bool) (*accounts, error) {
		cfg, err := open(cmd, changes)
		if err != nil {
			return nil, err
		}
		if changes {
			err = os.MkdirAll(cfg.Data, 0o750)
		}
		if err != nil {
			cfg.Close()
			return nil, fmt.Errorf("data folder: %w", err)
		}
		store, err := users.Open(cfg.Under("users"), cfg.Names(), zerolog.Nop())
		if err != nil {
			cfg.Close()
			return nil, err
		}
		found := &accounts{Store: store, data: cfg.Data, close: cfg.Close}
		for _, a := range cfg.Accounts {
			found.elsewhere = append(found.elsewhere, a.Name)
		}
		return found, nil
	}
}

// openAccount opens the accounts to change the one with an address.
func openAccount(cmd *cobra.Command, open func(*cobra.Command, bool) (*accounts, error), address string) (*accounts, *users.Account, error) {
	store, err := open(cmd, true)
	if err != nil {
		return nil, nil, err
	}
	found, err := store.find(address)
	if err != nil {
		store.close()
		return nil, nil, err
	}
	return store, found, nil
}

// update changes the accounts and makes a running server reload them.
func (a *accounts) update(ctx context.Context, change func(*users.Book) error) error {
	if err := a.Update(change); err != nil {
		return command.Refused(err)
	}
	refresh(ctx, a.data)
	return nil
}

// refresh makes the server of a data folder, if one is running, reload accounts
// and aliases. If the request fails, the server still reloads them within a
// second.
func refresh(ctx context.Context, data string) {
	control.NewClient(data).Do(ctx, http.MethodPost, "/accounts/refresh", nil, nil)
}
