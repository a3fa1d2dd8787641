package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"hoplite/internal/conf"
	"hoplite/internal/users"
	"hoplite/mail"
)

// userCommand manages the accounts. They are in a file that a running server
// reads again when it changes, so these commands work with and without it.
func userCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "user",
		Short: "Add, change and remove accounts",
		Long: `Accounts are full addresses with passwords, a role and settings; "ann" alone
means ann@localhost. A running server notices changes within a second.`,
	}
	cmd.AddCommand(userAdd(), userSet(), userPasswd(), userRemove(), userList(), userShow(), userImport())
	return cmd
}

// accounts are the accounts of a data folder.
type accounts struct {
	*users.Store
	close func()
}

// storeFlag adds -c to a command and returns a function that opens the accounts.
func storeFlag(cmd *cobra.Command) func(cmd *cobra.Command, changes bool) (*accounts, error) {
	open := siteFlag(cmd.Flags())
	return func(cmd *cobra.Command, changes bool) (*accounts, error) {
		cfg, err := open(cmd, changes)
		if err != nil {
			return nil, err
		}
		if changes {
			err = os.MkdirAll(cfg.Data, 0o750)
		}
		if err != nil {
			cfg.close()
			return nil, fmt.Errorf("data folder: %w", err)
		}
		store, err := users.Open(cfg.Under("users"), cfg.Names(), zerolog.Nop())
		if err != nil {
			cfg.close()
			return nil, err
		}
		return &accounts{store, cfg.close}, nil
	}
}

// settings are the flags for the settings of an account.
type settings struct {
	admin   bool
	forward []string
	quota   string
}

func (s *settings) flags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&s.admin, "admin", false, "may see the history of all mail, and the queue")
	cmd.Flags().StringSliceVar(&s.forward, "forward", nil, "addresses to forward its mail to; include its own\naddress to keep a copy; \"\" ends forwarding")
	cmd.Flags().StringVar(&s.quota, "quota", "", "size limit of its mailbox, for example 5GiB; 0 for none")
}

// apply changes the settings that are given on the command line.
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

func userAdd() *cobra.Command {
	var s settings
	cmd := &cobra.Command{
		Use: "add ADDRESS", Short: "Add an account; asks for its password", Args: cobra.ExactArgs(1),
		Example: "  hoplite user add ann@example.org --quota 5GiB\n  echo secret | hoplite user add ann",
	}
	open := storeFlag(cmd)
	s.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		store, err := open(cmd, true)
		if err != nil {
			return err
		}
		defer store.close()
		a := &users.Account{Name: accountName(args[0])}
		if err := errors.Join(users.CheckName(a.Name), s.apply(cmd, a)); err != nil {
			return refused(err)
		}
		if _, ok := store.Account(a.Name); ok {
			return refused(fmt.Errorf("account %s already exists", a.Name))
		}
		password, err := readPassword(cmd, a.Name)
		if err != nil {
			return err
		}
		err = store.Update(func(b *users.Book) error { return errors.Join(a.SetPassword("", password), b.Add(a)) })
		if err != nil {
			return refused(err)
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
	return onAccount(cmd, func(_ *users.Book, a *users.Account) error { return s.apply(cmd, a) }, "changed")
}

func userPasswd() *cobra.Command {
	var app string
	cmd := &cobra.Command{
		Use: "passwd ADDRESS", Short: "Set a password, or an app password", Args: cobra.ExactArgs(1),
		Long: `Set the password of an account, or an additional one for a single program or
device, which can be removed separately.`,
		Example: "  hoplite user passwd ann@example.org\n  hoplite user passwd ann@example.org --app phone",
	}
	cmd.Flags().StringVar(&app, "app", "", "name of an app password")
	return onAccount(cmd, func(_ *users.Book, a *users.Account) error {
		password, err := readPassword(cmd, a.Name)
		if err != nil {
			return err
		}
		return a.SetPassword(app, password)
	}, "password set for")
}

func userRemove() *cobra.Command {
	var app string
	cmd := &cobra.Command{
		Use: "remove ADDRESS", Short: "Remove an account (its mail stays), or an app password", Args: cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&app, "app", "", "remove only this app password")
	return onAccount(cmd, func(b *users.Book, a *users.Account) error {
		if app == "" {
			return b.Remove(a.Name)
		}
		if !a.RemovePassword(app) {
			return fmt.Errorf("%s has no app password %q", a.Name, app)
		}
		return nil
	}, "removed from")
}

// onAccount returns a command that changes one account.
func onAccount(cmd *cobra.Command, change func(*users.Book, *users.Account) error, done string) *cobra.Command {
	open := storeFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		store, err := open(cmd, true)
		if err != nil {
			return err
		}
		defer store.close()
		found, ok := store.Account(args[0])
		if !ok {
			return refused(fmt.Errorf("%s: %w", args[0], users.ErrNoAccount))
		}
		err = store.Update(func(b *users.Book) error {
			a, ok := b.Account(found.Name)
			if !ok {
				return fmt.Errorf("%s: %w", found.Name, users.ErrNoAccount)
			}
			return change(b, a)
		})
		if err != nil {
			return refused(err)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", done, found.Name)
		return nil
	}
	return cmd
}

// accountJSON is an account without its secrets.
type accountJSON struct {
	Account   string   `json:"account"`
	Roles     []string `json:"roles,omitempty"`
	Forward   []string `json:"forward,omitempty"`
	Quota     int64    `json:"quota,omitempty"`
	Passwords []string `json:"passwords"` // "main" or the app's name
	Imported  bool     `json:"imported_hash,omitempty"`
}

func asJSON(a *users.Account) accountJSON {
	j := accountJSON{Account: a.Name, Roles: a.Roles, Forward: a.Forward, Quota: a.Quota, Passwords: []string{}}
	for _, c := range a.Credentials {
		name := c.Name
		if name == "" {
			name = "main"
		}
		j.Passwords = append(j.Passwords, name)
		j.Imported = j.Imported || c.Keys == nil
	}
	return j
}

func userList() *cobra.Command {
	var asLines bool
	cmd := &cobra.Command{Use: "list", Short: "List all accounts", Args: cobra.NoArgs}
	open := storeFlag(cmd)
	cmd.Flags().BoolVar(&asLines, "json", false, "one JSON object a line")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		store, err := open(cmd, false)
		if err != nil {
			return err
		}
		defer store.close()
		for _, a := range store.Accounts() {
			if asLines {
				err = json.NewEncoder(cmd.OutOrStdout()).Encode(asJSON(a))
			} else {
				_, err = fmt.Fprintln(cmd.OutOrStdout(), strings.Join(append([]string{a.Name}, notes(a)...), "  "))
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	return cmd
}

// notes returns the settings of an account that "user list" prints.
func notes(a *users.Account) []string {
	n := append([]string(nil), a.Roles...)
	if len(a.Forward) > 0 {
		n = append(n, "-> "+strings.Join(a.Forward, ", "))
	}
	if a.Quota > 0 {
		n = append(n, "quota "+conf.Bytes(a.Quota).String())
	}
	if len(a.Credentials) == 0 {
		n = append(n, "no password")
	}
	return n
}

func userShow() *cobra.Command {
	var one bool
	cmd := &cobra.Command{Use: "show ADDRESS", Short: "Show an account", Args: cobra.ExactArgs(1)}
	open := storeFlag(cmd)
	cmd.Flags().BoolVar(&one, "json", false, "as JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		store, err := open(cmd, false)
		if err != nil {
			return err
		}
		defer store.close()
		a, ok := store.Account(args[0])
		if !ok {
			return refused(fmt.Errorf("%s: %w", args[0], users.ErrNoAccount))
		}
		j := asJSON(a)
		if one {
			return json.NewEncoder(cmd.OutOrStdout()).Encode(j)
		}
		row := func(name, value string) {
			if value != "" {
				fmt.Fprintf(cmd.OutOrStdout(), "%-10s %s\n", name, value)
			}
		}
		row("account", j.Account)
		row("roles", strings.Join(j.Roles, ", "))
		row("forward", strings.Join(j.Forward, ", "))
		if j.Quota > 0 {
			row("quota", conf.Bytes(j.Quota).String())
		}
		row("passwords", strings.Join(j.Passwords, ", "))
		if j.Imported {
			row("hash", "imported; replaced by SCRAM keys at the first login with the password")
		}
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
		err = store.Update(func(b *users.Book) error {
			added, left = b.ImportDovecot(in, args[0], domain)
			return nil
		})
		if err != nil {
			return refused(err)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "added %d accounts\n", added)
		if left != nil {
			return refused(fmt.Errorf("not added:\n%w", left))
		}
		return nil
	}
	return cmd
}

// maxPassword is the longest password that is read.
const maxPassword = 1024

// readPassword asks twice on a terminal, else it reads one line.
func readPassword(cmd *cobra.Command, name string) (string, error) {
	in := cmd.InOrStdin()
	if f, ok := in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return askPassword(cmd.ErrOrStderr(), int(f.Fd()), name)
	}
	line, err := bufio.NewReader(io.LimitReader(in, maxPassword)).ReadString('\n')
	if err != nil && err != io.EOF {
		return "", fmt.Errorf("read password: %w", err)
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", errors.New("no password on stdin")
	}
	return line, nil
}

func askPassword(out io.Writer, fd int, name string) (string, error) {
	var typed [2]string
	for i, prompt := range []string{"Password for " + name + ": ", "Again: "} {
		fmt.Fprint(out, prompt)
		b, err := term.ReadPassword(fd)
		fmt.Fprintln(out)
		if err != nil {
			return "", fmt.Errorf("read password: %w", err)
		}
		typed[i] = string(b)
	}
	if typed[0] != typed[1] {
		return "", errors.New("the passwords differ")
	}
	return typed[0], nil
}
