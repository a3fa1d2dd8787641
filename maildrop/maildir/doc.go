// Package maildir reads and writes the files of a Maildir++ as Dovecot and
// Courier do: message file names, folder names, the uidlist and its lock,
// keywords, subscriptions, UIDVALIDITY and Courier's lists. Combining these
// into a mailbox is left to package maildrop.
//
// All access to files goes through Dir, a handle on one directory that rejects
// names with a slash and never follows symbolic links, so this package cannot
// access anything outside the directory that it was given. Start with Dir and
// UIDList.
package maildir
