package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/rs/zerolog"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"hoplite/internal/conf"
	"hoplite/internal/control"
	"hoplite/internal/users"
	"hoplite/mail"
	"hoplite/maildrop"
)

// boxCommand looks after mailboxes.
func boxCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "box",
		Short: "Mailboxes: list, check, import and export them",
		Long: `The box of an account is a Maildir that Dovecot and Courier understand. These
commands work beside a running server, which sees what they change.`,
	}
	cmd.AddCommand(boxList(), boxCheck(), boxReindex(), boxImport(), boxExport())
	return cmd
}

// boxes is what the box commands work on.
type boxes struct {
	accounts *users.Store
	store    *maildrop.Store
	running  bool // a server holds the data folder
	lock     io.Closer
}

// boxFlags adds -c and --maildrop and opens what they lead to.
func boxFlags(cmd *cobra.Command) func() (*boxes, error) {
	read := configFlag(cmd)
	name := cmd.Flags().String("maildrop", "", "which maildrop block, where there are several")
	return func() (*boxes, error) {
		// Mistakes in the rest of the file do not matter here; "check" tells them.
		cfg, _, err := read()
		if err != nil {
			return nil, err
		}
		drop, err := pickMaildrop(cfg, *name)
		if err != nil {
			return nil, err
		}
		if err := os.MkdirAll(cfg.Data, 0o750); err != nil {
			return nil, fmt.Errorf("data folder: %w", err)
		}
		b := &boxes{}
		if b.accounts, err = users.Open(cfg.under("users"), cfg.names(), zerolog.Nop()); err != nil {
			return nil, err
		}
		// The index belongs to the server while it runs.
		if b.lock, err = control.Lock(cfg.Data); err != nil {
			b.running = true
		}
		log := newLogger(&LogConfig{Level: "warn", Format: "text"})
		b.store, err = maildrop.Open(*drop, maildrop.Env{
			Data: cfg.Data, Log: log, NoIndex: b.running,
			Account: func(a mail.Address) (maildrop.Account, bool) {
				acc, ok := b.accounts.Account(string(a))
				if !ok {
					return maildrop.Account{}, false
				}
				return maildrop.Account{Quota: acc.Quota}, true
			},
		})
		return b, err
	}
}

func pickMaildrop(cfg *Config, name string) (*maildrop.Config, error) {
	for _, c := range cfg.Maildrop {
		if name == "" || c.Name == name {
			return c, nil
		}
	}
	if name != "" {
		return nil, fmt.Errorf("there is no maildrop %q", name)
	}
	return nil, errors.New("the configuration has no maildrop block")
}

func (b *boxes) close() {
	b.store.Close()
	if b.lock != nil {
		b.lock.Close()
	}
}

// open opens the box of an account that exists.
func (b *boxes) open(name string) (*maildrop.Box, error) {
	a, ok := b.accounts.Account(name)
	if !ok {
		return nil, refused(fmt.Errorf("there is no account %s", name))
	}
	return b.store.Box(mail.Address(a.Name))
}

// chosen are the accounts that were named, or all that have a box.
func (b *boxes) chosen(args []string) (names []string) {
	if len(args) > 0 {
		return args
	}
	for _, a := range b.accounts.Accounts() {
		if b.store.Exists(mail.Address(a.Name)) {
			names = append(names, a.Name)
		}
	}
	return names
}

// folderLine is one line of "box list".
type folderLine struct {
	Account  string `json:"account"`
	Folder   string `json:"folder,omitempty"`
	Folders  int    `json:"folders,omitempty"`
	Messages int    `json:"messages"`
	Unseen   int    `json:"unseen"`
	Octets   int64  `json:"octets"`
	Quota    int64  `json:"quota,omitempty"`
}

func boxList() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list [ADDRESS]",
		Short: "What the boxes hold; with an address, folder by folder",
		Args:  cobra.MaximumNArgs(1),
	}
	open := boxFlags(cmd)
	asJSON := cmd.Flags().Bool("json", false, "one JSON object a line")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		b, err := open()
		if err != nil {
			return err
		}
		defer b.close()
		var lines []folderLine
		for _, name := range b.chosen(args) {
			folders, err := b.folders(name)
			if err != nil {
				return err
			}
			if len(args) == 0 {
				folders = []folderLine{total(folders)}
			}
			lines = append(lines, folders...)
		}
		if *asJSON {
			return printJSONLines(cmd.OutOrStdout(), lines)
		}
		return printFolders(cmd.OutOrStdout(), lines, len(args) > 0)
	}
	return cmd
}

func (b *boxes) folders(name string) ([]folderLine, error) {
	box, err := b.open(name)
	if err != nil {
		return nil, err
	}
	defer box.Close()
	list, err := box.List()
	if err != nil {
		return nil, err
	}
	quota, err := box.Quota()
	if err != nil {
		return nil, err
	}
	var lines []folderLine
	for _, f := range list {
		if !f.Exists {
			continue
		}
		s, err := box.Status(f.Name)
		if err != nil {
			return nil, fmt.Errorf("%s, %s: %w", name, f.Name, err)
		}
		c := s.Counts()
		lines = append(lines, folderLine{
			Account: string(box.Account()), Folder: f.Name,
			Messages: c.Messages, Unseen: c.Unseen, Octets: c.Size, Quota: quota.SizeLimit,
		})
	}
	return lines, nil
}

func total(folders []folderLine) folderLine {
	var t folderLine
	for _, f := range folders {
		t.Account, t.Quota = f.Account, f.Quota
		t.Folders++
		t.Messages += f.Messages
		t.Unseen += f.Unseen
		t.Octets += f.Octets
	}
	return t
}

func printFolders(out io.Writer, lines []folderLine, each bool) error {
	if len(lines) == 0 {
		fmt.Fprintln(out, "no boxes yet: a box is made with its first mail or login")
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if each {
		fmt.Fprintln(w, "FOLDER\tMESSAGES\tUNSEEN\tSIZE")
	} else {
		fmt.Fprintln(w, "ACCOUNT\tFOLDERS\tMESSAGES\tUNSEEN\tSIZE\tQUOTA")
	}
	for _, l := range lines {
		if each {
			fmt.Fprintf(w, "%s\t%d\t%d\t%s\n", l.Folder, l.Messages, l.Unseen, conf.Bytes(l.Octets))
			continue
		}
		quota := "-"
		if l.Quota > 0 {
			quota = conf.Bytes(l.Quota).String()
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%s\t%s\n", l.Account, l.Folders, l.Messages, l.Unseen, conf.Bytes(l.Octets), quota)
	}
	return w.Flush()
}

func printJSONLines[T any](out io.Writer, lines []T) error {
	enc := json.NewEncoder(out)
	for _, l := range lines {
		if err := enc.Encode(l); err != nil {
			return err
		}
	}
	return nil
}

func boxCheck() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check [ADDRESS...]",
		Short: "Look for damage; with --fix, mend it",
		Long: `Looks at the files of each box: UID lists, names and sizes, doubled messages,
links, leftovers of deliveries, quota sums. Nothing is changed without --fix.`,
	}
	open := boxFlags(cmd)
	fix := cmd.Flags().Bool("fix", false, "show what is to be done, and do it")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		b, err := open()
		if err != nil {
			return err
		}
		defer b.close()
		wrong, out := 0, cmd.OutOrStdout()
		for _, name := range b.chosen(args) {
			n, err := b.check(cmd.Context(), out, name, *fix)
			if err != nil {
				return err
			}
			wrong += n
		}
		if wrong > 0 {
			return findings
		}
		fmt.Fprintln(out, "nothing to mend")
		return nil
	}
	return cmd
}

// check prints what is wrong with a box and returns how much is left so.
func (b *boxes) check(ctx context.Context, out io.Writer, name string, fix bool) (left int, err error) {
	box, err := b.open(name)
	if err != nil {
		return 0, err
	}
	defer box.Close()
	found, err := box.Check(ctx)
	if err != nil {
		return 0, err
	}
	for i := range found {
		f := &found[i]
		where := string(box.Account())
		if f.Folder != "" {
			where += ", " + f.Folder
		}
		fmt.Fprintf(out, "%s: %s\n", where, f.Text)
		switch {
		case f.Plan == "":
			left++
			fmt.Fprintln(out, "  a person has to look at this")
		case !fix:
			left++
			fmt.Fprintf(out, "  --fix would: %s\n", f.Plan)
		default:
			fmt.Fprintf(out, "  %s ... ", f.Plan)
			if err := f.Mend(); err != nil {
				fmt.Fprintln(out)
				return left, err
			}
			fmt.Fprintln(out, "done")
		}
	}
	return left, nil
}

func boxReindex() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reindex [ADDRESS...]",
		Short: "Throw the index away and make it anew",
		Long: `The index holds sizes, dates and rendered headers, and can be made anew at any
time. It belongs to the server while that runs: stop it first.`,
	}
	open := boxFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		b, err := open()
		if err != nil {
			return err
		}
		defer b.close()
		if b.running {
			return refused(errors.New("the server is running and uses the index: stop it first"))
		}
		for _, name := range b.chosen(args) {
			box, err := b.open(name)
			if err != nil {
				return err
			}
			n, err := box.Reindex(true)
			box.Close()
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %d messages\n", name, n)
		}
		return nil
	}
	return cmd
}

// counter is a progress bar on a terminal's stderr, and silent elsewhere.
func counter(cmd *cobra.Command, max int64, what string) *progressbar.ProgressBar {
	out, ok := cmd.ErrOrStderr().(*os.File)
	if st, err := stat(out, ok); err != nil || st.Mode()&os.ModeCharDevice == 0 {
		return progressbar.DefaultSilent(max, what)
	}
	return progressbar.NewOptions64(max, progressbar.OptionSetDescription(what), progressbar.OptionSetWriter(out),
		progressbar.OptionShowCount(), progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(30))
}

func stat(f *os.File, ok bool) (os.FileInfo, error) {
	if !ok {
		return nil, os.ErrInvalid
	}
	return f.Stat()
}

func boxImport() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import ADDRESS PATH",
		Short: "Bring mail over from an mbox file or another server's Maildir",
		Long: `PATH is an mbox file, or a Maildir of Dovecot or Courier with all its folders.
From a Maildir come UIDs, flags, keywords, subscriptions and POP3 names as well,
so that no client fetches its mail again; the account should not have been used
before. Running it again brings over what is missing.`,
		Example: `  hoplite box import ann@example.org /var/mail/ann
  hoplite box import ann@example.org --folder Old/2019 old.mbox
  hoplite box import ann@example.org /home/ann/Maildir`,
		Args: cobra.ExactArgs(2),
	}
	open := boxFlags(cmd)
	folder := cmd.Flags().String("folder", "INBOX", "folder for the messages of an mbox")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		b, err := open()
		if err != nil {
			return err
		}
		defer b.close()
		box, err := b.open(args[0])
		if err != nil {
			return err
		}
		defer box.Close()
		st, err := os.Stat(args[1])
		if err != nil {
			return err
		}
		var done maildrop.Transferred
		if st.IsDir() {
			done, err = importMaildir(cmd, b, box, args[1])
		} else {
			done, err = importMbox(cmd, box, *folder, args[1], st.Size())
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%d messages in %d folders; %d were here already\n", done.Messages, done.Folders, done.Known)
		return err
	}
	return cmd
}

func importMbox(cmd *cobra.Command, box *maildrop.Box, folder, path string, size int64) (maildrop.Transferred, error) {
	f, err := os.Open(path)
	if err != nil {
		return maildrop.Transferred{}, err
	}
	defer f.Close()
	bar := counter(cmd, size, "octets")
	defer bar.Finish()
	return box.ImportMbox(cmd.Context(), folder, f, func(at int64) { bar.Set64(at) })
}

func importMaildir(cmd *cobra.Command, b *boxes, box *maildrop.Box, path string) (maildrop.Transferred, error) {
	if b.running {
		return maildrop.Transferred{}, refused(errors.New("the server is running: stop it while a Maildir is brought over"))
	}
	bar := counter(cmd, -1, "messages")
	defer bar.Finish()
	return maildrop.CopyMaildir(cmd.Context(), path, b.store.Path(box.Account()), func() { bar.Add(1) })
}

func boxExport() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export ADDRESS PATH",
		Short: "Write a box as mbox files or as a Maildir",
		Long: `Writes a Maildir with UIDs, flags, keywords and subscriptions that Dovecot takes
as it is, or with --mbox a folder of mbox files, one for each folder.`,
		Args: cobra.ExactArgs(2),
	}
	open := boxFlags(cmd)
	mbox := cmd.Flags().Bool("mbox", false, "write mbox files")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		b, err := open()
		if err != nil {
			return err
		}
		defer b.close()
		box, err := b.open(args[0])
		if err != nil {
			return err
		}
		defer box.Close()
		bar := counter(cmd, -1, "messages")
		defer bar.Finish()
		var done maildrop.Transferred
		if *mbox {
			done, err = exportMbox(cmd.Context(), box, args[1], func() { bar.Add(1) })
		} else {
			done, err = maildrop.CopyMaildir(cmd.Context(), b.store.Path(box.Account()), args[1], func() { bar.Add(1) })
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%d messages in %d folders\n", done.Messages, done.Folders)
		return err
	}
	return cmd
}

// exportMbox writes each folder into a file of its own below dir.
func exportMbox(ctx context.Context, box *maildrop.Box, dir string, progress func()) (done maildrop.Transferred, err error) {
	list, err := box.List()
	if err != nil {
		return done, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return done, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return done, err
	}
	defer root.Close()
	for _, info := range list {
		if !info.Exists {
			continue
		}
		f, err := box.Folder(info.Name)
		if err != nil {
			return done, err
		}
		n, err := exportFolder(ctx, root, f, filepath.FromSlash(info.Name)+".mbox", progress)
		f.Close()
		if err != nil {
			return done, err
		}
		done.Folders++
		done.Messages += n
	}
	return done, nil
}

func exportFolder(ctx context.Context, root *os.Root, f *maildrop.Folder, path string, progress func()) (int, error) {
	if err := root.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return 0, err
	}
	w, err := root.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	n, err := f.ExportMbox(ctx, w, func(int) { progress() })
	if err == nil {
		err = w.Sync()
	}
	return n, errors.Join(err, w.Close())
}
