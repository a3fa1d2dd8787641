// Package smime examines the S/MIME layers of a message (RFC 8551). It finds
// signed and encrypted parts, verifies the signatures, and checks whether the
// signers' certificates are trusted for mail and match the sender. Package cms
// reads the CMS objects themselves.
//
// Start with [Checker.Message], which returns a [Report]. The package never
// decrypts or changes a message. The caller decides what to do about a report;
// filters/smime does so for mail in transit.
package smime
