package mailboxes

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"text/tabwriter"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"hoplite/cmd/hoplite/internal/command"
	"hoplite/cmd/hoplite/internal/config"
	"hoplite/internal/conf"
	"hoplite/internal/users"
	"hoplite/mail"
	"hoplite/maildrop"
)

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
		Short: "List mailboxes; with an address, its folders",
		Args:  cobra.MaximumNArgs(1),
	}
	site := command.SiteFlag(cmd.Flags())
	name := maildropFlag(cmd)
	json := command.JSONFlag(cmd.Flags())
	command.Exits(cmd, "the list was printed", "there is no such account")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := site(cmd, false)
		if err != nil {
			return err
		}
		defer cfg.Close()
		lines, err := list(cfg.Config, *name, args)
		if err != nil {
			return err
		}
		if json.On() {
			return command.List(cmd.OutOrStdout(), json, lines)
		}
		return printFolders(cmd.OutOrStdout(), lines, len(args) > 0)
	}
	return cmd
}

// list returns one line for each account's mailbox, or for each folder of one
// account. It changes nothing; even new messages stay new.
func list(cfg *config.Config, name string, args []string) (lines []folderLine, err error) {
	drop, err := pickMaildrop(cfg, name)
	if err != nil {
		return nil, err
	}
	store, err := users.Open(cfg.Under("users"), cfg.Names(), zerolog.Nop())
	if err != nil {
		return nil, err
	}
	accounts := store.Accounts()
	if len(args) > 0 {
		a, ok := store.Account(args[0])
		if !ok {
			return nil, command.Refused(fmt.Errorf("there is no account %s", args[0]))
		}
		accounts = []*users.Account{a}
	}
	view, err := maildrop.OpenView(*drop, cfg.Data)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer view.Close()
	for _, a := range accounts {
		if !view.Exists(mail.Address(a.Name)) {
			continue
		}
		folders, err := view.Folders(mail.Address(a.Name))
		if err != nil {
			return nil, err
		}
		quota := a.Quota
		if quota == 0 {
			quota = int64(drop.Quota)
		}
		if len(args) == 0 {
			lines = append(lines, total(a.Name, folders, quota))
			continue
		}
		for _, f := range folders {
			lines = append(lines, folderLine{a.Name, f.Name, 0, f.Messages, f.Unseen, f.Octets, quota})
		}
	}
	return lines, nil
}

func total(account string, folders []maildrop.FolderSize, quota int64) folderLine {
	t := folderLine{Account: account, Quota: quota}
	for _, f := range folders {
		t.Folders++
		t.Messages += f.Messages
		t.Unseen += f.Unseen
		t.Octets += f.Octets
	}
	return t
}

func printFolders(out io.Writer, lines []folderLine, each bool) error {
	if len(lines) == 0 {
		fmt.Fprintln(out, "no mailboxes yet: one is created at the first mail or login")
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
