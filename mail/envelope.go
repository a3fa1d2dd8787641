package mail

import (
	"net/netip"
	"time"
)

// Envelope is what MAIL and RCPT said (RFC 5321, 3.3).
type Envelope struct {
	From Address `json:"From"` // the reverse path; empty for reports
	// Size is what the client announced, in octets; 0 if it said nothing
	// (RFC 1870).
	Size int64 `json:"Size,omitempty"`
	// Body is 7BIT, 8BITMIME or BINARYMIME, or empty (RFC 6152, 3030).
	Body       string `json:"Body,omitempty"`
	UTF8       bool   `json:"UTF8,omitempty"`       // SMTPUTF8 (RFC 6531)
	RequireTLS bool   `json:"RequireTLS,omitempty"` // REQUIRETLS (RFC 8689)
	// Auth is the AUTH= parameter of MAIL (RFC 4954, 5), decoded.
	Auth string `json:"Auth,omitempty"`
	// Ret is FULL or HDRS, EnvID the sender's own id in xtext-decoded form
	// (RFC 3461, 4.3 and 4.4).
	Ret   string `json:"Ret,omitempty"`
	EnvID string `json:"EnvID,omitempty"`
	// DeliverBy is how the sender limits the time of delivery (RFC 2852).
	DeliverBy *DeliverBy `json:"DeliverBy,omitempty"`
	// Priority is -9 to 9, 0 is normal (RFC 6710).
	Priority int    `json:"Priority,omitempty"`
	Rcpts    []Rcpt `json:"Rcpts"`
}

// DeliverBy is the BY= parameter of MAIL (RFC 2852).
type DeliverBy struct {
	At time.Time `json:"At"` // the moment, our clock
	// Return asks for the message back when it is late; otherwise it goes on
	// and a delayed report is sent.
	Return bool `json:"Return"`
	Trace  bool `json:"Trace"` // report each relay
}

// Notify is the set of reports that a sender wants for a recipient (RFC 3461,
// 4.1). The zero value means that nothing was said: failures and delays.
type Notify uint8

// The members of Notify. NotifyNever stands alone.
const (
	NotifyNever Notify = 1 << iota
	NotifySuccess
	NotifyFailure
	NotifyDelay
)

// Wants tells whether a report of kind k is to be sent.
func (n Notify) Wants(k Notify) bool {
	if n == 0 {
		n = NotifyFailure | NotifyDelay
	}
	return n&k != 0
}

// Rcpt is one recipient.
type Rcpt struct {
	// To is where the message goes: the final address, after aliases and
	// forwards.
	To Address `json:"To"`
	// Orig is the address that the client gave; equal to To when nothing
	// rewrote it.
	Orig Address `json:"Orig"`
	// Folder is the detail of a sub-address (ann+lists@): the folder that a
	// maildrop tries first.
	Folder string `json:"Folder,omitempty"`
	Notify Notify `json:"Notify,omitempty"`
	// ORcpt is the original recipient as type;address, decoded (RFC 3461,
	// 4.2).
	ORcpt string `json:"ORcpt,omitempty"`
	// Hop is the configured name of the next hop that routing chose.
	Hop string `json:"Hop,omitempty"`
	// Via are the names that led from Orig to To: aliases, accounts.
	Via []string `json:"Via,omitempty"`
}

// Client is the other side of a connection as far as we know it.
type Client struct {
	Listener string         `json:"Listener"` // the label of the listener's block
	Protocol string         `json:"Protocol"` // smtp or lmtp
	Addr     netip.AddrPort `json:"Addr"`     // the client, after PROXY or XCLIENT
	Peer     netip.AddrPort `json:"Peer"`     // the socket's other end
	Local    netip.AddrPort `json:"Local"`    // our end
	Helo     string         `json:"Helo"`     // the argument of HELO, EHLO or LHLO
	ESMTP    bool           `json:"ESMTP"`    // it said EHLO or LHLO
	// Name is the forward-confirmed reverse name, empty if there is none or
	// nobody looked.
	Name string `json:"Name"`
	TLS  *TLS   `json:"TLS"`  // nil in clear text
	User string `json:"User"` // the authenticated account, canonical
	// MayRelay is set for logins and for clients of relay_from.
	MayRelay bool `json:"MayRelay"`
	// Trusted is set when the address lies in the configured trusted nets or
	// on loopback: SPF, DMARC and DNSBL pass it by.
	Trusted bool `json:"Trusted"`
}

// TLS says what a connection is protected with.
type TLS struct {
	Version string `json:"Version"`        // as in Received: TLSv1.3
	Cipher  string `json:"Cipher"`         // the IANA name
	Name    string `json:"Name,omitempty"` // the server name that was asked for (SNI)
	// Verified is set when the other side's certificate was checked and good.
	Verified bool `json:"Verified,omitempty"`
	// Legacy is set when it only came about by a legacy profile.
	Legacy bool `json:"Legacy,omitempty"`
}

// With is the protocol word of a Received field (RFC 3848, RFC 6531).
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
