package accounts

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"hoplite/cmd/hoplite/internal/command"
	"hoplite/cmd/hoplite/internal/terminal"
	"hoplite/internal/conf"
	"hoplite/internal/users"
)

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
	cmd := &cobra.Command{Use: "list", Short: "List all accounts", Args: cobra.NoArgs}
	open := storeFlag(cmd)
	json := command.JSONFlag(cmd.Flags())
	command.Exits(cmd, "the list was printed", "")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		store, err := open(cmd, false)
		if err != nil {
			return err
		}
		defer store.close()
		if json.On() {
			var list []accountJSON
			for _, a := range store.Accounts() {
				list = append(list, asJSON(a))
			}
			return command.List(cmd.OutOrStdout(), json, list)
		}
		for _, a := range store.Accounts() {
			line := a.Name
			if n := notes(a); len(n) > 0 {
				line += "  "
			}
			terminal.Indent(cmd.OutOrStdout(), line, "    ", strings.Join(notes(a), "; "))
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
	cmd := &cobra.Command{Use: "show ADDRESS", Short: "Show an account", Args: cobra.ExactArgs(1)}
	open := storeFlag(cmd)
	json := command.JSONFlag(cmd.Flags())
	command.Exits(cmd, "the account was printed", "there is no such account")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		store, err := open(cmd, false)
		if err != nil {
			return err
		}
		defer store.close()
		a, err := store.find(args[0])
		if err != nil {
			return err
		}
		j := asJSON(a)
		if json.On() {
			return json.One(cmd.OutOrStdout(), j)
		}
		row := func(name, value string) {
			if value != "" {
				terminal.Wrap(cmd.OutOrStdout(), fmt.Sprintf("%-10s ", name), value)
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
