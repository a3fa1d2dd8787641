package mail

import (
	"context"
	"time"
)

// Hop is the next destination of a message: a queue, an upstream server or a
// maildrop. It handles many transactions concurrently.
type Hop interface {
	// Open starts the handoff of one message. An error that is not a *Reply is
	// treated as temporary; see AsReply.
	Open(ctx context.Context, tx *Transaction) (Handoff, error)
}

// Handoff is the handoff of one message. Its methods are called in this order:
// Rcpt for each recipient, Send at most once, Close. After Send, the hop is
// responsible for every recipient whose outcome is 2xx.
type Handoff interface {
	// Rcpt returns nil if the hop accepts mail for r.
	Rcpt(ctx context.Context, r Rcpt) error
	// Send transfers the message for the recipients that Rcpt accepted, and
	// returns one outcome for each of them, in order. The hop reads m only
	// until Send returns.
	Send(ctx context.Context, m *Message) []Outcome
	// Close releases all resources, whether or not Send was called. It is
	// called after the client has received its reply, so slow work that does
	// not affect the reply belongs here.
	Close() error
}

// Outcome is the result of a handoff for one recipient, with the remote
// server's own reply.
type Outcome struct {
	Rcpt  Address `json:"rcpt"`
	Reply Reply   `json:"reply"`
	// Hop is the configured name of the hop. Host and Addr identify the server
	// that replied, if any.
	Hop  string `json:"hop,omitempty"`
	Host string `json:"host,omitempty"`
	Addr string `json:"addr,omitempty"`
	// RemoteID is the id given to the message by the receiver: the remote
	// server's queue id, or the name of the stored file.
	RemoteID string `json:"remote_id,omitempty"`
	// TLS is the TLS version and cipher suite, for example "TLSv1.3
	// TLS_AES_128_GCM_SHA256". It is empty for unencrypted connections and
	// local delivery.
	TLS string `json:"tls,omitempty"`
	// Proof describes how far the connection authenticated the server: "clear
	// text", "TLS 1.3, certificate not verified", or "TLS 1.3, verified". It is
	// empty for local delivery.
	Proof string `json:"proof,omitempty"`
	// DSN is set if the remote server accepted the sender's report requests
	// (RFC 3461) and will therefore report success itself.
	DSN  bool          `json:"dsn,omitempty"`
	At   time.Time     `json:"at"`
	Took time.Duration `json:"took"`
}
