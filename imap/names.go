package imap

import (
	"strings"
	"unicode/utf8"

	"hoplite/imap/wire"
	"hoplite/maildrop"
	"hoplite/maildrop/maildir"
)

// naming translates between the store's names, which are UTF-8 with "/" between
// levels, and names on the wire, which use the separator and prefix that were
// configured at login.
type naming struct {
	separator, prefix string
	utf8              bool // enabled by the client; otherwise modified UTF-7
}

// decode converts a name or pattern from the wire to UTF-8.
func (n *naming) decode(name string) (string, error) {
	if !n.utf8 {
		plain, err := maildir.DecodeUTF7(name)
		if err == nil {
			return plain, nil
		}
		// Some clients send UTF-8 without enabling it.
		if strings.Contains(name, "&") {
			return "", maildrop.ErrFolderName
		}
	}
	if !utf8.ValidString(name) {
		return "", maildrop.ErrFolderName
	}
	return name, nil
}

// folder returns the store's name for a mailbox name from the wire.
func (n *naming) folder(name string) (string, error) {
	plain, err := n.decode(name)
	if err != nil {
		return "", err
	}
	return n.stored(plain)
}

// newFolder is like folder, but for a mailbox to be created. It drops a
// trailing separator, which declares that the client will create mailboxes
// below this one, because every mailbox can have children (RFC 9051, 6.3.4).
func (n *naming) newFolder(name string) (string, error) {
	plain, err := n.decode(name)
	if err != nil {
		return "", err
	}
	return n.stored(strings.TrimSuffix(plain, n.separator))
}

// stored returns the store's name for a mailbox name in UTF-8.
func (n *naming) stored(name string) (string, error) {
	if strings.EqualFold(name, maildir.Inbox) {
		return maildir.Inbox, nil
	}
	if n.prefix != "" {
		if len(name) < len(n.prefix) || !strings.EqualFold(name[:len(n.prefix)], n.prefix) {
			return "", maildrop.ErrFolderName
		}
		name = name[len(n.prefix):]
	}
	if n.separator != "/" {
		if strings.Contains(name, "/") {
			return "", maildrop.ErrFolderName
		}
		name = strings.ReplaceAll(name, n.separator, "/")
	}
	return name, nil
}

// shown returns the store's name as clients see it, in UTF-8.
func (n *naming) shown(name string) string {
	if name == maildir.Inbox {
		return name
	}
	if n.separator != "/" {
		name = strings.ReplaceAll(name, "/", n.separator)
	}
	return n.prefix + name
}

// encode returns the store's name encoded as an astring.
func (n *naming) encode(name string) string {
	name = n.shown(name)
	if !n.utf8 {
		return string(wire.AppendAString(nil, maildir.EncodeUTF7(name)))
	}
	for i := range len(name) {
		if name[i] >= 0x80 {
			return string(wire.AppendString(nil, name, true))
		}
	}
	return string(wire.AppendAString(nil, name))
}

// quotedSeparator returns the separator in the form that LIST sends.
func (n *naming) quotedSeparator() string { return `"` + n.separator + `"` }
