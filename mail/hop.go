package mail

import (
	"context"
	"time"
)

// Hop is the next place a message goes: a queue, an upstream server, a
// maildrop. It serves many transactions at once.
type Hop interface {
	// Open starts the handoff of one message. The error is a *Reply, or AsReply
	// makes it a temporary one.
	Open(ctx context.Context, tx *Transaction) (Handoff, error)
}

// Handoff is the handoff of one message. Its methods are called in this order:
// Rcpt for each recipient, Send at most once, Close. After Send, the hop is
// responsible for every recipient whose outcome is 2xx.
type Handoff interface {
	// Rcpt returns nil if the hop accepts mail for r.
	Rcpt(ctx context.Context, r Rcpt) error
	// Send hands the message over for the recipients that Rcpt accepted, and
	// returns one outcome for each of them, in that order. The hop reads m only
	// until Send returns.
	Send(ctx context.Context, m *Message) []Outcome
	// Close releases all resources, whether or not Send was called. The client
	// already has its reply, so slow work that the reply does not depend on is
	// done here.
	Close() error
}

// Outcome is the result of a handoff for one recipient, in the words of the
// remote server.
type Outcome struct {
	Rcpt  Address `json:"rcpt"`
	Reply Reply   `json:"reply"`
	// Hop is the configured name of the hop. Host and Addr identify the server
	// that replied, if one did.
	Hop  string `json:"hop,omitempty"`
	Host string `json:"host,omitempty"`
	Addr string `json:"addr,omitempty"`
	// RemoteID is the id of the message there: the queue id of the remote
	// server, or the name of the stored file.
	RemoteID string `json:"remote_id,omitempty"`
	// TLS is the protection used, for example "TLSv1.3 TLS_AES_128_GCM_SHA256";
	// empty in clear text and for local delivery.
	TLS string `json:"tls,omitempty"`
	// Proof is what the connection proved about the server, in words: "clear
	// text", "TLS 1.3, certificate not verified", "TLS 1.3, verified"; empty for
	// local delivery.
	Proof string `json:"proof,omitempty"`
	// DSN is set when the remote server accepted the sender's requests for
	// reports (RFC 3461). It then reports success itself.
	DSN  bool          `json:"dsn,omitempty"`
	At   time.Time     `json:"at"`
	Took time.Duration `json:"took"`
}
