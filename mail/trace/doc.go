// Package trace reconstructs the path of a message from its header.
//
// Read takes a header block and returns a Trace: the hops, the duration of each
// step after correcting wrong clocks, which lines can be trusted, mail loops, and
// findings in words. It works in passes, one type each: collector reads the
// fields, weigher decides whose lines to trust, timing fits the clocks, judge
// writes the findings. Single Received lines are parsed by mail/received.
//
// The package resolves no names, verifies no signatures and keeps no state,
// except for Clocks, which records the clock errors of neighbouring servers.
// Information about this installation is passed in Options. Read never fails:
// irregularities become defects of a line or findings of the trace.
package trace

// MaxHops is the number of Received fields kept for one message, far above any
// genuine number.
const MaxHops = 200
