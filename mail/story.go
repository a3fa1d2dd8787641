package mail

import "time"

// Story is a transaction at its end, as history keeps it: everything that log,
// web page and trace tell of it is written from here.
type Story struct {
	*Transaction
	// Verdict is accepted, partly, refused, deferred, discarded or aborted.
	Verdict string
	// Reply is the client's last one; for LMTP that of the first recipient.
	Reply Reply
	Took  time.Duration
}
