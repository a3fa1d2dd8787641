package main

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// Every help page fits an 80-column terminal, and the help of a command that
// does something lists its exit codes.
func TestHelpFits(t *testing.T) {
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		var out bytes.Buffer
		cmd.SetOut(&out)
		if err := cmd.Help(); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(out.String()) {
			if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > 80 {
				t.Errorf("%s: %d columns: %s", cmd.CommandPath(), n, line)
			}
		}
		own := !cmd.HasSubCommands() && cmd.Name() != "version" && cmd.Name() != "help"
		if own && !strings.Contains(out.String(), "Exit status") {
			t.Errorf("%s: no exit codes in its help", cmd.CommandPath())
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(rootCommand())
}

// If an argument is missing, the error shows the usage of the command.
func TestArguments(t *testing.T) {
	for line, want := range map[string]string{
		"smime":           "write hoplite smime FILE|-",
		"code":            "write hoplite code CODE|TEXT",
		"check it":        "write hoplite check",
		"dkim keygen a b": "write hoplite dkim keygen DOMAIN",
	} {
		cmd := rootCommand()
		cmd.SetArgs(strings.Fields(line))
		cmd.SetContext(t.Context())
		if err := cmd.Execute(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("hoplite %s: %v", line, err)
		}
	}
}
