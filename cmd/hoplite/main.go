// Command hoplite is a relay in front of mail servers: it accepts mail by SMTP
// and LMTP, runs it through a chain of filters, and forwards it in-line, through
// a queue, or into Maildirs that it serves over POP3 and IMAP.
//
// This package is the command line. It contains the commands that trace and
// explain mail; the others are below internal/command, by subject. The running
// program is assembled in internal/server.
package main

import (
	"context"
	"os"
	"os/signal"

	"github.com/spf13/cobra"

	"hoplite/cmd/hoplite/internal/command"
	"hoplite/cmd/hoplite/internal/command/accounts"
	"hoplite/cmd/hoplite/internal/command/keys"
	"hoplite/cmd/hoplite/internal/command/mailboxes"
	"hoplite/cmd/hoplite/internal/command/mailqueue"
	"hoplite/cmd/hoplite/internal/command/service"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(command.Run(ctx, rootCommand()))
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "hoplite",
		Short: "A mail relay for use in front of mail servers",
		Long: `Hoplite accepts mail by SMTP and LMTP, runs it through a chain of filters, and
forwards it to upstream servers or into Maildirs that it serves over POP3 and
IMAP.

Start it with "hoplite serve"; it runs without a configuration file.`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(
		service.Serve(version),
		service.Check(),
		service.Explain(),
		service.Reload(),
		service.Status(),
		accounts.Alias(),
		accounts.User(),
		mailboxes.Command(),
		mailqueue.Command(),
		keys.Command(),
		codeCommand(),
		keys.OAuth(),
		keys.Certificate(),
		sieveCommand(),
		smimeCommand(),
		traceCommand(),
		versionCommand(),
	)
	command.SetUp(root)
	return root
}
