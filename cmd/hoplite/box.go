package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"hoplite/cmd/hoplite/internal/config"
	"hoplite/internal/control"
	"hoplite/internal/users"
	"hoplite/mail"
	"hoplite/maildrop"
)

// boxCommand manages mailboxes.
func boxCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "box",
		Short: "List, check, import and export mailboxes",
		Long: `The mailbox of an account is a Maildir that Dovecot and Courier understand.
These commands can be used while the server runs; it notices their changes.`,
	}
	cmd.AddCommand(boxList(), boxCheck(), boxReindex(), boxImport(), boxExport())
	return cmd
}

// boxes are the mailboxes that the box commands work on.
type boxes struct {
	accounts *users.Store
	store    *maildrop.Store
	running  bool // a server has locked the data folder
	lock     io.Closer
}

// boxFlags adds -c and --maildrop and returns a function that opens the maildrop.
func boxFlags(cmd *cobra.Command) func() (*boxes, error) {
	read := configFlag(cmd)
	name := cmd.Flags().String("maildrop", "", "maildrop block, if there are several")
	return func() (*boxes, error) {
		// Mistakes elsewhere in the file do not matter here; "check" reports them.
		cfg, _, err := read()
		if err != nil {
			return nil, err
		}
		drop, err := pickMaildrop(cfg, *name)
		if err != nil {
			return nil, err
		}
		if err := os.MkdirAll(cfg.Data, 0o750); err != nil {
			return nil, fmt.Errorf("data folder: %w", err)
		}
		b := &boxes{}
		if b.accounts, err = users.Open(cfg.Under("users"), cfg.Names(), zerolog.Nop()); err != nil {
			return nil, err
		}
		// A running server owns the index.
		if b.lock, err = control.Lock(cfg.Data); err != nil {
			b.running = true
		}
		b.store, err = maildrop.Open(*drop, maildrop.Env{
			Data: cfg.Data, Log: zerolog.Nop(), NoIndex: b.running,
			Account: func(a mail.Address) (maildrop.Account, bool) {
				acc, ok := b.accounts.Account(string(a))
				if !ok {
					return maildrop.Account{}, false
				}
				return maildrop.Account{Quota: acc.Quota}, true
			},
		})
		return b, err
	}
}

func pickMaildrop(cfg *config.Config, name string) (*maildrop.Config, error) {
	for _, c := range cfg.Maildrop {
		if name == "" || c.Name == name {
			return c, nil
		}
	}
	if name != "" {
		return nil, fmt.Errorf("there is no maildrop %q", name)
	}
	return nil, errors.New("the configuration has no maildrop block")
}

func (b *boxes) close() {
	b.store.Close()
	if b.lock != nil {
		b.lock.Close()
	}
}

// open opens the mailbox of an existing account.
func (b *boxes) open(name string) (*maildrop.Box, error) {
	a, ok := b.accounts.Account(name)
	if !ok {
		return nil, refused(fmt.Errorf("there is no account %s", name))
	}
	return b.store.Box(mail.Address(a.Name))
}

// chosen returns the accounts in args, or all accounts with a mailbox.
func (b *boxes) chosen(args []string) (names []string) {
	if len(args) > 0 {
		return args
	}
	for _, a := range b.accounts.Accounts() {
		if b.store.Exists(mail.Address(a.Name)) {
			names = append(names, a.Name)
		}
	}
	return names
}

func boxCheck() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check [ADDRESS...]",
		Short: "Find damage; with --fix, repair it",
		Long: `Check examines the files of each mailbox: UID lists, names and sizes, duplicate
messages, links, leftovers of deliveries, quota sums. Nothing is changed without
--fix.`,
	}
	open := boxFlags(cmd)
	fix := cmd.Flags().Bool("fix", false, "repair the damage")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		b, err := open()
		if err != nil {
			return err
		}
		defer b.close()
		wrong, out := 0, cmd.OutOrStdout()
		for _, name := range b.chosen(args) {
			n, err := b.check(cmd.Context(), out, name, *fix)
			if err != nil {
				return err
			}
			wrong += n
		}
		if wrong > 0 {
			return findings
		}
		fmt.Fprintln(out, "no damage found")
		return nil
	}
	return cmd
}

// check prints the damage of a mailbox and returns how much of it remains.
func (b *boxes) check(ctx context.Context, out io.Writer, name string, fix bool) (left int, err error) {
	box, err := b.open(name)
	if err != nil {
		return 0, err
	}
	defer box.Close()
	found, err := box.Check(ctx)
	if err != nil {
		return 0, err
	}
	for i := range found {
		f := &found[i]
		where := string(box.Account())
		if f.Folder != "" {
			where += ", " + f.Folder
		}
		fmt.Fprintf(out, "%s: %s\n", where, f.Text)
		switch {
		case f.Plan == "":
			left++
			fmt.Fprintln(out, "  needs manual repair")
		case !fix:
			left++
			fmt.Fprintf(out, "  --fix would: %s\n", f.Plan)
		default:
			fmt.Fprintf(out, "  %s ... ", f.Plan)
			if err := f.Repair(); err != nil {
				fmt.Fprintln(out)
				return left, err
			}
			fmt.Fprintln(out, "done")
		}
	}
	return left, nil
}

func boxReindex() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reindex [ADDRESS...]",
		Short: "Delete the index and build it again",
		Long: `The index holds sizes, dates and rendered headers, and can be rebuilt at any
time. A running server owns it: stop the server first.`,
	}
	open := boxFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		b, err := open()
		if err != nil {
			return err
		}
		defer b.close()
		if b.running {
			return refused(errors.New("the server is running and uses the index: stop it first"))
		}
		for _, name := range b.chosen(args) {
			box, err := b.open(name)
			if err != nil {
				return err
			}
			n, err := box.Reindex(true)
			box.Close()
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %d messages\n", name, n)
		}
		return nil
	}
	return cmd
}
