// Package maildir reads and writes the files of a Maildir++ as Dovecot and
// Courier do: message file names, folder names, the uidlist and its lock,
// keywords, subscriptions, UIDVALIDITY and Courier's lists. Combining these
// into a mailbox is left to package maildrop.
//
// Files are accessed through Dir, a handle on one directory that accepts no
// name with a slash and follows no symbolic link, so nothing in this package
// can leave the directory it was given. Start reading at Dir and UIDList.
package maildir
