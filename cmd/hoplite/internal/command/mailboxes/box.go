// Package mailboxes holds the commands hoplite box, which list, check, import
// and export mailboxes.
//
// Mailboxes are implemented by package maildrop. Commands that only read create
// nothing in the data folder.
package mailboxes

import (
	"errors"
	"fmt"
	"io"

	"io/fs"
	"os"
	"strings"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"hoplite/cmd/hoplite/internal/command"
	"hoplite/cmd/hoplite/internal/config"
	"hoplite/internal/control"
	"hoplite/internal/users"
	"hoplite/mail"
	"hoplite/maildrop"
)

// Command returns the command hoplite box.
func Command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "box",
		Short: "List, check, import and export mailboxes",
		Long: `The mailbox of an account is a Maildir that Dovecot and Courier understand.
These commands can be used while the server runs; it notices their changes.`,
	}
	cmd.AddCommand(boxList(), boxCheck(), boxReindex(), boxImport(), boxExport())
	return cmd
}

// boxes holds the mailboxes that the box commands work on.
type boxes struct {
	accounts *users.Store
	store    *maildrop.Store // nil if it does not exist and must not be created
	running  bool            // a server has locked the data folder
	lock     io.Closer
	leave    func() // stops running as the owner of the data folder
}

// boxFlags adds -c and --maildrop and returns a function that opens the maildrop.
func boxFlags(cmd *cobra.Command) func(cmd *cobra.Command, changes bool) (*boxes, error) {
	site := command.SiteFlag(cmd.Flags())
	name := maildropFlag(cmd)
	return func(cmd *cobra.Command, changes bool) (*boxes, error) {
		cfg, err := site(cmd, changes)
		if err != nil {
			return nil, err
		}
		b := &boxes{leave: cfg.Close}
		if err := b.openStore(cfg.Config, *name, changes); err != nil {
			b.close()
			return nil, err
		}
		return b, nil
	}
}

// maildropFlag adds --maildrop to a command.
func maildropFlag(cmd *cobra.Command) *string {
	return cmd.Flags().String("maildrop", "", "maildrop block, if there are several")
}

// openStore opens the accounts and the maildrop called name. If the command
// changes nothing, a maildrop that does not exist is not opened, and neither
// the lock nor the index is touched.
func (b *boxes) openStore(cfg *config.Config, name string, changes bool) error {
	drop, err := pickMaildrop(cfg, name)
	if err != nil {
		return err
	}
	if b.accounts, err = users.Open(cfg.Under("users"), cfg.Names(), zerolog.Nop()); err != nil {
		return err
	}
	top, _, _ := strings.Cut(maildrop.Location(*drop, cfg.Data), "{") // the first placeholder
	for _, dir := range []string{cfg.Data, top} {
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) && !changes {
			return nil
		}
	}
	if changes {
		// A running server owns the index.
		if b.lock, err = control.Lock(cfg.Data); errors.Is(err, control.ErrLocked) {
			b.running = true
		} else if err != nil {
			return err
		}
	}
	b.store, err = maildrop.Open(*drop, maildrop.Env{
		Data: cfg.Data, Log: zerolog.Nop(), NoIndex: b.running || !changes,
		Account: func(a mail.Address) (maildrop.Account, bool) {
			acc, ok := b.accounts.Account(string(a))
			if !ok {
				return maildrop.Account{}, false
			}
			return maildrop.Account{Quota: acc.Quota}, true
		},
	})
	return err
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
	if b.store != nil {
		b.store.Close()
	}
	if b.lock != nil {
		b.lock.Close()
	}
	b.leave()
}

// open opens the mailbox of an existing account, and creates it if necessary.
func (b *boxes) open(name string) (*maildrop.Box, error) {
	a, ok := b.accounts.Account(name)
	if !ok {
		return nil, command.Refused(fmt.Errorf("there is no account %s", name))
	}
	return b.store.Box(mail.Address(a.Name))
}

// existing is like open, but for commands that create nothing: it returns nil
// if the account has no mailbox yet.
func (b *boxes) existing(name string) (*maildrop.Box, error) {
	if a, ok := b.accounts.Account(name); ok && (b.store == nil || !b.store.Exists(mail.Address(a.Name))) {
		return nil, nil
	}
	return b.open(name)
}

// chosen returns the accounts in args, or all accounts with a mailbox.
func (b *boxes) chosen(args []string) (names []string) {
	if len(args) > 0 || b.store == nil {
		return args
	}
	for _, a := range b.accounts.Accounts() {
		if b.store.Exists(mail.Address(a.Name)) {
			names = append(names, a.Name)
		}
	}
	return names
}

func boxReindex() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reindex [ADDRESS...]",
		Short: "Delete the index and build it again",
		Long: `The index holds sizes, dates and rendered headers, and can be rebuilt at any
time. A running server owns it: stop the server first.`,
	}
	open := boxFlags(cmd)
	command.Exits(cmd, "the index was built", "the server is running, or there is no such account")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		b, err := open(cmd, true)
		if err != nil {
			return err
		}
		defer b.close()
		if b.running {
			return command.Refused(errors.New("the server is running and uses the index: stop it first"))
		}
		for _, name := range b.chosen(args) {
			box, err := b.existing(name)
			if err != nil {
				return err
			}
			if box == nil {
				continue
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
