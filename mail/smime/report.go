package smime

import (
	"time"

	"hoplite/mail/cms"
)

// Report is the result of verifying one message.
type Report struct {
	// Verdict is good, weak, bad, unsupported, unknown, encrypted or none.
	// It is the verdict on the weakest signer of the message; signatures in
	// attached messages are ignored.
	Verdict  string    `json:"verdict"`
	Layers   []*Layer  `json:"layers"` // outermost first
	Parts    []Part    `json:"parts"`  // the readable content
	Findings []Finding `json:"findings"`

	// FromDomains lists the domains of the From addresses as A-labels.
	FromDomains []string `json:"-"`
}

// The verdicts that apply only to a report, not to a single signature.
const (
	VerdictEncrypted = "encrypted" // the content could not be inspected
	VerdictNone      = "none"      // no S/MIME layer, or no signature
)

// Layer is one S/MIME layer of a message or part.
type Layer struct {
	Type    cms.Type `json:"type"`
	Form    string   `json:"form"` // clear-signed, opaque
	Part    string   `json:"part"` // "message", or the number of a part
	Verdict string   `json:"verdict,omitempty"`
	Reason  string   `json:"reason,omitempty"`
	// Whole is set if the layer covers the whole message. Attached is set
	// if it is inside an attached message.
	Whole    bool      `json:"whole"`
	Attached bool      `json:"attached,omitempty"`
	Size     int64     `json:"size"` // octets of content or ciphertext
	Signers  []*Signer `json:"signers,omitempty"`

	Certificates []string `json:"certificates,omitempty"` // subjects, for certs-only

	Algorithm      string          `json:"algorithm,omitempty"` // for encrypted content
	Authenticated  bool            `json:"authenticated,omitempty"`
	Recipients     []cms.Recipient `json:"recipients,omitempty"`
	RecipientCount int             `json:"recipient_count,omitempty"`
}

// Signer describes one signature and its signer.
type Signer struct {
	Verdict     string     `json:"verdict"`
	Reason      string     `json:"reason,omitempty"`
	Subject     string     `json:"subject,omitempty"`
	Addresses   []string   `json:"addresses,omitempty"`
	Issuer      string     `json:"issuer,omitempty"`
	Serial      string     `json:"serial,omitempty"`
	NotBefore   *time.Time `json:"not_before,omitempty"`
	NotAfter    *time.Time `json:"not_after,omitempty"`
	Algorithm   string     `json:"algorithm"`
	Digest      string     `json:"digest"`
	SigningTime *time.Time `json:"signing_time,omitempty"` // a claim
	Chain       []string   `json:"chain,omitempty"`        // subjects, signer first
	// Trust is trusted, unknown_ca, expired, not_yet_valid, revoked,
	// not_for_mail, missing, unreadable, or unchecked.
	Trust      string `json:"trust"`
	Revocation string `json:"revocation,omitempty"` // good, revoked, unknown

	// Countersigners and Timestamps are signatures over this signature.
	// They do not affect its verdict, with one exception: a time stamp may
	// prove that the signature was created before its certificate expired.
	Countersigners []*Signer    `json:"countersigners,omitempty"`
	Timestamps     []*Timestamp `json:"timestamps,omitempty"`

	badCertificate bool // the signature itself is valid
}

// Timestamp is a time stamp on a signature, with the verdict on the authority
// that issued it.
type Timestamp struct {
	Time *time.Time `json:"time,omitempty"` // a time at which the signature existed
	*Signer
}

// The values of Signer.Trust.
const (
	TrustGood        = "trusted"
	TrustUnknownCA   = "unknown_ca"
	TrustExpired     = "expired"
	TrustNotYetValid = "not_yet_valid"
	TrustRevoked     = "revoked"
	TrustNotForMail  = "not_for_mail"
	TrustMissing     = "missing"
	TrustUnreadable  = "unreadable"
	TrustUnchecked   = "unchecked"
)

// Part is a part with readable content. With Checker.Inside, it may be inside
// an attachment.
type Part struct {
	Part string `json:"part"`
	Type string `json:"type"`
	Name string `json:"name,omitempty"`
	Size int64  `json:"size"`
	// Signed is set if a signature on the whole message covers the part.
	Signed bool `json:"signed"`

	// The results of scanning the part; see [attachments.Item].
	Kind      string   `json:"kind,omitempty"`
	Via       string   `json:"via,omitempty"`
	Encrypted bool     `json:"encrypted,omitempty"`
	Unread    string   `json:"unread,omitempty"`
	Tricks    []string `json:"tricks,omitempty"`
}

// Finding is a noteworthy fact. The codes are documented in docs/smime.md.
type Finding struct {
	Code     string `json:"code"`
	Severity string `json:"severity"` // info, warning, error
	Part     string `json:"part,omitempty"`
	Text     string `json:"text"`
	Advice   string `json:"advice,omitempty"`
}

const (
	info    = "info"
	warning = "warning"
	bad     = "error"
)

// Has reports whether the report contains a finding with that code.
func (r *Report) Has(code string) bool {
	for _, f := range r.Findings {
		if f.Code == code {
			return true
		}
	}
	return false
}

// Fine reports whether no problems were found.
func (r *Report) Fine() bool {
	for _, f := range r.Findings {
		if f.Severity != info {
			return false
		}
	}
	return r.Verdict == "good" || r.Verdict == VerdictEncrypted || r.Verdict == VerdictNone
}

// Signed reports whether a valid signature covers the whole message.
func (r *Report) Signed() bool {
	for _, l := range r.Layers {
		if l.Whole && len(l.Signers) > 0 && (l.Verdict == "good" || l.Verdict == "weak") {
			return true
		}
	}
	return false
}

// Encrypted reports whether the whole message is encrypted.
func (r *Report) Encrypted() bool {
	for _, l := range r.Layers {
		if l.Whole && l.RecipientCount > 0 {
			return true
		}
	}
	return false
}
