// Package attachments lists the contents of a message, however they are packed:
// MIME parts, uuencode, BinHex 4.0, winmail.dat (TNEF), archives, messages
// inside messages, and signed or compressed S/MIME content.
//
// Start with [List]. Files may be packed in order to exhaust a server or to
// evade it, so depth, number, size and ratio are limited, and an [Item] that
// could not be scanned completely contains the reason. It is up to the caller
// to act on an item; filters/attach applies an administrator's rules.
package attachments
