package accounts

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"hoplite/cmd/hoplite/internal/check"
	"hoplite/cmd/hoplite/internal/command"
	"hoplite/cmd/hoplite/internal/terminal"
	"hoplite/mail/alias"
)

// resolution is the result of hoplite alias test for an address.
type resolution struct {
	Address string      `json:"address"`
	Steps   []stepJSON  `json:"steps"`
	Finals  []finalJSON `json:"leads_to"`
	Error   string      `json:"error,omitempty"`
}

type stepJSON struct {
	From string   `json:"from"`
	To   []string `json:"to"`
	By   string   `json:"by"`
}

type finalJSON struct {
	Address string   `json:"address"`
	Account string   `json:"account,omitempty"`
	Folder  string   `json:"folder,omitempty"`
	Hops    []string `json:"hops,omitempty"`
	Problem string   `json:"problem,omitempty"`
}

func aliasTest() *cobra.Command {
	cmd := &cobra.Command{
		Use: "test ADDRESS", Short: "Show where mail for an address goes", Args: cobra.ExactArgs(1),
		Long: `Show every alias, forward and rule that is followed from an address, and the
maildrops or upstreams that take the mail in the end. hoplite explain shows the
filters and limits as well.`,
	}
	open := command.SiteFlag(cmd.Flags())
	json := command.JSONFlag(cmd.Flags())
	command.Exits(cmd, "mail for the address can be delivered", "a part of it cannot")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		site, err := open(cmd, false)
		if err != nil {
			return err
		}
		defer site.Close()
		addresses, err := check.ReadAddresses(site.Config)
		if err != nil {
			return err
		}
		r := resolveAddress(addresses, args[0])
		if json.On() {
			err = json.One(cmd.OutOrStdout(), r)
		} else {
			r.print(cmd.OutOrStdout())
		}
		if err == nil && !r.delivered() {
			return command.Findings
		}
		return err
	}
	return cmd
}

func resolveAddress(a *check.Addresses, address string) resolution {
	r := resolution{Address: address, Steps: []stepJSON{}, Finals: []finalJSON{}}
	found, err := a.Resolve(address)
	for _, s := range found.Path {
		r.Steps = append(r.Steps, stepJSON(s))
	}
	if err != nil {
		r.Error = err.Error()
		return r
	}
	for _, f := range found.Finals {
		r.Finals = append(r.Finals, final(a, f))
	}
	r.Error = a.Incomplete(address, found.Finals)
	return r
}

func final(a *check.Addresses, f alias.Final) finalJSON {
	hops, problem := a.Hops(f)
	return finalJSON{f.Address, f.Account, f.Folder, hops, problem}
}

// delivered reports whether every final address accepts mail.
func (r *resolution) delivered() bool {
	for _, f := range r.Finals {
		if f.Problem != "" {
			return false
		}
	}
	return r.Error == ""
}

func (r *resolution) print(w io.Writer) {
	for _, s := range r.Steps {
		terminal.Indent(w, "", "    ", fmt.Sprintf("%s -> %s (%s)", s.From, strings.Join(s.To, ", "), s.By))
	}
	for _, f := range r.Finals {
		words := []string{f.Address}
		if f.Account != "" {
			words = append(words, "an account of this server")
		}
		if f.Folder != "" {
			words = append(words, "folder "+f.Folder)
		}
		if len(f.Hops) > 0 {
			words = append(words, "by "+strings.Join(f.Hops, " or "))
		}
		text := strings.Join(words, ", ")
		if f.Problem != "" {
			text += ": " + f.Problem
		}
		terminal.Indent(w, "=> ", "     ", text)
	}
	if r.Error != "" {
		terminal.Indent(w, "", "    ", r.Error)
	}
}
