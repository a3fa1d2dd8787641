// Package attachments lists what a message contains, however it is packed: MIME
// parts, uuencode, BinHex 4.0, winmail.dat (TNEF), zip, gzip, bzip2 and tar,
// messages inside messages, and content that S/MIME signed or compressed.
//
// Start with [List]. Senders may pack things in order to exhaust a server or to
// hide from it, so depth, number, size and ratio are limited, and an [Item] that
// could not be scanned completely says why. What to do about an item is for the
// caller to decide; filters/attach applies an admin's rules.
package attachments
