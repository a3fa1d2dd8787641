package service

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"time"

	"github.com/spf13/cobra"

	"hoplite/cmd/hoplite/internal/command"
	"hoplite/cmd/hoplite/internal/dryrun"
	"hoplite/cmd/hoplite/internal/state"
	"hoplite/internal/control"
	"hoplite/relay/forward"
)

// maxExplained is the maximum size of a message that explain reads.
const maxExplained = 100 << 20

// Explain returns the command hoplite explain.
func Explain() *cobra.Command {
	var q dryrun.Question
	var ip string
	cmd := &cobra.Command{
		Use:   "explain --from ADDRESS --to ADDRESS [FILE]",
		Short: "Show what would happen to a message; sends nothing",
		Long: `Let the real server answer a simulated client, and print its replies, the
verdict of every filter that would run, how the recipients resolve, and which
hop would take the mail. With FILE (or - for standard input) the message itself
is filtered too. Nothing is sent or stored, and no upstream is contacted unless
--ask is given.`,
		Args: cobra.MaximumNArgs(1),
	}
	cmd.Flags().StringVar(&q.Listener, "listener", "", "name of the smtp or lmtp block (default the first)")
	cmd.Flags().StringVar(&ip, "ip", "192.0.2.1", "IP address of the client")
	cmd.Flags().StringVar(&q.Helo, "helo", "client.example.com", "name in the client's EHLO")
	cmd.Flags().StringVar(&q.User, "user", "", "account to be logged in as")
	cmd.Flags().StringVar(&q.From, "from", "", "reverse path; empty for a delivery report")
	cmd.Flags().StringSliceVar(&q.To, "to", nil, "recipient; repeat for several")
	cmd.Flags().BoolVar(&q.Ask, "ask", false, "ask the upstream which extensions it offers and whether the recipients exist")
	json := command.JSONFlag(cmd.Flags())
	command.Exits(cmd, "the message would be accepted for all recipients", "it would be refused or deferred, for some at least")
	read := command.ConfigFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if q.IP, err = netip.ParseAddr(ip); err != nil {
			return fmt.Errorf("--ip: %q is not an address", ip)
		}
		if len(q.To) == 0 {
			return fmt.Errorf("give at least one --to")
		}
		if len(args) == 1 {
			if q.Message, err = readMessage(cmd.InOrStdin(), args[0]); err != nil {
				return err
			}
		}
		cfg, file, err := read()
		if err != nil {
			return err
		}
		if err := file.Diags.Err(); err != nil {
			return err
		}
		q.Offers = offers(cmd.Context(), cfg.Data)
		x, err := dryrun.Run(cmd.Context(), cfg, file.Diags, q)
		if err != nil {
			return err
		}
		if json.On() {
			err = json.One(cmd.OutOrStdout(), x)
		} else {
			x.Print(cmd.OutOrStdout())
		}
		if err == nil && x.Verdict() != "accepted" {
			return command.Findings
		}
		return err
	}
	return cmd
}

// offers returns the extensions of the upstreams as known to the server that
// uses a data folder, if one is running and answers.
func offers(ctx context.Context, data string) map[string]forward.Offer {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var known state.Offers
	control.NewClient(data).Do(ctx, http.MethodGet, "/offers", nil, &known)
	return known.Upstreams
}

func readMessage(stdin io.Reader, name string) ([]byte, error) {
	in := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, maxExplained+1))
	if err == nil && len(b) > maxExplained {
		err = fmt.Errorf("%s is larger than %d octets", name, maxExplained)
	}
	return b, err
}
