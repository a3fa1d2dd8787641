// Command hoplite stands in front of mail servers: it takes mail by SMTP and
// LMTP, judges it by a chain of filters, and sends it on in-line, through a
// queue, or into Maildirs that it serves by POP3 and IMAP.
//
// This package builds everything and knows everyone; what a room does is in
// the room.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"github.com/spf13/cobra"
)

// The exit codes of every command.
const (
	exitFindings = 1 // findings, or refused
	exitUsage    = 2 // wrong usage, or something could not be read
)

// exitError ends the program with a code. Its message, if it has one, is
// printed first.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// findings ends a command that printed what it found.
var findings = &exitError{code: exitFindings}

// refused ends a command that did not do what it was asked.
func refused(err error) error { return &exitError{exitFindings, err} }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, rootCommand()))
}

// run carries out one command line and gives its exit code.
func run(ctx context.Context, cmd *cobra.Command) int {
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	code := exitUsage
	if e := (*exitError)(nil); errors.As(err, &e) {
		code = e.code
	}
	if text := err.Error(); text != "" {
		fmt.Fprintln(cmd.ErrOrStderr(), "hoplite: "+text)
	}
	return code
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "hoplite",
		Short: "A mail relay that stands in front of mail servers",
		Long: `Hoplite takes mail by SMTP and LMTP, judges it by a chain of filters, and sends
it on to upstream servers or into Maildirs that it serves by POP3 and IMAP.

Start it with "hoplite serve"; it runs without any configuration file.`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	// Help is read in terminals of 80 columns.
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages |", ".FlagUsagesWrapped 79 |"))
	root.AddCommand(
		serveCommand(),
		boxCommand(),
		checkCommand(),
		codeCommand(),
		dkimCommand(),
		explainCommand(),
		queueCommand(),
		smimeCommand(),
		traceCommand(),
		userCommand(),
		versionCommand(),
	)
	sayUsage(root)
	return root
}

// sayUsage lets a command that was given too much or too little say what it
// wants.
func sayUsage(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if check(cmd, args) == nil {
				return nil
			}
			cmd.DisableFlagsInUseLine = true
			return fmt.Errorf("that is too little or too much: write %s (%s --help says more)", cmd.UseLine(), cmd.CommandPath())
		}
	}
	for _, sub := range cmd.Commands() {
		sayUsage(sub)
	}
}
