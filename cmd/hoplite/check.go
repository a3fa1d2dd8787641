package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"hoplite/internal/conf"
	"hoplite/mail"
	"hoplite/relay/forward"
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
	probe := cmd.Flags().Bool("probe", false, "connect to the upstreams too: what they offer, and whether\nthey accept recipients that do not exist")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, file, err := config()
		if err != nil {
			return err
		}
		if !check(cmd.OutOrStdout(), cfg, file) {
			return findings
		}
		if *probe && !probeUpstreams(cmd.Context(), cmd.OutOrStdout(), cfg) {
			return findings
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

// probeUpstreams connects to the servers of every upstream. It reports whether
// all answered, and none accepts recipients that do not exist.
func probeUpstreams(ctx context.Context, w io.Writer, cfg *Config) bool {
	good := true
	for _, c := range cfg.Upstream {
		if c.MX {
			continue
		}
		u, err := forward.New(*c, forward.Env{Hostname: cfg.Hostname, Data: cfg.Data, Log: zerolog.Nop()})
		if err != nil {
			fmt.Fprintf(w, "\nupstream %q: %v\n", c.Name, err)
			good = false
			continue
		}
		good = probeUpstream(ctx, plan{w, cfg}, c, u) && good
		u.Close()
	}
	return good
}

func probeUpstream(ctx context.Context, p plan, c *forward.Config, u *forward.Upstream) bool {
	const patience = 30 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	fmt.Fprintln(p.w)
	p.say("", "upstream %q answers:", c.Name)
	for _, line := range u.Look(ctx) {
		p.say("    ", "%s", line)
	}
	good := u.Offer().Known
	if c.Recipients != "call-ahead" {
		return good
	}
	for _, domain := range p.cfg.domainsOf(c.Name) {
		to, err := mail.Join("postmaster", domain)
		if err != nil {
			continue
		}
		tx := mail.NewTransaction(mail.Client{}, "")
		err = u.Check(ctx, tx, mail.Rcpt{To: to, Orig: to})
		switch {
		case err != nil:
			p.say("    ", "postmaster@%s is not taken, as it must be (RFC 5321, 4.5.1): %s", domain, mail.AsReply(err))
		case u.AcceptsAll(domain):
			p.say("    ", "%s: every address is accepted, so strangers get bounces: list the recipients in a file, recipients = \"FILE\"", domain)
			good = false
		default:
			p.say("    ", "%s: unknown recipients are refused, as they should be", domain)
		}
	}
	return good
}

// domainsOf are the whole domains that routes lead to an upstream.
func (c *Config) domainsOf(upstream string) []string {
	var list []string
	for _, ch := range c.Chain {
		for i := range ch.Routes {
			if r := &ch.Routes[i]; r.Hop == upstream {
				for _, t := range r.To {
					if a, err := mail.Join("x", t); err == nil && t != "local" {
						list = append(list, a.ASCIIDomain())
					}
				}
			}
		}
	}
	return list
}
