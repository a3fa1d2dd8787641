// Package trust compares this program's results of SPF, DKIM, ARC and DMARC with
// those of opendkim, opendmarc, rspamd, and of dkimpy, pyspf and authheaders for
// Python.
//
// The messages and the zone that they refer to are generated from a seed: each
// message uses one variant of each mechanism (spf.go, dkim.go, dmarc.go,
// arc.go) and is otherwise random. testdata/differences.txt lists the known
// differences with their reasons; the test fails if there are others. Start
// with Generate, or for the comparison, which needs the tag interop, with
// TestInteropDifferential.
package trust
