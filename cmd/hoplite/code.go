package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"hoplite/cmd/hoplite/internal/command"
	"hoplite/cmd/hoplite/internal/terminal"
	"hoplite/mail"
	"hoplite/mail/refusal"
)

func codeCommand() *cobra.Command {
	var json *command.JSON
	cmd := &cobra.Command{
		Use:   "code CODE|TEXT",
		Short: "Explain a reply code, or the text of a refusal",
		Long: `Explain a reply code, or the text of a refusal or bounce: what it means, whose
job it is, and what to do next. Texts of well-known servers are recognised;
others are explained by their code.`,
		Example: `  hoplite code 452
  hoplite code 5.7.30
  hoplite code "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred"`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			text := strings.Join(args, " ")
			e := explain(text)
			if len(e.Refusals)+len(e.Codes) == 0 {
				return command.Refused(fmt.Errorf("no known text and no reply code in %q: give a code like 452 or 5.7.1, or the whole reply", text))
			}
			if json.On() {
				return command.List(cmd.OutOrStdout(), json, e.list())
			}
			e.print(cmd.OutOrStdout())
			return nil
		},
	}
	command.Exits(cmd, "there is an explanation", "there is none")
	json = command.JSONFlag(cmd.Flags())
	return cmd
}

// explanation holds the explanation of a reply.
type explanation struct {
	Refusals []refusal.Refusal
	Codes    []mail.Meaning
	// Bare is set if there is no text, so that every meaning of the code is
	// possible.
	Bare bool
}

func explain(text string) explanation {
	if refusal.IsBareCode(text) {
		e := explanation{Codes: mail.LookupCode(text), Bare: true}
		for _, r := range refusal.ByCode(text) {
			// An entry with the source of the code's own meaning repeats it.
			if !slices.ContainsFunc(e.Codes, func(m mail.Meaning) bool { return m.RFC == r.Source }) {
				e.Refusals = append(e.Refusals, r)
			}
		}
		return e
	}
	e := explanation{Refusals: refusal.Find(text)}
	if len(e.Refusals) == 0 {
		e.Codes = mail.LookupCode(text)
	}
	return e
}

func (e explanation) print(w io.Writer) {
	if !e.Bare && len(e.Refusals) == 0 {
		terminal.Wrap(w, "", "This text is not known; its code means:")
		fmt.Fprintln(w)
	}
	for i, m := range e.Codes {
		if i > 0 {
			fmt.Fprintln(w)
		}
		printMeaning(w, m)
	}
	if e.Bare && len(e.Refusals) > 0 {
		fmt.Fprintln(w)
		terminal.Wrap(w, "", "Some servers give this code a meaning of their own:")
	}
	for i, r := range e.Refusals {
		if i > 0 || e.Bare {
			fmt.Fprintln(w)
		}
		printRefusal(w, r)
	}
}

func printRefusal(w io.Writer, r refusal.Refusal) {
	terminal.Wrap(w, "from    ", r.By)
	terminal.Wrap(w, "  means ", r.Cause)
	terminal.Wrap(w, "  job   ", r.Job)
	terminal.Wrap(w, "  next  ", r.Next)
	terminal.Wrap(w, "  see   ", r.Source+" ("+r.Since+")")
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

// codeJSON is one explanation in JSON.
type codeJSON struct {
	Code   string   `json:"code,omitempty"`
	By     string   `json:"by,omitempty"`
	Means  string   `json:"means"`
	Why    []string `json:"why,omitempty"`
	Job    string   `json:"job,omitempty"`
	Next   string   `json:"next"`
	Source string   `json:"source,omitempty"`
}

// list returns the explanations in their JSON form.
func (e explanation) list() []codeJSON {
	list := []codeJSON{}
	for _, m := range e.Codes {
		list = append(list, codeJSON{Code: m.Code, Means: m.Title, Why: m.Why, Next: m.Next, Source: m.RFC})
	}
	for _, r := range e.Refusals {
		list = append(list, codeJSON{By: r.By, Means: r.Cause, Job: r.Job, Next: r.Next, Source: r.Source})
	}
	return list
}
