// Package trace reads where a message has been.
//
// Parse reads one Received field in any form that real servers write it; Read
// takes a whole header block and returns a Trace: the hops, how long each
// step took once wrong clocks are accounted for, which lines were written by
// servers whose word counts, loops, and findings in words.
//
// The package reads text and judges it. It resolves no names, verifies no
// signatures and holds no state; what it needs to know about this
// installation comes in Options. Nothing in a message makes it fail: what is
// odd becomes a Defect of the hop or a Finding of the trace.
package trace

// Limits keep hostile headers cheap. They are far above what mail contains.
const (
	MaxField    = 64 << 10 // bytes read of one Received field
	MaxHops     = 200      // Received fields kept of one message
	MaxComments = 32       // comments kept of one field
	maxDepth    = 8        // nested comments told apart; deeper ones count as text
	maxTokens   = 4096     // words, comments and semicolons read of one field
)
