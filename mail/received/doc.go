// Package received parses one Received field (RFC 5321, 4.4) in any format that
// mail servers write.
//
// Start with Parse. A scanner splits the value into words and comments, the
// clause reader assigns the words to clauses, the comment reader interprets the
// comments of each mail server, and naming determines which of the client's
// names came from HELO and which from DNS. The result is a Line. Parsing never
// fails; irregularities are recorded as Defects.
//
// The package handles one line at a time. Anything that requires several lines
// (clocks, trust, delays, loops) is left to mail/trace.
package received

// These limits bound the cost of malicious fields. They are far above anything
// found in genuine mail.
const (
	MaxField    = 64 << 10 // maximum number of bytes read from a Received field
	MaxComments = 32       // maximum number of comments kept
	maxDepth    = 8        // maximum depth of nested comments; deeper ones are treated as text
	maxTokens   = 4096     // maximum number of words, comments and semicolons read
)
