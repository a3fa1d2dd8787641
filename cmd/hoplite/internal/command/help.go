package command

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"hoplite/cmd/hoplite/internal/terminal"
	"hoplite/internal/conf"
)

// The annotations of a command that its help prints.
const (
	exitDone    = "exit 0"
	exitNotDone = "exit 1"
	isGroup     = "group" // the command only has sub-commands
)

// Exits documents the exit codes 0 and 1 in a command's help. A command without
// findings or refusals does not use 1.
func Exits(cmd *cobra.Command, done, notDone string) {
	annotate(cmd, exitDone, done)
	annotate(cmd, exitNotDone, notDone)
}

func annotate(cmd *cobra.Command, key, value string) {
	if cmd.Annotations == nil {
		cmd.Annotations = map[string]string{}
	}
	cmd.Annotations[key] = value
}

// SetUp makes all commands print help that fits an 80-column terminal, and
// print their usage after an invalid argument. It is called once, when the
// command tree is complete.
func SetUp(root *cobra.Command) {
	root.SetUsageFunc(func(cmd *cobra.Command) error { writeUsage(cmd.OutOrStdout(), cmd); return nil })
	root.SetFlagErrorFunc(flagError)
	checkArguments(root)
}

// flagError adds a hint to an error about the flags of a command.
func flagError(cmd *cobra.Command, err error) error {
	unknown := (*pflag.NotExistError)(nil)
	if errors.As(err, &unknown) && len(unknown.GetSpecifiedName()) > 1 {
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if meant := conf.Suggest(unknown.GetSpecifiedName(), names); meant != "" {
			return fmt.Errorf("%w: did you mean --%s?", err, meant)
		}
	}
	return fmt.Errorf("%w (see %s --help)", err, cmd.CommandPath())
}

// checkArguments makes a command print its usage if it has the wrong number of
// arguments, and suggest a similar name if the sub-command is unknown.
func checkArguments(cmd *cobra.Command) {
	check := cmd.Args
	switch {
	case cmd.HasSubCommands():
		cmd.Args = knownSubcommand
		if cmd.RunE == nil {
			annotate(cmd, isGroup, "yes")
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
		checkArguments(sub)
	}
}

// shortForms maps sub-command names used by other programs to the names in this
// one.
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

// writeUsage prints everything in a command's help that follows its description.
func writeUsage(w io.Writer, cmd *cobra.Command) {
	fmt.Fprintln(w, "Usage:")
	if cmd.Annotations[isGroup] == "" {
		fmt.Fprintf(w, "  %s\n", cmd.UseLine())
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(w, "  %s [command]\n", cmd.CommandPath())
	}
	if cmd.Example != "" {
		fmt.Fprintf(w, "\nExamples:\n%s\n", strings.TrimRight(cmd.Example, "\n"))
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintln(w, "\nAvailable Commands:")
		var rows [][2]string
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() || sub.Name() == "help" {
				rows = append(rows, [2]string{"  " + sub.Name(), sub.Short})
			}
		}
		writeRows(w, rows)
	}
	writeFlags(w, "Flags:", cmd.LocalFlags())
	writeFlags(w, "Global Flags:", cmd.InheritedFlags())
	if done := cmd.Annotations[exitDone]; done != "" {
		fmt.Fprintln(w, "\nExit status:")
		rows := [][2]string{{"  0", done}}
		if not := cmd.Annotations[exitNotDone]; not != "" {
			rows = append(rows, [2]string{"  1", not})
		}
		writeRows(w, append(rows, [2]string{"  2", "wrong usage, or something could not be read"}))
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(w, "\nSee %s [command] --help for each command.\n", cmd.CommandPath())
	}
}

// writeFlags prints a table of flags under a heading, if there are any.
func writeFlags(w io.Writer, heading string, flags *pflag.FlagSet) {
	if !flags.HasAvailableFlags() {
		return
	}
	fmt.Fprintf(w, "\n%s\n", heading)
	var rows [][2]string
	flags.VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			rows = append(rows, flagRow(f))
		}
	})
	writeRows(w, rows)
}

// flagRow returns a flag's syntax and its description, including the default.
func flagRow(f *pflag.Flag) [2]string {
	name := "      --" + f.Name
	if f.Shorthand != "" {
		name = "  -" + f.Shorthand + ", --" + f.Name
	}
	kind, text := pflag.UnquoteUsage(f)
	switch {
	case f.Value.Type() == jsonType:
		name += "[=lines]"
	case kind != "":
		name += " " + kind
	}
	switch f.DefValue {
	case "", "false", "0", "[]":
	default:
		text += fmt.Sprintf(" (default %s)", f.DefValue)
	}
	return [2]string{name, text}
}

// writeRows prints two columns; the second one is wrapped.
func writeRows(w io.Writer, rows [][2]string) {
	width := 0
	for _, r := range rows {
		width = max(width, len(r[0]))
	}
	for _, r := range rows {
		terminal.Wrap(w, fmt.Sprintf("%-*s  ", width, r[0]), r[1])
	}
}
