// Package smime examines the S/MIME layers of a message (RFC 8551). It finds
// signed and encrypted parts, verifies the signatures, and checks whether the
// signers' certificates are trusted for mail and match the sender. CMS objects
// are parsed by package cms.
//
// Start with [Checker.Message], which returns a [Report]. The package never
// decrypts or changes a message. It is up to the caller to act on the report;
// filters/smime does so for mail in transit.
package smime
