package service

import (
	"bytes"
	"strings"

	"github.com/spf13/cobra"

	"hoplite/cmd/hoplite/internal/check"
	"hoplite/cmd/hoplite/internal/command"
	"hoplite/cmd/hoplite/internal/owner"
)

// Check returns the command hoplite check.
func Check() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Find all errors in the configuration, and describe what it does",
		Long: `Check reads the configuration and the keys, certificates, lists and accounts
that it refers to. It prints every error with its place, or else what each
listener, chain and hop will do, and tries the address forms by which open
relays are found. It opens no socket and changes nothing. Run by root, it
checks the permissions of the data folder's owner, as the server has them.`,
		Args: cobra.NoArgs,
	}
	config := command.ConfigFlag(cmd)
	probe := cmd.Flags().Bool("probe", false, "also contact others: milters and DNS lists, and upstreams: which extensions they offer, and whether they accept recipients that do not exist")
	json := command.JSONFlag(cmd.Flags())
	command.Exits(cmd, "no errors; there may be warnings", "errors, or a probe failed")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, file, err := config()
		if err != nil {
			return err
		}
		out := cmd.OutOrStdout()
		restore, err := owner.Become(cfg.Data)
		if err != nil {
			return err
		}
		r := check.Run(cfg, file)
		restore()
		good := r.Mistakes == 0
		if !json.On() {
			r.Print(out)
			if good && *probe {
				good = check.Probe(cmd.Context(), out, cfg)
			}
		} else {
			if good && *probe {
				var text bytes.Buffer
				good = check.Probe(cmd.Context(), &text, cfg)
				r.Probe = strings.Split(strings.TrimSpace(text.String()), "\n")
			}
			err = json.One(out, r)
		}
		if err == nil && !good {
			return command.Findings
		}
		return err
	}
	return cmd
}
