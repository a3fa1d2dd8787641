package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"hoplite/internal/conf"
)

func checkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Find all mistakes in the configuration, and say what it does",
		Long: `Check reads the configuration and the keys, certificates, lists and accounts
that it names. It prints every mistake with its place, or else what each
listener, chain and hop will do, and tries the address tricks by which open
relays are found. It opens no socket and changes nothing. Run it as the user
that the server runs as, so that missing rights show.`,
		Args: cobra.NoArgs,
	}
	config := configFlag(cmd)
	probe := cmd.Flags().Bool("probe", false, "ask others too: milters and DNS lists whether they are there,\nupstreams what they offer, and whether they accept recipients\nthat do not exist")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, file, err := config()
		if err != nil {
			return err
		}
		if !check(cmd.OutOrStdout(), cfg, file) {
			return findings
		}
		if *probe {
			filters, upstreams := probeFilters(cmd.Context(), cmd.OutOrStdout(), cfg), probeUpstreams(cmd.Context(), cmd.OutOrStdout(), cfg)
			if !filters || !upstreams {
				return findings
			}
		}
		return nil
	}
	return cmd
}

// check prints the mistakes of a configuration, or its plan. It reports whether
// there was no mistake.
func check(w io.Writer, cfg *Config, file *conf.File) bool {
	if file.Parsed() {
		cfg.examine(file.Diags)
	}
	tried, doors := 0, 0
	if file.Diags.Mistakes() == 0 {
		tried, doors = cfg.relayTest(file.Diags)
	}
	file.Diags.Write(w)
	if n := file.Diags.Mistakes(); n > 0 {
		fmt.Fprintf(w, "\n%s: %s.\n", file.Name, count(n, "mistake"))
		return false
	}
	if len(file.Diags.All()) > 0 {
		fmt.Fprintln(w)
	}
	p := plan{w, cfg}
	p.write()
	fmt.Fprintln(w)
	if doors > 0 {
		p.say("", "Open-relay test: %s at %s as a stranger, nothing opens.", count(tried, "address trick"), count(doors, "listener"))
	}
	p.say("", "%s: no mistakes.", file.Name)
	return true
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
