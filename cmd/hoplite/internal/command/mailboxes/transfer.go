package mailboxes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"hoplite/cmd/hoplite/internal/command"
	"hoplite/cmd/hoplite/internal/owner"
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
		fmt.Fprintf(cmd.OutOrStdout(), "%d messages in %d folders; %d already present\n", done.Messages, done.Folders, done.Known)
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
	open := boxFlags(cmd)
	command.Exits(cmd, "the mailbox was exported", "there is no such account or mailbox")
	mbox := cmd.Flags().Bool("mbox", false, "write mbox files")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		b, err := open(cmd, false)
		if err != nil {
			return err
		}
		defer b.close()
		box, err := b.existing(args[0])
		if err != nil {
			return err
		}
		if box == nil {
			return command.Refused(fmt.Errorf("%s has no mailbox yet", args[0]))
		}
		defer box.Close()
		bar := command.Counter(cmd, -1, "messages")
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

// exportMbox writes each folder to a file below dir.
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
	n, err := maildrop.ExportMbox(ctx, f, w, func(int) { progress() })
	if err == nil {
		err = w.Sync()
	}
	return n, errors.Join(err, w.Close())
}
