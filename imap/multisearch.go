package imap

import (
	"errors"
	"slices"
	"strings"

	"hoplite/imap/wire"
	"hoplite/maildrop"
	"hoplite/maildrop/maildir"
)

// handleESearch runs ESEARCH (RFC 7377): it searches several mailboxes and sends
// one response for each mailbox in which messages were found.
func handleESearch(a *account, c *call) error {
	c.args.SP()
	args := c.args.MultiSearch()
	if err := c.args.End(); err != nil {
		return err
	}
	c.uid = true // all responses contain UIDs
	defer func() { c.uid = false }()
	if args.Charset != "" && a.session.on.utf8 {
		return badf("No CHARSET after ENABLE UTF8=ACCEPT") // RFC 6855, 3
	}
	selectedOnly := len(args.In) == 0 || len(args.In) == 1 && args.In[0].Kind == wire.Selected
	if args.Return.Save && !selectedOnly {
		return badf("SAVE needs the selected mailbox")
	}
	args.Return.Given = true
	names, err := a.sources(args.In)
	if err != nil {
		return err
	}
	s, err := a.beginSearch(c, &args.Search)
	if err != nil {
		return err
	}
	defer s.end()
	for _, name := range names {
		if err := a.searchIn(s, name); err != nil {
			return err
		}
	}
	return nil
}

// searchIn searches one mailbox and sends the result. A mailbox that does not
// exist is skipped.
func (a *account) searchIn(s *searching, name string) error {
	if m := a.selected; m != nil && m.folder.Name() == name {
		return s.report(m)
	}
	folder, err := a.box.Folder(name)
	if errors.Is(err, maildrop.ErrNoFolder) || errors.Is(err, maildrop.ErrFolderName) {
		return nil
	}
	if err != nil {
		return err
	}
	defer folder.Close()
	snap, err := folder.Sync()
	if errors.Is(err, maildrop.ErrGone) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.report(&mailbox{account: a, out: s.call.out, folder: folder, readOnly: true, view: view{Snapshot: snap}})
}

// report searches a mailbox and sends the result, if any.
func (s *searching) report(m *mailbox) error {
	found, err := s.in(m)
	if err != nil || len(found) == 0 {
		return err
	}
	r := resultOf(m, s.call, s.args, found)
	r.mailbox, r.validity = m.account.names.encode(m.folder.Name()), m.view.Validity
	sendESearch(s.call, s.args.Return, r)
	return nil
}

// sources returns the names of the mailboxes in a filter, in the order of LIST
// and without duplicates. Without a filter, it is the selected mailbox.
func (a *account) sources(filters []wire.MailboxFilter) ([]string, error) {
	if len(filters) == 0 {
		filters = []wire.MailboxFilter{{Kind: wire.Selected}}
	}
	var all []listed
	for _, f := range filters {
		if f.Kind != wire.Selected && f.Kind != wire.Mailboxes {
			var err error
			if all, err = allNames(a.box); err != nil {
				return nil, err
			}
			break
		}
	}
	var names []string
	for i := range filters {
		more, err := a.matching(&filters[i], all)
		if err != nil {
			return nil, err
		}
		names = append(names, more...)
	}
	slices.SortFunc(names, compareNames)
	return slices.Compact(names), nil
}

// matching returns the names that one filter selects (RFC 5465, 6).
func (a *account) matching(f *wire.MailboxFilter, all []listed) ([]string, error) {
	var names []string
	if f.Kind == wire.Selected {
		if a.selected == nil {
			return nil, badf("No mailbox selected")
		}
		return []string{a.selected.folder.Name()}, nil
	}
	for _, wireName := range f.Names {
		name, err := a.names.folder(wireName)
		if err != nil {
			continue // no such mailbox
		}
		names = append(names, name)
	}
	if f.Kind == wire.Mailboxes {
		return names, nil
	}
	var out []string
	for i := range all {
		if all[i].Exists && selects(f.Kind, &all[i], names) {
			out = append(out, all[i].Name)
		}
	}
	return out, nil
}

// selects reports whether a filter selects a mailbox. names holds the names
// given in the filter.
func selects(kind wire.FilterKind, l *listed, names []string) bool {
	switch kind {
	case wire.Personal:
		return true
	case wire.Inboxes:
		// Mail can be delivered to INBOX and, by detail or rule, below it.
		return l.Name == maildir.Inbox || strings.HasPrefix(l.Name, maildir.Inbox+"/")
	case wire.Subscribed:
		return l.subscribed
	}
	return slices.ContainsFunc(names, func(top string) bool {
		below, ok := strings.CutPrefix(l.Name, top+"/")
		return l.Name == top || ok && (kind == wire.Subtree || !strings.Contains(below, "/"))
	})
}
