package main

import (
	"github.com/spf13/cobra"

	"hoplite/cmd/hoplite/internal/check"
)

func checkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Find all mistakes in the configuration, and describe what it does",
		Long: `Check reads the configuration and the keys, certificates, lists and accounts
that it refers to. It prints every mistake with its place, or else what each
listener, chain and hop will do, and tries the address forms by which open
relays are found. It opens no socket and changes nothing. Run it as the user
that the server runs as, so that missing permissions are found.`,
		Args: cobra.NoArgs,
	}
	config := configFlag(cmd)
	probe := cmd.Flags().Bool("probe", false, "also contact others: milters and DNS lists, and upstreams:\nwhich extensions they offer, and whether they accept\nrecipients that do not exist")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, file, err := config()
		if err != nil {
			return err
		}
		if !check.Report(cmd.OutOrStdout(), cfg, file) {
			return findings
		}
		if *probe && !check.Probe(cmd.Context(), cmd.OutOrStdout(), cfg) {
			return findings
		}
		return nil
	}
	return cmd
}
