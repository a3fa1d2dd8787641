// Package attachments lists the contents of a message, however they are packed:
// MIME parts, uuencode, BinHex 4.0, winmail.dat (TNEF), zip, gzip, bzip2 and
// tar, messages inside messages, and content that S/MIME signed or compressed.
//
// Start with [List]. Senders may pack files in order to exhaust a server or to
// hide from it, so depth, number, size and ratio are limited, and an [Item]
// that could not be scanned completely gives the reason. The caller decides
// what to do about an item; filters/attach applies an administrator's rules.
package attachments
