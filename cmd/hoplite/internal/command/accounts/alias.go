package accounts

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"hoplite/cmd/hoplite/internal/check"
	"hoplite/cmd/hoplite/internal/command"
	"hoplite/cmd/hoplite/internal/terminal"
	"hoplite/internal/files"
	"hoplite/mail"
	"hoplite/mail/alias"
)

// Alias returns the command hoplite alias.
func Alias() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "alias",
		Short: "Add, list, remove and test aliases",
		Long: `An alias leads an address, or with @DOMAIN every other address of a domain, to
accounts or addresses elsewhere. The file of aliases has the syntax of Postfix's
virtual(5), and may be edited as well; comments and order are kept. Changes take
effect at once, in a running server too.`,
	}
	cmd.AddCommand(aliasAdd(), aliasList(), aliasRemove(), aliasTest())
	return cmd
}

// aliasJSON is one alias.
type aliasJSON struct {
	Alias string   `json:"alias"`
	To    []string `json:"to"`
	Line  int      `json:"line"`
}

// editAliases applies change to the aliases file of a site. The result must be
// valid, and pattern must not resolve to itself.
func editAliases(cmd *cobra.Command, site *command.Site, pattern string, change func(*alias.Table) ([]string, error)) error {
	if err := os.MkdirAll(site.Data, 0o750); err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	path := site.Under(site.Aliases)
	unlock, err := files.Lock(path + ".lock")
	if err != nil {
		return fmt.Errorf("lock aliases: %w", err)
	}
	defer unlock()
	addresses, err := check.ReadAddresses(site.Config)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read aliases: %w", err)
	}
	to, err := change(addresses.Table())
	if err != nil {
		return command.Refused(err)
	}
	edited := alias.Set(string(text), pattern, to)
	table, err := alias.Parse(strings.NewReader(edited), path)
	if err != nil {
		return command.Refused(fmt.Errorf("not changed: %w", err))
	}
	if written, _, _ := table.Lookup(pattern); !slices.Equal(written, to) {
		return command.Refused(fmt.Errorf("not changed: %q is not an alias for %s", pattern, strings.Join(to, ", ")))
	}
	if err := newLoop(addresses, addresses.With(table), pattern); err != nil {
		return command.Refused(fmt.Errorf("not changed: %w", err))
	}
	if err := examine(cmd.ErrOrStderr(), addresses.With(table), pattern); len(to) > 0 && err != nil {
		return command.Refused(fmt.Errorf("not changed: %w", err))
	}
	if err := files.Write(path, []byte(edited), 0o640); err != nil {
		return fmt.Errorf("write aliases: %w", err)
	}
	refresh(cmd.Context(), site.Data)
	return nil
}

// newLoop returns the error of an alias that loops after a change and did not
// before, preferably that of the changed pattern.
func newLoop(before, after *check.Addresses, pattern string) error {
	old, loops := before.Loops(), after.Loops()
	if err := loops[mail.Key(pattern)]; err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(loops)) {
		if old[key] == nil {
			return loops[key]
		}
	}
	return nil
}

// examine warns about final addresses of an alias that take no mail. An alias
// that only leads back to itself is an error.
func examine(w io.Writer, a *check.Addresses, pattern string) error {
	if strings.HasPrefix(pattern, "@") {
		return nil // a domain, whose addresses are unknown
	}
	found, err := a.Resolve(pattern)
	if err != nil {
		return err
	}
	for _, f := range found.Finals {
		if _, problem := a.Hops(f); problem != "" {
			terminal.Indent(w, "warning: ", "  ", problem)
		}
	}
	if why := a.Incomplete(pattern, found.Finals); why != "" {
		terminal.Indent(w, "warning: ", "  ", why)
	}
	return nil
}

func aliasAdd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "add ALIAS ADDRESS...", Short: "Add an alias, or addresses to an alias", Args: cobra.MinimumNArgs(2),
		Example: "  hoplite alias add info@example.org ann@example.org bob@example.net\n" +
			"  hoplite alias add root ann@example.org\n  hoplite alias add @example.com @example.org",
	}
	open := command.SiteFlag(cmd.Flags())
	command.Exits(cmd, "the alias leads to all the addresses", "the alias is not valid, or leads back to itself")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		site, err := open(cmd, true)
		if err != nil {
			return err
		}
		defer site.Close()
		var all []string
		err = editAliases(cmd, site, args[0], func(t *alias.Table) ([]string, error) {
			for _, a := range args {
				if err := alias.CheckText(a); err != nil {
					return nil, err
				}
			}
			old, _, _ := t.Lookup(args[0])
			all = slices.Clone(old)
			for _, to := range args[1:] {
				if !containsAddress(all, to) {
					all = append(all, to)
				}
			}
			return all, nil
		})
		if err == nil {
			terminal.Indent(cmd.OutOrStdout(), "", "    ", args[0]+" -> "+strings.Join(all, ", "))
		}
		return err
	}
	return cmd
}

// containsAddress reports whether a list contains an address in any spelling.
func containsAddress(list []string, address string) bool {
	return slices.ContainsFunc(list, func(a string) bool { return mail.Key(a) == mail.Key(address) })
}

func aliasRemove() *cobra.Command {
	cmd := &cobra.Command{
		Use: "remove ALIAS [ADDRESS...]", Short: "Remove an alias, or some of its addresses", Args: cobra.MinimumNArgs(1),
		Example: "  hoplite alias remove info@example.org\n  hoplite alias remove info@example.org bob@example.net",
	}
	open := command.SiteFlag(cmd.Flags())
	command.Exits(cmd, "the alias or addresses were removed", "there is no such alias, or it has no such address")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		site, err := open(cmd, true)
		if err != nil {
			return err
		}
		defer site.Close()
		var left []string
		err = editAliases(cmd, site, args[0], func(t *alias.Table) ([]string, error) {
			old, _, ok := t.Lookup(args[0])
			if !ok {
				return nil, fmt.Errorf("there is no alias %s", args[0])
			}
			for _, gone := range args[1:] {
				if !containsAddress(old, gone) {
					return nil, fmt.Errorf("%s does not lead to %s", args[0], gone)
				}
			}
			if len(args) > 1 {
				left = slices.DeleteFunc(slices.Clone(old), func(a string) bool { return containsAddress(args[1:], a) })
			}
			return left, nil
		})
		switch {
		case err != nil:
		case len(left) == 0:
			fmt.Fprintf(cmd.OutOrStdout(), "removed %s\n", args[0])
		default:
			terminal.Indent(cmd.OutOrStdout(), "", "    ", args[0]+" -> "+strings.Join(left, ", "))
		}
		return err
	}
	return cmd
}

func aliasList() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List all aliases in the order of the file", Args: cobra.NoArgs}
	open := command.SiteFlag(cmd.Flags())
	json := command.JSONFlag(cmd.Flags())
	command.Exits(cmd, "the list was printed", "")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		site, err := open(cmd, false)
		if err != nil {
			return err
		}
		defer site.Close()
		addresses, err := check.ReadAddresses(site.Config)
		if err != nil {
			return err
		}
		var list []aliasJSON
		addresses.Table().Each(func(pattern string, to []string, line int) {
			list = append(list, aliasJSON{pattern, to, line})
		})
		if json.On() {
			return command.List(cmd.OutOrStdout(), json, list)
		}
		for _, a := range list {
			terminal.Indent(cmd.OutOrStdout(), "", "    ", a.Alias+" -> "+strings.Join(a.To, ", "))
		}
		return nil
	}
	return cmd
}
