// Package trace reconstructs the path of a message from its header.
//
// Read analyses a header block and returns a Trace: the hops, the duration of
// each step after wrong clocks have been corrected, the lines that can be
// trusted, mail loops, and findings as text. It works in passes, each with its
// own type: collector reads the fields, weigher determines which lines to
// trust, timing fits the clocks, and judge writes the findings. Individual
// Received lines are parsed by mail/received.
//
// The package resolves no names, verifies no signatures and keeps no state,
// except for Clocks, which records the clock errors of neighbouring servers.
// Options describes this installation. Read never fails: irregularities are
// recorded as defects of a line or as findings.
package trace

// MaxHops is the maximum number of Received fields kept for one message, far
// above any genuine number.
const MaxHops = 200
