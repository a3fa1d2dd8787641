// Package received reads one Received field (RFC 5321, 4.4) in any form that
// real servers write it.
//
// Parse is the place to start: a scanner cuts the value into words and
// comments, a clause reader places the words, a comment reader knows what each
// mail server writes in parentheses, and naming decides which of the client's
// names is which. The result is a Line, whose Defects name what is odd about it;
// no input is an error.
//
// The package knows one line at a time. What several lines mean together
// (clocks, trust, delays, loops) is the business of mail/trace.
package received

// Limits keep hostile fields cheap. They are far above what mail contains.
const (
	MaxField    = 64 << 10 // bytes read of one Received field
	MaxComments = 32       // comments kept of one field
	maxDepth    = 8        // nested comments told apart; deeper ones count as text
	maxTokens   = 4096     // words, comments and semicolons read of one field
)
