// Package received parses one Received field (RFC 5321, 4.4) in any format that
// mail servers write.
//
// Start with Parse. A scanner splits the value into words and comments, the
// clause reader assigns the words to clauses, the comment reader knows the
// comments of each mail server, and naming determines which of the client's
// names came from HELO and which from DNS. The result is a Line. Its Defects
// list the irregularities; no input is an error.
//
// The package handles one line at a time. Conclusions from several lines (clocks,
// trust, delays, loops) belong to mail/trace.
package received

// These limits bound the cost of malicious fields. They are far above anything
// in genuine mail.
const (
	MaxField    = 64 << 10 // bytes that are read of one Received field
	MaxComments = 32       // comments kept of one field
	maxDepth    = 8        // depth of nested comments; deeper ones are treated as text
	maxTokens   = 4096     // words, comments and semicolons read of one field
)
