package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hoplite/mail"
)

// maxExplained is the largest message that explain reads.
const maxExplained = 100 << 20

func explainCommand() *cobra.Command {
	var q question
	var ip string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "explain --from ADDRESS --to ADDRESS [FILE]",
		Short: "Say what would become of a message; sends nothing",
		Long: `Let the real door answer a client that is not there, and print what it says, the
verdict of every filter that would run, where the recipients lead, and by which
hop the mail would leave. With FILE (or - for standard input) the message itself
is judged too. Nothing is sent or stored, and no upstream is asked unless --ask
says so.`,
		Args: cobra.MaximumNArgs(1),
	}
	cmd.Flags().StringVar(&q.Listener, "listener", "", "name of the smtp or lmtp block (default the first)")
	cmd.Flags().StringVar(&ip, "ip", "192.0.2.1", "address of the client")
	cmd.Flags().StringVar(&q.Helo, "helo", "client.example.com", "its HELO name")
	cmd.Flags().StringVar(&q.User, "user", "", "an account, as if it had logged in")
	cmd.Flags().StringVar(&q.From, "from", "", "reverse path; empty for a report")
	cmd.Flags().StringSliceVar(&q.To, "to", nil, "recipient; may be given several times")
	cmd.Flags().BoolVar(&q.Ask, "ask", false, "ask the upstream whether the recipients exist, and what it offers")
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	read := configFlag(cmd)
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
			return refused(err)
		}
		x, err := explain(cmd.Context(), cfg, file.Diags, q)
		if err != nil {
			return refused(err)
		}
		if asJSON {
			err = json.NewEncoder(cmd.OutOrStdout()).Encode(x)
		} else {
			x.print(cmd.OutOrStdout())
		}
		if err == nil && x.verdict() != "accepted" {
			return findings
		}
		return err
	}
	return cmd
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

// plainToken logs in without a password: the dry run lets it pass.
func plainToken(user string) string {
	return base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00dry run"))
}

func (x *explanation) print(w io.Writer) {
	fmt.Fprintf(w, "Listener %s, chain %s. A dry run: nothing is sent.\n\n", x.Listener, x.Chain)
	for _, l := range x.Dialogue {
		if l.Client != "" {
			fmt.Fprintf(w, "  C: %s\n", strings.Replace(l.Client, plainSecret(l.Client), "...", 1))
		}
		for _, s := range l.Server {
			printWrapped(w, "  S: ", s)
		}
	}
	if len(x.trail.Events) > 0 {
		fmt.Fprintln(w, "\nRules")
		for i := range x.trail.Events {
			printEvent(w, &x.trail.Events[i])
		}
	}
	if len(x.trail.Auth) > 0 {
		fmt.Fprintln(w, "\nAuthentication")
		for _, a := range x.trail.Auth {
			fmt.Fprintf(w, "  %s=%s %s\n", a.Method, a.Value, a.Reason)
		}
	}
	fmt.Fprintln(w, "\nAddresses")
	for _, p := range x.Paths {
		for _, s := range p.Steps {
			fmt.Fprintf(w, "  %s\n", s)
		}
		fmt.Fprintf(w, "  %s ends at %s\n", p.Address, strings.Join(p.Leads, "; "))
	}
	if len(x.Ways) > 0 {
		fmt.Fprintln(w, "\nWays")
		for _, way := range x.Ways {
			printWrapped(w, fmt.Sprintf("  %s: ", way.To), fmt.Sprintf("hop %q, %s", way.Hop, way.Words))
		}
	}
	fmt.Fprintf(w, "\nThe message would be %s.\n", x.verdict())
}

// verdict is the end of it in a few words.
func (x *explanation) verdict() string {
	switch refused := len(x.Paths) - x.taken; {
	case x.taken > 0 && x.code < 400 && refused == 0:
		return "accepted"
	case x.taken > 0 && (x.code < 400 || refused > 0):
		return fmt.Sprintf("accepted for %d of %d recipients", x.taken, len(x.Paths))
	case x.code >= 500:
		return "refused"
	}
	return "put off"
}

// plainSecret is the token of an AUTH line.
func plainSecret(s string) string {
	if t, ok := strings.CutPrefix(s, "AUTH PLAIN "); ok {
		return t
	}
	return "\x00"
}

func printEvent(w io.Writer, e *mail.Event) {
	head := fmt.Sprintf("  %-7s %-12s ", e.Stage, e.By)
	text := e.Verdict
	if e.Rcpt != "" {
		text += " for <" + string(e.Rcpt) + ">"
	}
	if e.Shadow {
		text += " (shadow: without effect)"
	}
	if e.Reason != "" {
		text += ": " + e.Reason
	}
	if e.Reply != nil {
		text += "; " + e.Reply.String()
	}
	for _, f := range e.Facts {
		text += "; " + f.Key + "=" + f.Value
	}
	if e.Took > 0 {
		text += fmt.Sprintf(" [%s]", e.Took.Round(time.Microsecond))
	}
	printWrapped(w, head, text)
}
