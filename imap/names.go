package imap

import (
	"strings"
	"unicode/utf8"

	"hoplite/imap/wire"
	"hoplite/maildrop"
	"hoplite/maildrop/maildir"
)

// naming translates between the names of the store, which are UTF-8 with "/"
// between levels, and those on the wire, which have the separator and prefix
// configured at the time of the login.
type naming struct {
	separator, prefix string
	utf8              bool // the client has enabled UTF-8; otherwise modified UTF-7
}

// decode converts a name or pattern from the wire to UTF-8.
func (n *naming) decode(name string) (string, error) {
	if !n.utf8 {
		plain, err := maildir.DecodeUTF7(name)
		if err == nil {
			return plain, nil
		}
		// Some clients send UTF-8 without having enabled it.
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

// newFolder is like folder, but for a mailbox to be created. A separator at the
// end, which announces mailboxes below the new one, is dropped because every
// mailbox may have mailboxes below it (RFC 9051, 6.3.4).
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

// shown returns a store's name as shown to clients, in UTF-8.
func (n *naming) shown(name string) string {
	if name == maildir.Inbox {
		return name
	}
	if n.separator != "/" {
		name = strings.ReplaceAll(name, "/", n.separator)
	}
	return n.prefix + name
}

// encode returns a store's name encoded as an astring.
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

// quotedSeparator returns the separator as LIST sends it.
func (n *naming) quotedSeparator() string { return `"` + n.separator + `"` }
