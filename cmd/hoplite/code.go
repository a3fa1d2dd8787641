package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

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
		printWrapped(w, "  why   ", strings.Join(m.Why, "; "))
	}
	printWrapped(w, "  next  ", m.Next)
	if m.RFC != "" {
		printWrapped(w, "  see   ", m.RFC)
	}
}

// printWrapped prints text behind a label, broken at 80 columns under its own
// start.
func printWrapped(w io.Writer, label, text string) {
	line := label
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > 80 && len(line) > len(label) {
			fmt.Fprintln(w, strings.TrimRight(line, " "))
			line = strings.Repeat(" ", len(label))
		}
		if len(line) > len(label) {
			line += " "
		}
		line += word
	}
	fmt.Fprintln(w, line)
}
