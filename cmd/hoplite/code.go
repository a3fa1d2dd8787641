package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"hoplite/cmd/hoplite/internal/terminal"
	"hoplite/mail"
)

func codeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "code CODE|TEXT",
		Short: "Explain a reply code, or the line of a bounce that holds one",
		Example: `  hoplite code 452
  hoplite code 5.7.1
  hoplite code "550 5.1.1 <ann@example.org>: user unknown"`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			text := strings.Join(args, " ")
			found := mail.LookupCode(text)
			if len(found) == 0 {
				return refused(fmt.Errorf("no reply code in %q: give one like 452 or 5.7.1", text))
			}
			for i, m := range found {
				if i > 0 {
					fmt.Fprintln(cmd.OutOrStdout())
				}
				printMeaning(cmd.OutOrStdout(), m)
			}
			return nil
		},
	}
}

func printMeaning(w io.Writer, m mail.Meaning) {
	fmt.Fprintf(w, "%s  %s\n", m.Code, m.Title)
	if len(m.Why) > 0 {
		terminal.Wrap(w, "  why   ", strings.Join(m.Why, "; "))
	}
	terminal.Wrap(w, "  next  ", m.Next)
	if m.RFC != "" {
		terminal.Wrap(w, "  see   ", m.RFC)
	}
}
