// Package order arranges messages: SORT (RFC 5256, 3; RFC 5957) and the
// algorithms of THREAD (RFC 5256, 3). It compares data that package summary
// extracted from the headers, and does not access files, connections or
// commands.
//
// Start with Sort, BySubject and ByReferences.
package order

import (
	"bytes"
	"cmp"
	"slices"

	"hoplite/imap/summary"
)

// Row is a message to sort or thread.
type Row struct {
	Index   int    // index in the mailbox; breaks ties
	Number  uint32 // message number or UID, depending on the response
	Size    int64
	Arrived int64 // internal date, seconds since 1970
	Sent    int64 // Date field, seconds since 1970
	// Relevancy is a percentage that a fuzzy search has determined (RFC 6203).
	Relevancy uint8
	Summary   summary.Summary
}

// Compare compares two rows by one criterion.
type Compare func(a, b *Row) int

// Key is a SORT criterion.
type Key struct {
	Compare Compare
	Reverse bool
}

// Sort returns the indices of the rows sorted by keys. The first key is the
// primary one.
func Sort(rows []Row, keys []Key) []int {
	sorted := make([]*Row, len(rows))
	for i := range rows {
		sorted[i] = &rows[i]
	}
	slices.SortFunc(sorted, func(a, b *Row) int {
		for _, k := range keys {
			if c := k.Compare(a, b); c != 0 {
				if k.Reverse {
					return -c
				}
				return c
			}
		}
		return a.Index - b.Index
	})
	out := make([]int, len(sorted))
	for i, r := range sorted {
		out[i] = r.Index
	}
	return out
}

// Arrival compares internal dates.
func Arrival(a, b *Row) int { return cmp.Compare(a.Arrived, b.Arrived) }

// Size compares sizes.
func Size(a, b *Row) int { return cmp.Compare(a.Size, b.Size) }

// Relevancy compares relevancies; the most relevant message precedes the others.
func Relevancy(a, b *Row) int { return cmp.Compare(b.Relevancy, a.Relevancy) }

// Date compares the times of the Date fields.
func Date(a, b *Row) int { return cmp.Compare(a.Sent, b.Sent) }

// ByText returns a function that compares one text of the summaries.
func ByText(t summary.Text) Compare {
	return func(a, b *Row) int { return bytes.Compare(a.Summary.Text(t), b.Summary.Text(t)) }
}
