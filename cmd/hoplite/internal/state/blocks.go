package state

import (
	"fmt"
	"io"
	"time"

	"hoplite/internal/users"
	"hoplite/mail/safe"
)

// Unblock is the request to remove login blocks.
type Unblock struct {
	// Names lists accounts, addresses or networks; All removes every block.
	Names []string `json:"names,omitempty"`
	All   bool     `json:"all,omitempty"`
}

// Unblocked is the response to Unblock.
type Unblocked struct {
	Removed int      `json:"removed"`
	Missing []string `json:"missing,omitempty"` // names that were not blocked
}

// PrintBlocks prints one block per line.
func PrintBlocks(w io.Writer, indent string, list []users.Block, now time.Time) {
	for i := range list {
		b, word := &list[i], "next attempt delayed"
		if b.Refused {
			word = "refused"
		}
		fmt.Fprintf(w, "%s%s  %d failures, %s for %s\n", indent, safe.Clip(safe.Line(b.Name()), 40), b.Failures, word, Span(max(b.Until.Sub(now), time.Second)))
	}
}
