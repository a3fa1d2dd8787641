package imap

import (
	"errors"
	"slices"
	"strings"

	"hoplite/maildrop"
)

// specialUses lists the attributes that CREATE can set (RFC 6154, 2).
var specialUses = []string{`\All`, `\Archive`, `\Drafts`, `\Flagged`, `\Junk`, `\Sent`, `\Trash`}

// readName reads the arguments of a command that takes one mailbox name.
func readName(a *account, c *call) (string, error) {
	c.args.SP()
	wireName := c.args.AString()
	if err := c.args.End(); err != nil {
		return "", err
	}
	return a.names.folder(wireName)
}

// handleCreate runs CREATE (RFC 9051, 6.3.4; RFC 6154).
func handleCreate(a *account, c *call) error {
	c.args.SP()
	cmd := c.args.Create()
	if err := c.args.End(); err != nil {
		return err
	}
	use, err := specialUse(cmd.Use)
	if err != nil {
		return err
	}
	name, err := a.names.newFolder(cmd.Mailbox)
	if err == nil {
		err = a.box.Create(name, use)
	}
	if err != nil {
		return invalidName(err)
	}
	snap, err := a.box.Status(name)
	if err != nil {
		return err
	}
	if a.session.srv.dialect.has("OBJECTID") {
		c.setCode("MAILBOXID (%s)", mailboxID(snap))
	}
	return nil
}

// specialUse returns the only attribute in the list in the form in which it is
// stored, or "" for an empty list.
func specialUse(attributes []string) (string, error) {
	use := ""
	for _, u := range attributes {
		i := slices.IndexFunc(specialUses, func(k string) bool { return strings.EqualFold(k, u) })
		if i < 0 || use != "" {
			return "", nof("[USEATTR] Special use not supported")
		}
		use = specialUses[i]
	}
	return use, nil
}

// invalidName replaces the error for a name that the store cannot represent, in
// commands that create mailboxes.
func invalidName(err error) error {
	if errors.Is(err, maildrop.ErrFolderName) {
		return errName
	}
	return err
}

// mailboxID returns a folder's id, which does not change when the folder is
// renamed (RFC 8474, 4).
func mailboxID(snap *maildrop.Snapshot) string { return objectID('F', snap.GUID) }

// handleDelete runs DELETE (RFC 9051, 6.3.5).
func handleDelete(a *account, c *call) error {
	name, err := readName(a, c)
	if err != nil {
		return err
	}
	if a.selected != nil && a.selected.folder.Name() == name {
		a.unselect()
	}
	return a.box.Delete(name)
}

// handleRename runs RENAME (RFC 9051, 6.3.6).
func handleRename(a *account, c *call) error {
	c.args.SP()
	from := c.args.AString()
	c.args.SP()
	to := c.args.AString()
	if err := c.args.End(); err != nil {
		return err
	}
	old, err := a.names.folder(from)
	if err != nil {
		return err
	}
	name, err := a.names.newFolder(to)
	if err == nil {
		err = a.box.Rename(old, name)
	}
	return invalidName(err)
}

// handleSubscribe runs SUBSCRIBE (RFC 9051, 6.3.7).
func handleSubscribe(a *account, c *call) error {
	name, err := readName(a, c)
	if err != nil {
		return err
	}
	return a.box.Subscribe(name, true)
}

// handleUnsubscribe runs UNSUBSCRIBE (RFC 9051, 6.3.8).
func handleUnsubscribe(a *account, c *call) error {
	name, err := readName(a, c)
	if err != nil {
		return err
	}
	return a.box.Subscribe(name, false)
}
