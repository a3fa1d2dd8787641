package mail

import "time"

// Transaction is one message on its way through us, from MAIL to its
// outcomes. It travels down and never walks back: filters and hops read it
// and add to the trail.
type Transaction struct {
	// ID is made at MAIL and stands in everything: replies, Received, log,
	// queue, history, reports.
	ID       string    `json:"ID"`
	At       time.Time `json:"At"` // when MAIL came
	Client   Client    `json:"Client"`
	Envelope Envelope  `json:"Envelope"`
	Trail    *Trail    `json:"Trail"`
	// Hostname is our own name as the listener's greeting has it: the
	// authserv-id, and "by" in Received.
	Hostname string `json:"Hostname"`
	// Quarantine says why the message should be kept apart; empty if it
	// should not. A maildrop puts it in Junk, a queue holds it.
	Quarantine string `json:"Quarantine"`
	// Header says what was learned of the message's own words once DATA was
	// read: for log, history and look-ups.
	Header HeaderInfo `json:"Header"`
}

// HeaderInfo is what log and history keep of a message's header.
type HeaderInfo struct {
	MessageID string `json:"message_id,omitempty"`
	From      string `json:"from,omitempty"`
	Subject   string `json:"subject,omitempty"`
	Size      int64  `json:"size,omitempty"`
	Hops      int    `json:"hops,omitempty"` // Received fields it came with
}

// NewTransaction starts one.
func NewTransaction(c Client, from Address) *Transaction {
	return &Transaction{
		ID:       NewID(),
		At:       time.Now(),
		Client:   c,
		Envelope: Envelope{From: from},
		Trail:    &Trail{},
	}
}
