package mailboxes

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"hoplite/cmd/hoplite/internal/command"
	"hoplite/cmd/hoplite/internal/terminal"
)

// damage is one finding of "box check".
type damage struct {
	Account string `json:"account"`
	Folder  string `json:"folder,omitempty"`
	Text    string `json:"text"`
	Plan    string `json:"plan,omitempty"` // the repair; empty if it must be done manually
	Fixed   bool   `json:"fixed,omitempty"`
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
	json := command.JSONFlag(cmd.Flags())
	command.Exits(cmd, "no damage, or all of it was repaired", "damage remains, or there is no such account")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		b, err := open(cmd, *fix)
		if err != nil {
			return err
		}
		defer b.close()
		var all []damage
		left, out := 0, cmd.OutOrStdout()
		for _, name := range b.chosen(args) {
			err = b.check(cmd.Context(), name, *fix, func(d damage) {
				if all = append(all, d); !d.Fixed {
					left++
				}
				if !json.On() {
					d.print(out)
				}
			})
			if err != nil {
				return err
			}
		}
		if json.On() {
			err = command.List(out, json, all)
		} else if left == 0 {
			fmt.Fprintln(out, "no damage found")
		}
		if err == nil && left > 0 {
			return command.Findings
		}
		return err
	}
	return cmd
}

// check reports the damage in a mailbox and, if fix is set, repairs it.
func (b *boxes) check(ctx context.Context, name string, fix bool, report func(damage)) error {
	box, err := b.existing(name)
	if err != nil || box == nil {
		return err
	}
	defer box.Close()
	found, err := box.Check(ctx)
	if err != nil {
		return err
	}
	for i := range found {
		f := &found[i]
		d := damage{Account: string(box.Account()), Folder: f.Folder, Text: f.Text, Plan: f.Plan}
		if fix && f.Plan != "" {
			if err := f.Repair(); err != nil {
				report(d)
				return fmt.Errorf("%s: %w", f.Plan, err)
			}
			d.Fixed = true
		}
		report(d)
	}
	return nil
}

func (d *damage) print(out io.Writer) {
	where := d.Account
	if d.Folder != "" {
		where += ", " + d.Folder
	}
	terminal.Indent(out, "", "    ", where+": "+d.Text)
	switch {
	case d.Fixed:
		terminal.Indent(out, "  ", "    ", d.Plan+" ... done")
	case d.Plan == "":
		fmt.Fprintln(out, "  needs manual repair")
	default:
		terminal.Indent(out, "  --fix would: ", "    ", d.Plan)
	}
}
