// Package maildir knows the files of a Maildir++ as Dovecot and Courier write
// them: message file names, folder names, the uidlist and its lock, keywords,
// subscriptions, UIDVALIDITY and quota files. It reads and writes them and
// nothing else; what a mailbox is made of is package maildrop's business.
//
// Files are reached through Dir, a handle on one directory that takes names
// without a slash and follows no symbolic link, so nothing here can leave the
// directory that it was given.
package maildir
