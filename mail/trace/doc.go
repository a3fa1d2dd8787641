// Package trace reads where a message has been.
//
// Read takes a whole header block and returns a Trace: the hops, how long each
// step took once wrong clocks are accounted for, which lines were written by
// servers whose word counts, loops, and findings in words. The lines
// themselves are read by mail/received.
//
// The package reads text and judges it. It resolves no names, verifies no
// signatures and holds no state; what it needs to know about this
// installation comes in Options. Nothing in a message makes it fail: what is
// odd becomes a Defect of the hop or a Finding of the trace.
package trace

// MaxHops bounds the Received fields kept of one message. It is far above what
// mail contains.
const MaxHops = 200
