package mail

import "time"

// Transaction describes one message, from MAIL to its outcomes. Filters and
// hops read it and add to its trail.
type Transaction struct {
	// ID is created at MAIL and identifies the message in replies, Received
	// fields, the log, the queue, history and reports.
	ID       string    `json:"ID"`
	At       time.Time `json:"At"` // when MAIL arrived
	Client   Client    `json:"Client"`
	Envelope Envelope  `json:"Envelope"`
	Trail    *Trail    `json:"Trail"`
	// Hostname is this server's name in the listener's greeting. It is also
	// used as the authserv-id and in the by clause of Received.
	Hostname string `json:"Hostname"`
	// Quarantine is the reason for quarantining the message, or empty. A
	// maildrop delivers a quarantined message to Junk, and a queue holds it.
	Quarantine string `json:"Quarantine"`
	// Header holds the parts of the header that are needed for the log, history
	// and lookups. It is set once DATA has been read.
	Header HeaderInfo `json:"Header"`
}

// HeaderInfo is the part of a header that is stored in the log and in history.
type HeaderInfo struct {
	MessageID string `json:"message_id,omitempty"`
	From      string `json:"from,omitempty"`
	Subject   string `json:"subject,omitempty"`
	Size      int64  `json:"size,omitempty"`
	Hops      int    `json:"hops,omitempty"` // the number of Received fields on arrival
}

// NewTransaction returns a transaction with a new id.
func NewTransaction(c Client, from Address) *Transaction {
	return &Transaction{
		ID:       NewID(),
		At:       time.Now(),
		Client:   c,
		Envelope: Envelope{From: from},
		Trail:    &Trail{},
	}
}
