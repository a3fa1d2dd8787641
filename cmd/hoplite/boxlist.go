package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"hoplite/internal/conf"
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
	open := boxFlags(cmd)
	asJSON := cmd.Flags().Bool("json", false, "one JSON object a line")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		b, err := open(cmd, false)
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
			if len(args) == 0 && len(folders) > 0 {
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
	box, err := b.existing(name)
	if err != nil || box == nil {
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

func printJSONLines[T any](out io.Writer, lines []T) error {
	enc := json.NewEncoder(out)
	for _, l := range lines {
		if err := enc.Encode(l); err != nil {
			return err
		}
	}
	return nil
}
