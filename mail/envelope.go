package mail

import (
	"net/netip"
	"time"
)

// Envelope holds the information from MAIL and RCPT (RFC 5321, 3.3).
type Envelope struct {
	From Address `json:"From"` // the reverse path; empty for reports
	// Size is the message size in octets announced by the client, or 0 if none
	// was announced (RFC 1870).
	Size int64 `json:"Size,omitempty"`
	// Body is 7BIT, 8BITMIME or BINARYMIME, or empty (RFC 6152, 3030).
	Body       string `json:"Body,omitempty"`
	UTF8       bool   `json:"UTF8,omitempty"`       // SMTPUTF8 (RFC 6531)
	RequireTLS bool   `json:"RequireTLS,omitempty"` // REQUIRETLS (RFC 8689)
	// Auth is the AUTH= parameter of MAIL (RFC 4954, 5), decoded.
	Auth string `json:"Auth,omitempty"`
	// Ret is FULL or HDRS. EnvID is the sender's id for the message,
	// xtext-decoded (RFC 3461, 4.3 and 4.4).
	Ret   string `json:"Ret,omitempty"`
	EnvID string `json:"EnvID,omitempty"`
	// DeliverBy is the time limit for delivery, if the sender set one (RFC
	// 2852).
	DeliverBy *DeliverBy `json:"DeliverBy,omitempty"`
	// Priority is between -9 and 9; 0 is normal (RFC 6710).
	Priority int `json:"Priority,omitempty"`
	// Owner receives reports about the message instead of From. It is set when
	// a route or an upstream has replaced From with its configured sender.
	Owner Address `json:"Owner,omitempty"`
	Rcpts []Rcpt  `json:"Rcpts"`
}

// DeliverBy is the BY= parameter of MAIL (RFC 2852).
type DeliverBy struct {
	At time.Time `json:"At"` // according to the local clock
	// Return requests that the message be returned to the sender if it is late.
	// Otherwise delivery continues and a delay report is sent.
	Return bool `json:"Return"`
	Trace  bool `json:"Trace"` // report each relay
}

// Notify is the set of reports that a sender requests for a recipient (RFC
// 3461, 4.1). The zero value means that the sender requested none explicitly;
// failures and delays are then reported.
type Notify uint8

// The members of Notify. NotifyNever cannot be combined.
const (
	NotifyNever Notify = 1 << iota
	NotifySuccess
	NotifyFailure
	NotifyDelay
)

// Wants reports whether a report of kind k should be sent.
func (n Notify) Wants(k Notify) bool {
	if n == 0 {
		n = NotifyFailure | NotifyDelay
	}
	return n&k != 0
}

// Rcpt is one recipient.
type Rcpt struct {
	// To is the final address, after aliases and forwards.
	To Address `json:"To"`
	// Orig is the address given by the client. It equals To if it was not
	// rewritten.
	Orig Address `json:"Orig"`
	// Folder is the detail of a sub-address (ann+lists@). A maildrop delivers
	// to the folder of that name if it exists.
	Folder string `json:"Folder,omitempty"`
	Notify Notify `json:"Notify,omitempty"`
	// ORcpt is the decoded original recipient in the form type;address (RFC
	// 3461, 4.2).
	ORcpt string `json:"ORcpt,omitempty"`
	// Hop is the configured name of the hop selected by routing.
	Hop string `json:"Hop,omitempty"`
	// Via lists the aliases and accounts through which Orig resolved to To.
	Via []string `json:"Via,omitempty"`
}

// Client describes the client of a connection.
type Client struct {
	Listener string         `json:"Listener"` // the label of the listener's configuration block
	Protocol string         `json:"Protocol"` // smtp or lmtp
	Addr     netip.AddrPort `json:"Addr"`     // the client's address, as given by PROXY or XCLIENT
	Peer     netip.AddrPort `json:"Peer"`     // the remote end of the socket
	Local    netip.AddrPort `json:"Local"`    // the local end of the socket
	Helo     string         `json:"Helo"`     // the argument of HELO, EHLO or LHLO
	ESMTP    bool           `json:"ESMTP"`    // the client sent EHLO or LHLO
	// Name is the forward-confirmed reverse DNS name. It is empty if there is
	// none or it was not looked up.
	Name string `json:"Name"`
	TLS  *TLS   `json:"TLS"`  // nil if the connection is not encrypted
	User string `json:"User"` // the name of the authenticated account
	// MayRelay is set for authenticated clients and for clients in relay_from.
	MayRelay bool `json:"MayRelay"`
	// Trusted is set if the address is in one of the configured trusted
	// networks or is a loopback address. SPF, DMARC and DNSBL checks are
	// skipped for such clients.
	Trusted bool `json:"Trusted"`
}

// TLS describes the encryption of a connection.
type TLS struct {
	Version string `json:"Version"`        // as in Received: TLSv1.3
	Cipher  string `json:"Cipher"`         // the IANA name of the cipher suite
	Name    string `json:"Name,omitempty"` // the requested server name (SNI)
	// Verified is set if the peer's certificate was verified.
	Verified bool `json:"Verified,omitempty"`
	// Legacy is set if the connection needed a legacy profile.
	Legacy bool `json:"Legacy,omitempty"`
}

// With returns the protocol for the with clause of a Received field (RFC 3848,
// RFC 6531).
func (c *Client) With(utf8 bool) string {
	with, extended := "SMTP", c.ESMTP
	switch {
	case c.Protocol == "lmtp":
		with, extended = "LMTP", true
	case c.ESMTP && !utf8:
		with = "ESMTP"
	}
	if utf8 {
		with = "UTF8" + with
	}
	if extended && c.TLS != nil {
		with += "S"
	}
	if extended && c.User != "" {
		with += "A"
	}
	return with
}
