package accounts

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"hoplite/cmd/hoplite/internal/command"
	"hoplite/cmd/hoplite/internal/terminal"
	"hoplite/internal/conf"
	"hoplite/internal/users"
	"hoplite/mail"
)

// settings holds the flags for the settings of an account.
type settings struct {
	admin   bool
	forward []string
	quota   string
}

func (s *settings) flags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&s.admin, "admin", false, "may see the history of all mail, and the queue")
	cmd.Flags().StringSliceVar(&s.forward, "forward", nil, "addresses to forward its mail to; include its own address to keep a copy; \"\" ends forwarding")
	cmd.Flags().StringVar(&s.quota, "quota", "", "size limit of its mailbox, for example 5GiB; 0 for none")
}

// apply applies the settings given on the command line.
func (s *settings) apply(cmd *cobra.Command, a *users.Account) error {
	if cmd.Flags().Changed("admin") {
		a.Roles = nil
		if s.admin {
			a.Roles = []string{users.Admin}
		}
	}
	if cmd.Flags().Changed("forward") {
		a.Forward = nil
		for _, f := range s.forward {
			if f == "" {
				continue
			}
			if err := users.CheckForward(f); err != nil {
				return err
			}
			a.Forward = append(a.Forward, f)
		}
	}
	if s.quota != "" && s.quota != "0" {
		q, err := conf.ParseBytes(s.quota)
		if err != nil {
			return fmt.Errorf("quota: %w", err)
		}
		a.Quota = int64(q)
	} else if s.quota == "0" {
		a.Quota = 0
	}
	return nil
}

// accountName returns the full address for an argument.
func accountName(arg string) string {
	name := mail.Fold(arg)
	if !strings.Contains(name, "@") {
		name += "@localhost"
	}
	return name
}

// find returns the account named by an argument.
func (a *accounts) find(name string) (*users.Account, error) {
	found, ok := a.Account(name)
	if !ok {
		return nil, command.Refused(fmt.Errorf("%s: %w", name, users.ErrNoAccount))
	}
	return found, nil
}

// change changes one account.
func (a *accounts) change(ctx context.Context, name string, f func(*users.Book, *users.Account) error) error {
	return a.update(ctx, func(b *users.Book) error {
		account, ok := b.Account(name)
		if !ok {
			return fmt.Errorf("%s: %w", name, users.ErrNoAccount)
		}
		return f(b, account)
	})
}

func userAdd() *cobra.Command {
	var s settings
	cmd := &cobra.Command{
		Use: "add ADDRESS", Short: "Add an account; asks for its password", Args: cobra.ExactArgs(1),
		Example: "  hoplite user add ann@example.org --quota 5GiB\n  echo secret | hoplite user add ann",
	}
	open := storeFlag(cmd)
	s.flags(cmd)
	command.Exits(cmd, "the account was added", "the account exists, or its name or a setting is not valid")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		store, err := open(cmd, true)
		if err != nil {
			return err
		}
		defer store.close()
		a := &users.Account{Name: accountName(args[0])}
		if err := errors.Join(users.CheckName(a.Name), s.apply(cmd, a)); err != nil {
			return command.Refused(err)
		}
		if _, ok := store.Account(a.Name); ok {
			return command.Refused(fmt.Errorf("account %s already exists", a.Name))
		}
		password, err := readPassword(cmd, a.Name)
		if err != nil {
			return err
		}
		err = store.update(cmd.Context(), func(b *users.Book) error { return errors.Join(a.SetPassword("", password), b.Add(a)) })
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "added %s\n", a.Name)
		return nil
	}
	return cmd
}

func userSet() *cobra.Command {
	var s settings
	cmd := &cobra.Command{
		Use: "set ADDRESS", Short: "Change an account's settings", Args: cobra.ExactArgs(1),
		Example: "  hoplite user set ann@example.org --forward bob@example.com,ann@example.org",
	}
	s.flags(cmd)
	command.Exits(cmd, "the account was changed", "there is no such account, or a setting is not valid")
	return onAccount(cmd, func(_ *users.Book, a *users.Account) error { return s.apply(cmd, a) }, "changed")
}

func userPasswd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "passwd ADDRESS", Short: "Set an account's password", Args: cobra.ExactArgs(1),
		Long: `Set the main password of an account. For a program or device with a password of
its own, see hoplite user app-password.`,
		Example: "  hoplite user passwd ann@example.org",
	}
	open := storeFlag(cmd)
	command.Exits(cmd, "the password was set", "there is no such account")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		store, found, err := openAccount(cmd, open, args[0])
		if err != nil {
			return err
		}
		defer store.close()
		password, err := readPassword(cmd, found.Name) // before locking, because a person types slowly
		if err != nil {
			return err
		}
		err = store.change(cmd.Context(), found.Name, func(_ *users.Book, a *users.Account) error { return a.SetPassword("", password) })
		if err == nil {
			fmt.Fprintf(cmd.OutOrStdout(), "password set for %s\n", found.Name)
		}
		return err
	}
	return cmd
}

func userRemove() *cobra.Command {
	cmd := &cobra.Command{Use: "remove ADDRESS", Short: "Remove an account; its mail stays", Args: cobra.ExactArgs(1)}
	command.Exits(cmd, "the account was removed", "there is no such account")
	return onAccount(cmd, func(b *users.Book, a *users.Account) error { return b.Remove(a.Name) }, "removed")
}

// onAccount returns a command that changes one account.
func onAccount(cmd *cobra.Command, change func(*users.Book, *users.Account) error, done string) *cobra.Command {
	open := storeFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		store, found, err := openAccount(cmd, open, args[0])
		if err != nil {
			return err
		}
		defer store.close()
		if err := store.change(cmd.Context(), found.Name, change); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", done, found.Name)
		return nil
	}
	return cmd
}

func userImport() *cobra.Command {
	var domain string
	cmd := &cobra.Command{
		Use: "import FILE", Short: "Import the accounts of a Dovecot passwd-file", Args: cobra.ExactArgs(1),
		Long: `Import the accounts of a Dovecot passwd-file ("-" reads stdin) with their
hashed passwords, which keep working: bcrypt, crypt(3), argon2id, SCRAM-SHA-256
and plain text. Existing accounts are not changed.`,
	}
	open := storeFlag(cmd)
	cmd.Flags().StringVar(&domain, "domain", "localhost", "domain for names without one")
	command.Exits(cmd, "all accounts were added", "some were not: they exist, or their line is not valid")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		in := cmd.InOrStdin()
		if args[0] != "-" {
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			in = f
		}
		store, err := open(cmd, true)
		if err != nil {
			return err
		}
		defer store.close()
		var added int
		var left error
		err = store.update(cmd.Context(), func(b *users.Book) error {
			added, left = b.ImportDovecot(in, args[0], domain)
			return nil
		})
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "added %s\n", terminal.Count(added, "account"))
		if left != nil {
			return command.Refused(fmt.Errorf("not added:\n%w", left))
		}
		return nil
	}
	return cmd
}
