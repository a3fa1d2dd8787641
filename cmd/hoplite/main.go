// Command hoplite is a relay in front of mail servers: it accepts mail by SMTP
// and LMTP, runs it through a chain of filters, and forwards it in-line, through
// a queue, or into Maildirs that it serves over POP3 and IMAP.
//
// This package is the command line: flags, printing, exit codes. The running
// program is assembled in internal/server; start reading there.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"hoplite/internal/conf"
)

// The exit codes of every command.
const (
	exitFindings = 1 // findings, or a request was refused
	exitUsage    = 2 // wrong usage, or something could not be read
)

// exitError ends the program with an exit code, after its message, if any, has
// been printed.
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

// findings ends a command that has printed findings.
var findings = &exitError{code: exitFindings}

// refused ends a command that did not do what was requested.
func refused(err error) error { return &exitError{exitFindings, err} }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, rootCommand()))
}

// run executes a command line and returns its exit code.
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
		Short: "A mail relay for use in front of mail servers",
		Long: `Hoplite accepts mail by SMTP and LMTP, runs it through a chain of filters, and
forwards it to upstream servers or into Maildirs that it serves over POP3 and
IMAP.

Start it with "hoplite serve"; it runs without a configuration file.`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	// Help must fit a terminal of 80 columns.
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

// sayUsage makes a command with the wrong number of arguments print its usage,
// and one with an unknown sub-command suggest the one that was meant.
func sayUsage(cmd *cobra.Command) {
	check := cmd.Args
	switch {
	case cmd.HasSubCommands():
		cmd.Args = knownSubcommand
		if cmd.RunE == nil {
			cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		}
	case check != nil:
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if check(cmd, args) == nil {
				return nil
			}
			cmd.DisableFlagsInUseLine = true
			return fmt.Errorf("wrong number of arguments: write %s (see %s --help)", cmd.UseLine(), cmd.CommandPath())
		}
	}
	for _, sub := range cmd.Commands() {
		sayUsage(sub)
	}
}

// shortForms are names of sub-commands in other programs.
var shortForms = map[string]string{"rm": "remove", "del": "delete", "ls": "list"}

// knownSubcommand refuses the arguments of a command that has only sub-commands.
func knownSubcommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, sub := range cmd.Commands() {
		names = append(names, sub.Name())
	}
	meant := conf.Suggest(args[0], names)
	if long := shortForms[args[0]]; slices.Contains(names, long) {
		meant = long
	}
	hint := fmt.Sprintf("see %s --help", cmd.CommandPath())
	if meant != "" {
		hint = fmt.Sprintf("did you mean %q?", cmd.CommandPath()+" "+meant)
	}
	return fmt.Errorf("unknown command %q: %s", cmd.CommandPath()+" "+args[0], hint)
}
