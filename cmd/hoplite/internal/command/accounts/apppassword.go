package accounts

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"hoplite/cmd/hoplite/internal/command"
	"hoplite/internal/users"
)

// appPassword returns the command hoplite user app-password.
func appPassword() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "app-password",
		Short: "Add, list and revoke passwords for single programs or devices",
		Long: `An app password is an additional password of an account for a single program
or device. It can be revoked without changing any other. It does not log in to
the web pages.`,
	}
	cmd.AddCommand(appAdd(), appList(), appRevoke())
	return cmd
}

// appJSON is an app password. The password itself is included only when it is
// created.
type appJSON struct {
	Account  string `json:"account"`
	Name     string `json:"name"`
	Password string `json:"password,omitempty"`
}

func appAdd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "add ADDRESS NAME", Short: "Add an app password, and print it", Args: cobra.ExactArgs(2),
		Long: `Add an app password with a name such as phone or scanner. It is generated and
printed once, or read from stdin with --stdin. An existing password of the same
name is not replaced: revoke it first. In a domain with an accounts block, the
user needs no account.`,
		Example: "  hoplite user app-password add ann@example.org phone",
	}
	open := storeFlag(cmd)
	ask := cmd.Flags().Bool("stdin", false, "read the password from stdin, or ask for it")
	json := command.JSONFlag(cmd.Flags())
	command.Exits(cmd, "the password was added", "there is no such account, or the name is taken")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		store, err := open(cmd, true)
		if err != nil {
			return err
		}
		defer store.close()
		found, err := store.findOrAdd(cmd, args[0])
		if err != nil {
			return err
		}
		added := appJSON{found.Name, args[1], newPassword()}
		if *ask {
			if added.Password, err = readPassword(cmd, found.Name+", "+args[1]); err != nil {
				return err
			}
		}
		err = store.change(cmd.Context(), found.Name, func(_ *users.Book, a *users.Account) error {
			if hasPassword(a, args[1]) {
				return fmt.Errorf("%s already has an app password %q: revoke it first", a.Name, args[1])
			}
			return a.SetPassword(args[1], added.Password)
		})
		if err != nil {
			return err
		}
		if *ask {
			added.Password = ""
		}
		return printAdded(cmd, json, added)
	}
	return cmd
}

// findOrAdd returns the account named by an argument. If another server checks
// the passwords of its domain and it has no account here, one without a password
// is added.
func (a *accounts) findOrAdd(cmd *cobra.Command, name string) (*users.Account, error) {
	full := accountName(name)
	if _, ok := a.Account(name); ok || !slices.Contains(a.elsewhere, full[strings.LastIndexByte(full, '@')+1:]) {
		return a.find(name)
	}
	added := &users.Account{Name: full}
	return added, a.update(cmd.Context(), func(b *users.Book) error { return b.Add(added) })
}

func printAdded(cmd *cobra.Command, json *command.JSON, added appJSON) error {
	out := cmd.OutOrStdout()
	switch {
	case json.On():
		return json.One(out, added)
	case added.Password == "":
		fmt.Fprintf(out, "added app password %s for %s\n", added.Name, added.Account)
	default:
		fmt.Fprintf(cmd.ErrOrStderr(), "App password %s for %s, shown only now:\n", added.Name, added.Account)
		fmt.Fprintln(out, added.Password)
	}
	return nil
}

func hasPassword(a *users.Account, app string) bool {
	for _, c := range a.Credentials {
		if c.Name == app {
			return true
		}
	}
	return false
}

func appList() *cobra.Command {
	cmd := &cobra.Command{Use: "list [ADDRESS]", Short: "List the names of app passwords", Args: cobra.MaximumNArgs(1)}
	open := storeFlag(cmd)
	json := command.JSONFlag(cmd.Flags())
	command.Exits(cmd, "the list was printed", "there is no such account")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		store, err := open(cmd, false)
		if err != nil {
			return err
		}
		defer store.close()
		all := store.Accounts()
		if len(args) > 0 {
			a, err := store.find(args[0])
			if err != nil {
				return err
			}
			all = []*users.Account{a}
		}
		var list []appJSON
		for _, a := range all {
			for _, c := range a.Credentials {
				if c.Name != "" {
					list = append(list, appJSON{Account: a.Name, Name: c.Name})
				}
			}
		}
		if json.On() {
			return command.List(cmd.OutOrStdout(), json, list)
		}
		for _, p := range list {
			fmt.Fprintf(cmd.OutOrStdout(), "%s  %s\n", p.Account, p.Name)
		}
		return nil
	}
	return cmd
}

func appRevoke() *cobra.Command {
	cmd := &cobra.Command{
		Use: "revoke ADDRESS NAME", Short: "Remove an app password", Args: cobra.ExactArgs(2),
		Example: "  hoplite user app-password revoke ann@example.org phone",
	}
	open := storeFlag(cmd)
	command.Exits(cmd, "the password was removed", "there is no such account or app password")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		store, found, err := openAccount(cmd, open, args[0])
		if err != nil {
			return err
		}
		defer store.close()
		err = store.change(cmd.Context(), found.Name, func(_ *users.Book, a *users.Account) error {
			if args[1] == "" || !a.RemovePassword(args[1]) {
				return fmt.Errorf("%s has no app password %q", a.Name, args[1])
			}
			return nil
		})
		if err == nil {
			fmt.Fprintf(cmd.OutOrStdout(), "revoked app password %s of %s\n", args[1], found.Name)
		}
		return err
	}
	return cmd
}
