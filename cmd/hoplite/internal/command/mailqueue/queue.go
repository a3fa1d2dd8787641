// Package mailqueue holds the commands hoplite queue, which show and manage
// queued mail.
//
// Package relay/queue implements the queue itself. Package queueadmin provides
// access to it, through a running server or the files of a stopped one.
package mailqueue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"hoplite/cmd/hoplite/internal/command"
	"hoplite/cmd/hoplite/internal/queueadmin"
	"hoplite/cmd/hoplite/internal/terminal"
	"hoplite/internal/conf"
	"hoplite/mail"
	"hoplite/relay/queue"
)

// Command returns the command hoplite queue.
func Command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "queue",
		Short: "Show and manage queued mail",
		Long: `Queue talks to the running server over control.sock in the data folder, or works
on the files of a stopped one.

Without a sub-command it prints totals by the recipients' domain and by age.
Messages are selected by their ids or by flags; without any, all are selected.`,
		Example: `  hoplite queue
  hoplite queue list --to example.net --older 4h
  hoplite queue show 06fyz8qk3v9d2m1a --trail
  hoplite queue retry --to example.net
  hoplite queue bounce --from spammer@example.org --text "account was stolen"
  hoplite queue reroute backup --upstream internet
  hoplite queue export --dir /tmp/mail --all`,
		Args: cobra.NoArgs,
	}
	c := &queueCmd{open: command.SiteFlag(cmd.PersistentFlags())}
	c.json = command.JSONFlag(cmd.PersistentFlags())
	command.Exits(cmd, "the totals were printed", "")
	c.pickFlags(cmd)
	cmd.RunE = c.reads(c.totals)
	cmd.AddCommand(c.listCommand(), c.showCommand(), c.exportCommand())
	for _, o := range []struct{ do, short, text string }{
		{"retry", "Attempt delivery now, regardless of the schedule", ""},
		{"hold", "Hold messages until they are released", "reason, shown in the queue"},
		{"release", "Release held messages", ""},
		{"delete", "Delete messages without a report to their senders", ""},
		{"bounce", "Return messages to their senders", "text for the report"},
	} {
		cmd.AddCommand(c.orderCommand(o.do, o.short, o.text))
	}
	cmd.AddCommand(c.rerouteCommand())
	return cmd
}

// queueCmd is shared by the sub-commands.
type queueCmd struct {
	open command.SiteOpener
	json *command.JSON
	all  bool
	pick struct{ to, from, upstream, state, older, younger string }
}

func (c *queueCmd) pickFlags(cmd *cobra.Command) {
	f := cmd.PersistentFlags()
	f.StringVar(&c.pick.to, "to", "", "a recipient's address or domain")
	f.StringVar(&c.pick.from, "from", "", "the sender's address or domain")
	f.StringVar(&c.pick.upstream, "upstream", "", "the upstream that it is queued for")
	f.StringVar(&c.pick.state, "state", "", "active, deferred or held")
	f.StringVar(&c.pick.older, "older", "", "older than this, for example 30m or 2d")
	f.StringVar(&c.pick.younger, "younger", "", "younger than this")
}

// filter returns the filter specified by flags and arguments.
func (c *queueCmd) filter(ids []string) (queue.Filter, error) {
	f := queue.Filter{IDs: ids, To: c.pick.to, From: c.pick.from, Upstream: c.pick.upstream, State: c.pick.state}
	switch f.State {
	case "", "active", "deferred", "held":
	default:
		return f, fmt.Errorf("unknown state %q: use active, deferred or held", f.State)
	}
	for flag, text := range map[string]string{"to": f.To, "from": f.From} {
		if _, err := mail.ParsePattern(text); text != "" && err != nil {
			return f, fmt.Errorf("--%s: %w", flag, err)
		}
	}
	for _, age := range []struct {
		flag, text string
		into       *time.Duration
	}{{"older", c.pick.older, &f.Older}, {"younger", c.pick.younger, &f.Younger}} {
		if age.text == "" {
			continue
		}
		d, err := conf.ParseDuration(age.text)
		if err != nil {
			return f, fmt.Errorf("--%s: %w", age.flag, err)
		}
		*age.into = d
	}
	return f, nil
}

// queueRun is the body of a command that works on an open queue.
type queueRun func(cmd *cobra.Command, a queueadmin.Admin, args []string) error

// reads returns a function that opens the queue and runs f on it. f must not
// change the queue.
func (c *queueCmd) reads(f queueRun) func(*cobra.Command, []string) error { return c.with(f, false) }

// changes is like reads, but for commands that change the queue.
func (c *queueCmd) changes(f queueRun) func(*cobra.Command, []string) error { return c.with(f, true) }

func (c *queueCmd) with(f queueRun, changes bool) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		cfg, err := c.open(cmd, changes)
		if err != nil {
			return err
		}
		defer cfg.Close()
		log := zerolog.New(zerolog.ConsoleWriter{Out: cmd.ErrOrStderr()}).Level(zerolog.WarnLevel)
		a, closer, err := queueadmin.Connect(cmd.Context(), cfg.Config, changes, log)
		if err != nil {
			return err
		}
		return errors.Join(f(cmd, a, args), closer.Close())
	}
}

func (c *queueCmd) listCommand() *cobra.Command {
	var limit int
	cmd := &cobra.Command{Use: "list [ID...]", Short: "List messages, oldest first"}
	command.Exits(cmd, "the list was printed", "")
	cmd.Flags().IntVar(&limit, "limit", 1000, "list at most this many; 0 for all")
	cmd.RunE = c.reads(func(cmd *cobra.Command, a queueadmin.Admin, args []string) error {
		f, err := c.filter(args)
		if err != nil {
			return err
		}
		ask := limit
		if limit > 0 {
			ask++ // one more, to detect whether there are others
		}
		all, err := a.List(cmd.Context(), f, ask)
		if err != nil {
			return err
		}
		more := limit > 0 && len(all) > limit
		if more {
			all = all[:limit]
		}
		if c.json.On() {
			err = command.List(cmd.OutOrStdout(), c.json, all)
		} else {
			printList(cmd.OutOrStdout(), all)
		}
		if more {
			fmt.Fprintf(cmd.ErrOrStderr(), "These are the oldest %d; --limit 0 lists all.\n", limit)
		}
		return err
	})
	return cmd
}

func (c *queueCmd) showCommand() *cobra.Command {
	var body, trail bool
	cmd := &cobra.Command{Use: "show ID", Short: "Show everything about a message", Args: cobra.ExactArgs(1)}
	command.Exits(cmd, "the message was printed", "there is no such message in the queue")
	cmd.Flags().BoolVar(&body, "body", false, "also print the message itself")
	cmd.Flags().BoolVar(&trail, "trail", false, "also print the verdict of every stage")
	cmd.RunE = c.reads(func(cmd *cobra.Command, a queueadmin.Admin, args []string) error {
		d, err := a.Show(cmd.Context(), args[0])
		if err != nil {
			return command.Refused(err)
		}
		out := cmd.OutOrStdout()
		if c.json.On() {
			err = c.json.One(out, d)
		} else {
			printDetail(out, d, trail)
		}
		if err == nil && body {
			fmt.Fprintln(out)
			err = a.Export(cmd.Context(), args[0], out)
		}
		return err
	})
	return cmd
}

func (c *queueCmd) exportCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "export [ID...]",
		Short: "Export messages: one to stdout, or several to a folder",
		Long: `Export writes one message to stdout, or with --dir each message as ID.eml and
ID.json. Another server queues such pairs when they are moved into its
queue/inject.`,
	}
	command.Exits(cmd, "the messages were exported", "some were not: they are not in the queue, or cannot be read")
	cmd.Flags().StringVar(&dir, "dir", "", "folder for the pairs")
	cmd.Flags().BoolVar(&c.all, "all", false, "apply to every match; without filters, to the whole queue")
	cmd.RunE = c.reads(func(cmd *cobra.Command, a queueadmin.Admin, args []string) error {
		f, err := c.some(args)
		if err != nil {
			return err
		}
		if dir == "" {
			if len(args) != 1 {
				return errors.New("only one message can go to stdout; for several use --dir")
			}
			if err := a.Export(cmd.Context(), args[0], cmd.OutOrStdout()); err != nil {
				return command.Refused(err)
			}
			return nil
		}
		return c.export(cmd, a, f, dir)
	})
	return cmd
}

// export writes pairs of files to dir. Mail that is delivered in the meantime
// is skipped.
func (c *queueCmd) export(cmd *cobra.Command, a queueadmin.Admin, f queue.Filter, dir string) error {
	all, err := a.List(cmd.Context(), f, 0)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	bar := command.Counter(cmd, int64(len(all)), "export")
	defer bar.Exit()
	gone := 0
	for i := range all {
		if err := exportPair(cmd.Context(), a, dir, &all[i]); err != nil {
			still, e := a.List(cmd.Context(), queue.Filter{IDs: []string{all[i].ID}}, 1)
			if e != nil || len(still) > 0 {
				return command.Refused(fmt.Errorf("export %s: %w", all[i].ID, err))
			}
			os.Remove(filepath.Join(dir, all[i].ID+".eml"))
			gone++
		}
		bar.Add(1)
	}
	syscall.Sync() // the admin may delete the mail after "exported"; one sync is cheaper than one per file
	fmt.Fprintf(cmd.OutOrStdout(), "%s exported\n", terminal.Count(len(all)-gone, "message"))
	if gone > 0 {
		fmt.Fprintf(cmd.OutOrStdout(), "%d left the queue in the meantime; hold mail before moving it\n", gone)
	}
	return missing(f.IDs, len(all))
}

// exportPair writes the message first, so that inject never finds a .json file
// whose .eml file is incomplete.
func exportPair(ctx context.Context, a queueadmin.Admin, dir string, in *queue.Info) error {
	d, err := a.Show(ctx, in.ID)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, in.ID+".eml"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = a.Export(ctx, in.ID, f)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	text, err := d.EnvelopeFile()
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, in.ID+".json"), text, 0o600)
}

// some is like filter, but for commands that change mail. They require an id, a
// flag or --all.
func (c *queueCmd) some(ids []string) (queue.Filter, error) {
	f, err := c.filter(ids)
	if err == nil && f.Empty() && !c.all {
		err = errors.New("no messages selected: give ids, flags such as --to, or --all")
	}
	return f, err
}

func missing(ids []string, found int) error {
	if found < len(ids) {
		return command.Refused(fmt.Errorf("%d of %d ids are not in the queue", len(ids)-found, len(ids)))
	}
	return nil
}

func (c *queueCmd) orderCommand(do, short, textUse string) *cobra.Command {
	var text string
	cmd := &cobra.Command{Use: do + " [ID...]", Short: short}
	command.Exits(cmd, "all selected messages were changed", "some were not: they are being delivered, or not in the queue")
	cmd.Flags().BoolVar(&c.all, "all", false, "apply to every match; without filters, to the whole queue")
	if textUse != "" {
		cmd.Flags().StringVar(&text, "text", "", textUse)
	}
	cmd.RunE = c.changes(func(cmd *cobra.Command, a queueadmin.Admin, args []string) error {
		return c.order(cmd, a, do, text, args)
	})
	return cmd
}

func (c *queueCmd) rerouteCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reroute UPSTREAM [ID...]",
		Short: "Move messages to another upstream",
		Args:  cobra.MinimumNArgs(1),
	}
	command.Exits(cmd, "all selected messages were moved", "some were not: they are being delivered, or not in the queue")
	cmd.Flags().BoolVar(&c.all, "all", false, "apply to every match; without filters, to the whole queue")
	cmd.RunE = c.changes(func(cmd *cobra.Command, a queueadmin.Admin, args []string) error {
		return c.order(cmd, a, "reroute", args[0], args[1:])
	})
	return cmd
}

func (c *queueCmd) order(cmd *cobra.Command, a queueadmin.Admin, do, text string, ids []string) error {
	f, err := c.some(ids)
	if err != nil {
		return err
	}
	bar := command.Counter(cmd, 1, do)
	p, err := a.Execute(cmd.Context(), queue.Order{Do: do, Filter: f, Text: text}, func(p queue.Progress) {
		bar.ChangeMax(p.Of)
		bar.Set(p.Done + p.Busy + p.Held)
	})
	bar.Finish()
	if err != nil {
		return command.Refused(err)
	}
	out := cmd.OutOrStdout()
	if c.json.On() {
		err = c.json.One(out, p)
	} else {
		fmt.Fprintf(out, "%s: %s\n", do, terminal.Count(p.Done, "message"))
		if p.Held > 0 {
			fmt.Fprintf(out, "%d more are held until they are released\n", p.Held)
		}
	}
	if p.Busy > 0 {
		err = errors.Join(err, command.Refused(fmt.Errorf("%s being delivered right now: try again", terminal.Count(p.Busy, "message"))))
	}
	return errors.Join(err, missing(ids, p.Of))
}
