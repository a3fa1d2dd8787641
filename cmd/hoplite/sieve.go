package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hoplite/cmd/hoplite/internal/command"
	"hoplite/mail"
	"hoplite/mail/safe"
	"hoplite/mail/sieve"
)

func sieveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sieve",
		Short: "Try Sieve scripts on messages",
		Long: `Sieve is the language in which people sort their mail (RFC 5228). The command
compiles and runs scripts; nothing is stored or sent. Scripts are not yet run
when mail is delivered.`,
	}
	cmd.AddCommand(sieveTest())
	return cmd
}

// sieveResult is the output of hoplite sieve test --json.
type sieveResult struct {
	Actions []sieve.Action `json:"actions"`
	Errors  []string       `json:"errors"`
}

func sieveTest() *cobra.Command {
	var from, to string
	cmd := &cobra.Command{
		Use:   "test SCRIPT MESSAGE|-",
		Short: "Show what a script does with a message",
		Long: `Test compiles a Sieve script, runs it on a message and prints the actions. An
included script is read from the folder of SCRIPT, with or without the extension
.sieve. Without --from and --to, the envelope is taken from the Return-Path and
Delivered-To fields of the message.`,
		Example: `  hoplite sieve test vacation.sieve mail.eml
  hoplite sieve test --from ann@example.com --to bob@example.org a.sieve m.eml
  hoplite sieve test --json a.sieve - < mail.eml`,
		Args: cobra.ExactArgs(2),
	}
	asJSON := command.JSONFlag(cmd.Flags())
	cmd.Flags().StringVar(&from, "from", "", "reverse path, an `ADDRESS`")
	cmd.Flags().StringVar(&to, "to", "", "recipient, an `ADDRESS`")
	command.Exits(cmd, "the script ran", "the script has errors")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		text, err := os.ReadFile(args[0])
		if err != nil {
			return fmt.Errorf("read script: %w", err)
		}
		raw, err := readInput(cmd.InOrStdin(), args[1])
		if err != nil {
			return err
		}
		msg, err := mail.NewMessage(mail.Bytes(withCRLF(raw)))
		if err != nil {
			return fmt.Errorf("%s: %w", args[1], err)
		}
		env, err := sieveEnvironment(msg, from, to)
		if err != nil {
			return err
		}
		out := runSieve(args[0], text, msg, env)
		if asJSON.On() {
			err = asJSON.One(cmd.OutOrStdout(), out)
		} else {
			err = printSieve(cmd.OutOrStdout(), out, msg, env)
		}
		if err == nil && len(out.Errors) > 0 {
			return command.Findings
		}
		return err
	}
	return cmd
}

// withCRLF returns a message with CRLF line endings, as it is stored in files
// with either.
func withCRLF(b []byte) []byte {
	return bytes.ReplaceAll(bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
}

// sieveEnvironment returns the envelope for a test.
func sieveEnvironment(msg *mail.Message, from, to string) (*sieve.Environment, error) {
	for f := range mail.Fields(msg.Head) {
		switch {
		case from == "" && f.Is("Return-Path"):
			from = f.Text()
		case to == "" && f.Is("Delivered-To"):
			to = f.Text()
		}
	}
	env := &sieve.Environment{Now: time.Now()}
	for _, a := range []struct {
		text string
		addr *mail.Address
	}{{from, &env.From}, {to, &env.To}} {
		if text := strings.Trim(a.text, "<>"); text != "" {
			var err error
			if *a.addr, err = mail.ParseAddress(text); err != nil {
				return nil, fmt.Errorf("%s: %w", safe.Line(text), err)
			}
		}
	}
	env.Orig, env.Domain = env.To, env.To.Domain()
	return env, nil
}

func runSieve(path string, text []byte, msg *mail.Message, env *sieve.Environment) sieveResult {
	out := sieveResult{Actions: []sieve.Action{}, Errors: []string{}}
	script, err := sieve.Compile(filepath.Base(path), text, besides(filepath.Dir(path)))
	var errs sieve.Errors
	if errors.As(err, &errs) {
		for _, e := range errs {
			out.Errors = append(out.Errors, e.Error())
		}
		out.Actions = append(out.Actions, sieve.Action{Kind: sieve.Keep})
		return out
	}
	res := sieve.Run([]*sieve.Script{script}, msg, env)
	out.Actions = res.Actions
	if res.Err != nil {
		out.Errors = append(out.Errors, res.Err.Error())
	}
	return out
}

// besides returns a loader of the scripts in a folder.
func besides(dir string) sieve.Loader {
	return func(name string, _ bool) ([]byte, error) {
		for _, file := range []string{name, name + ".sieve"} {
			b, err := os.ReadFile(filepath.Join(dir, file))
			if !errors.Is(err, os.ErrNotExist) {
				return b, err
			}
		}
		return nil, sieve.ErrNoScript
	}
}

// printSieve prints the actions for a terminal.
func printSieve(w io.Writer, out sieveResult, msg *mail.Message, env *sieve.Environment) error {
	var b bytes.Buffer
	for _, e := range out.Errors {
		fmt.Fprintln(&b, safe.Line(e))
	}
	if len(out.Errors) > 0 {
		fmt.Fprintln(&b, "After an error the message is kept.")
	}
	for _, a := range out.Actions {
		fmt.Fprintln(&b, safe.Line(describeAction(a)))
		if a.Kind == sieve.Vacation {
			if why := sieve.WhyNoReply(msg, env.From, append(a.Reply.Addresses, string(env.To))); why != "" {
				fmt.Fprintln(&b, safe.Line("    this message gets no answer: "+why))
				continue
			}
		}
		for line := range strings.SplitSeq(strings.TrimSpace(a.Reason), "\n") {
			if line != "" {
				fmt.Fprintln(&b, "    "+safe.Line(line))
			}
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

// describeAction returns an action in one line, without its text.
func describeAction(a sieve.Action) string {
	s := string(a.Kind)
	switch a.Kind {
	case sieve.Keep:
		s = "keep: store in INBOX"
	case sieve.FileInto:
		s = "fileinto: store in " + a.Mailbox
		if a.Create {
			s += ", which is created if it does not exist"
		}
	case sieve.Redirect:
		s = "redirect: send to <" + string(a.Address) + ">"
	case sieve.Discard:
		s = "discard: the message is not stored"
	case sieve.Reject:
		s = "reject: refuse the message with this text"
	case sieve.Vacation:
		s = fmt.Sprintf("vacation: answer with this text, once in %s to each sender", period(a.Reply.Every))
	case sieve.Notify:
		s = "notify: send this text to <" + string(a.Address) + ">"
	}
	if len(a.Flags) > 0 {
		s += ", flags " + strings.Join(a.Flags, " ")
	}
	if a.Header != nil {
		s += ", with a changed header"
	}
	return s
}

// period returns a time between replies in days, or in smaller units.
func period(d time.Duration) string {
	if days := d / (24 * time.Hour); days > 0 && d%(24*time.Hour) == 0 {
		return fmt.Sprintf("%d days", days)
	}
	return d.String()
}
