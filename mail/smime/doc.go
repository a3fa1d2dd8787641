// Package smime reads the S/MIME layers of a message (RFC 8551): which parts
// are signed, by whom, whether the signatures hold, whether the signers'
// certificates are trusted for mail and whether they match the sender, and
// which parts are encrypted. Package cms reads the CMS objects themselves.
//
// Start with [Checker.Message], which returns a [Report]. Nothing here decrypts
// or changes a message. What follows from a report is for the caller to decide;
// filters/smime does so for mail in transit.
package smime
