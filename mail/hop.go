package mail

import (
	"context"
	"time"
)

// Hop is the next place a message goes: a queue, an upstream server, a
// maildrop. A Hop serves many transactions at once.
type Hop interface {
	// Open starts handing over one message. An error is a *Reply, or one that
	// AsReply makes temporary.
	Open(ctx context.Context, tx *Transaction) (Handoff, error)
}

// Handoff is one message being handed over. Its methods are called one after
// the other: Rcpt for each recipient, then Send or nothing, then Close. After
// Send, the hop answers for every recipient whose outcome is 2xx.
type Handoff interface {
	// Rcpt asks whether the hop takes mail for r; nil means yes.
	Rcpt(ctx context.Context, r Rcpt) error
	// Send hands the message over to the recipients that Rcpt took, and
	// returns one outcome for each of them, in that order. The hop reads m
	// only until Send returns.
	Send(ctx context.Context, m *Message) []Outcome
	// Close gives everything back, whether or not Send was called. The client
	// has its reply by then: what it need not wait for is done here.
	Close() error
}

// Outcome is what happened to a message for one recipient, in the other
// side's own words.
type Outcome struct {
	Rcpt  Address `json:"rcpt"`
	Reply Reply   `json:"reply"`
	// Hop is the configured name of the hop, Host and Addr the server that
	// answered, if one did.
	Hop  string `json:"hop,omitempty"`
	Host string `json:"host,omitempty"`
	Addr string `json:"addr,omitempty"`
	// RemoteID is the other side's name for the message: its queue id, or the
	// file it was stored as.
	RemoteID string `json:"remote_id,omitempty"`
	// TLS is the protection in use, as in "TLSv1.3 TLS_AES_128_GCM_SHA256";
	// empty in clear text and for local delivery.
	TLS string `json:"tls,omitempty"`
	// Proof is what the connection proved about the server, in words: "clear
	// text", "TLS 1.3, certificate not verified", "TLS 1.3, verified"; empty for
	// local delivery.
	Proof string `json:"proof,omitempty"`
	// DSN is set when the other side took over what the sender wants to be told
	// (RFC 3461): then a report of success is its business, not ours.
	DSN  bool          `json:"dsn,omitempty"`
	At   time.Time     `json:"at"`
	Took time.Duration `json:"took"`
}
