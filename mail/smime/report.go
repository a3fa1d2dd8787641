package smime

import (
	"time"

	"hoplite/mail/cms"
)

// Report is what S/MIME says of one message.
type Report struct {
	// Verdict is good, weak, bad, unsupported, unknown, encrypted or none. The
	// weakest signer of the message as a whole decides; signatures on
	// attached messages do not count.
	Verdict  string    `json:"verdict"`
	Layers   []*Layer  `json:"layers"` // outside in
	Parts    []Part    `json:"parts"`  // what is inside, as far as it can be read
	Findings []Finding `json:"findings"`

	// FromDomains are the domains of the From addresses, as A-labels.
	FromDomains []string `json:"-"`
}

// The verdicts of a report that a single signature cannot have.
const (
	VerdictEncrypted = "encrypted" // nothing inside could be looked at
	VerdictNone      = "none"      // no S/MIME, or nothing signed
)

// Layer is one wrapping of a message, or of a part of it.
type Layer struct {
	Type    cms.Type `json:"type"`
	Form    string   `json:"form"` // clear-signed, opaque
	Part    string   `json:"part"` // where: "message", or a part's number
	Verdict string   `json:"verdict,omitempty"`
	Reason  string   `json:"reason,omitempty"`
	// Whole says that the layer is around the whole message; Attached that it
	// is inside an attached one.
	Whole    bool      `json:"whole"`
	Attached bool      `json:"attached,omitempty"`
	Size     int64     `json:"size"` // octets of content or ciphertext
	Signers  []*Signer `json:"signers,omitempty"`

	Certificates []string `json:"certificates,omitempty"` // subjects, of certs-only

	Algorithm      string          `json:"algorithm,omitempty"` // of encryption
	Authenticated  bool            `json:"authenticated,omitempty"`
	Recipients     []cms.Recipient `json:"recipients,omitempty"`
	RecipientCount int             `json:"recipient_count,omitempty"`
}

// Signer is one signature and the one who made it.
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
}

// What Signer.Trust may be.
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

// Part is a piece of content that can be read. With Checker.Inside it may be
// something in an attachment.
type Part struct {
	Part string `json:"part"`
	Type string `json:"type"`
	Name string `json:"name,omitempty"`
	Size int64  `json:"size"`
	// Signed says that a whole-message signature covers it.
	Signed bool `json:"signed"`

	// What a look inside showed; see attachments.Item.
	Kind      string   `json:"kind,omitempty"`
	Via       string   `json:"via,omitempty"`
	Encrypted bool     `json:"encrypted,omitempty"`
	Unread    string   `json:"unread,omitempty"`
	Tricks    []string `json:"tricks,omitempty"`
}

// Finding is something worth saying. Codes are listed in docs/smime.md.
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

// Has says whether there is a finding of that code.
func (r *Report) Has(code string) bool {
	for _, f := range r.Findings {
		if f.Code == code {
			return true
		}
	}
	return false
}

// Fine says whether there is nothing to worry about.
func (r *Report) Fine() bool {
	for _, f := range r.Findings {
		if f.Severity != info {
			return false
		}
	}
	return r.Verdict == "good" || r.Verdict == VerdictEncrypted || r.Verdict == VerdictNone
}

// Signed says whether a signature that holds is around the whole message.
func (r *Report) Signed() bool {
	for _, l := range r.Layers {
		if l.Whole && len(l.Signers) > 0 && (l.Verdict == "good" || l.Verdict == "weak") {
			return true
		}
	}
	return false
}

// Encrypted says whether the whole message is encrypted.
func (r *Report) Encrypted() bool {
	for _, l := range r.Layers {
		if l.Whole && l.RecipientCount > 0 {
			return true
		}
	}
	return false
}
