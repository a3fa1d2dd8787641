package mailboxes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"hoplite/cmd/hoplite/internal/command"
	"hoplite/cmd/hoplite/internal/config"
	"hoplite/cmd/hoplite/internal/owner"
	"hoplite/cmd/hoplite/internal/terminal"
	"hoplite/internal/users"
	"hoplite/mail"
	"hoplite/maildrop"
)

func boxImport() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import ADDRESS PATH",
		Short: "Import mail from an mbox file or another server's Maildir",
		Long: `PATH is an mbox file, or a Maildir of Dovecot or Courier with all its folders.
From a Maildir, UIDs, flags, keywords, subscriptions and POP3 names are imported
as well, so that no client downloads its mail again; the account should not have
been used before. A second run imports what is missing.`,
		Example: `  hoplite box import ann@example.org /var/mail/ann
  hoplite box import ann@example.org --folder Old/2019 old.mbox
  hoplite box import ann@example.org /home/ann/Maildir`,
		Args: cobra.ExactArgs(2),
	}
	open := boxFlags(cmd)
	command.Exits(cmd, "the mail was imported", "there is no such account, or a running server is in the way")
	folder := cmd.Flags().String("folder", "INBOX", "folder for the messages of an mbox")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		from, err := os.Open(args[1]) // before root switches to the owner of the data folder
		if err != nil {
			return err
		}
		defer from.Close()
		st, err := from.Stat()
		if err != nil {
			return err
		}
		b, err := open(cmd, true)
		if err != nil {
			return err
		}
		defer b.close()
		box, err := b.open(args[0])
		if err != nil {
			return err
		}
		defer box.Close()
		var done maildrop.Transferred
		if st.IsDir() {
			done, err = importMaildir(cmd, b, box, args[1])
		} else {
			done, err = importMbox(cmd, box, *folder, from, st.Size())
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s in %s; %d already present\n",
			terminal.Count(done.Messages, "message"), terminal.Count(done.Folders, "folder"), done.Known)
		return err
	}
	return cmd
}

func importMbox(cmd *cobra.Command, box *maildrop.Box, folder string, f *os.File, size int64) (maildrop.Transferred, error) {
	bar := command.Counter(cmd, size, "octets")
	defer bar.Finish()
	return maildrop.ImportMbox(cmd.Context(), box, folder, f, func(at int64) { bar.Set64(at) })
}

func importMaildir(cmd *cobra.Command, b *boxes, box *maildrop.Box, path string) (maildrop.Transferred, error) {
	if b.running {
		return maildrop.Transferred{}, command.Refused(errors.New("the server is running: stop it to import a Maildir"))
	}
	owner.ReadAll() // the Maildir may belong to the mailbox's user
	bar := command.Counter(cmd, -1, "messages")
	defer bar.Finish()
	return maildrop.CopyMaildir(cmd.Context(), path, b.store.Path(box.Account()), func() { bar.Add(1) })
}

func boxExport() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export ADDRESS PATH",
		Short: "Export a mailbox as mbox files or as a Maildir",
		Long: `Export writes a Maildir that Dovecot can use as it is, with UIDs, flags,
keywords and subscriptions, or with --mbox a folder of mbox files, one for each
folder. Started by root, it writes PATH as the owner of the data folder.`,
		Args: cobra.ExactArgs(2),
	}
	site := command.SiteFlag(cmd.Flags())
	name := maildropFlag(cmd)
	command.Exits(cmd, "the mailbox was exported", "there is no such account or mailbox")
	mbox := cmd.Flags().Bool("mbox", false, "write mbox files")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := site(cmd, false)
		if err != nil {
			return err
		}
		defer cfg.Close()
		view, account, err := openView(cfg.Config, *name, args[0])
		if err != nil {
			return err
		}
		defer view.Close()
		bar := command.Counter(cmd, -1, "messages")
		defer bar.Finish()
		var done maildrop.Transferred
		if *mbox {
			done, err = exportMbox(cmd.Context(), view, account, args[1], func() { bar.Add(1) })
		} else {
			done, err = maildrop.CopyMaildir(cmd.Context(), view.Path(account), args[1], func() { bar.Add(1) })
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s in %s\n", terminal.Count(done.Messages, "message"), terminal.Count(done.Folders, "folder"))
		return err
	}
	return cmd
}

// openView opens the maildrop called name to read the mailbox of an account,
// which must exist.
func openView(cfg *config.Config, name, account string) (*maildrop.View, mail.Address, error) {
	drop, err := pickMaildrop(cfg, name)
	if err != nil {
		return nil, "", err
	}
	accounts, err := users.Open(cfg.Under("users"), cfg.Names(), zerolog.Nop())
	if err != nil {
		return nil, "", err
	}
	a, ok := accounts.Account(account)
	if !ok {
		return nil, "", command.Refused(fmt.Errorf("there is no account %s", account))
	}
	view, err := maildrop.OpenView(*drop, cfg.Data)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, "", err
	}
	if err == nil && view.Exists(mail.Address(a.Name)) {
		return view, mail.Address(a.Name), nil
	}
	if err == nil {
		view.Close()
	}
	return nil, "", command.Refused(fmt.Errorf("%s has no mailbox yet", account))
}

// exportMbox writes each folder to a file below dir.
func exportMbox(ctx context.Context, view *maildrop.View, account mail.Address, dir string, progress func()) (done maildrop.Transferred, err error) {
	list, err := view.Folders(account)
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
	for _, folder := range list {
		path := filepath.FromSlash(folder.Name) + ".mbox"
		if err := root.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return done, err
		}
		w, err := root.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return done, err
		}
		n, err := view.ExportMbox(ctx, account, folder.Name, w, progress)
		if err == nil {
			err = w.Sync()
		}
		if err = errors.Join(err, w.Close()); err != nil {
			return done, err
		}
		done.Folders++
		done.Messages += n
	}
	return done, nil
}
