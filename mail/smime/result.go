package smime

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"hoplite/mail"
)

// HasTrust reports whether any signer outside attached messages has the given
// Trust value.
func (r *Report) HasTrust(t string) bool {
	for _, l := range r.Layers {
		for _, s := range l.Signers {
			if !l.Attached && s.Trust == t {
				return true
			}
		}
	}
	return false
}

// Reason returns a one-line explanation of the verdict, or "" for mail without
// S/MIME.
func (r *Report) Reason() string {
	if len(r.Layers) == 0 {
		return ""
	}
	for _, f := range r.Findings {
		if f.Severity == bad {
			return f.Text
		}
	}
	for _, l := range r.Layers {
		if !l.Attached && l.Verdict == r.Verdict && l.Reason != "" {
			return l.Reason
		}
	}
	for _, f := range r.Findings {
		if f.Severity == warning && (r.Verdict != "good" || f.Code == "no_address") {
			return f.Text
		}
	}
	switch r.Verdict {
	case "good":
		return "signed by " + strings.Join(r.signers(), ", ")
	case VerdictEncrypted:
		return "encrypted: the content was not inspected"
	}
	return r.Verdict
}

// signers returns the names of all signers of the message.
func (r *Report) signers() (out []string) {
	for _, l := range r.Layers {
		for _, s := range l.Signers {
			name := s.Subject
			if len(s.Addresses) > 0 {
				name = s.Addresses[0]
			}
			if !l.Attached && !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	return out
}

// Facts returns the facts to record in a trail.
func (r *Report) Facts() []mail.Fact {
	if len(r.Layers) == 0 {
		return nil
	}
	facts := []mail.Fact{{Key: "smime", Value: r.Verdict}}
	for _, l := range r.Layers {
		facts = append(facts, mail.Fact{Key: "layer", Value: l.text()})
	}
	for _, f := range r.Findings {
		if f.Severity != info {
			facts = append(facts, mail.Fact{Key: f.Code, Value: f.Text})
		}
	}
	return facts
}

// maxAuth is the maximum number of results in Authentication-Results.
const maxAuth = 5

// Auth returns a result (RFC 7281) for each signature on the message itself.
func (r *Report) Auth() []mail.AuthResult {
	var out []mail.AuthResult
	for _, l := range r.Layers {
		if l.Attached {
			continue
		}
		for _, s := range l.Signers {
			if len(out) == maxAuth {
				return out
			}
			out = append(out, r.auth(l, s))
		}
	}
	if len(out) > 0 {
		return out
	}
	res := mail.AuthResult{Method: "smime", Value: "none"}
	switch r.Verdict {
	case VerdictEncrypted:
		res.Comment = "encrypted"
	case "bad", "unsupported":
		res.Value, res.Reason = "neutral", r.Reason()
	}
	return []mail.AuthResult{res}
}

func (r *Report) auth(l *Layer, s *Signer) mail.AuthResult {
	res := mail.AuthResult{Method: "smime", Reason: s.Reason}
	switch s.Verdict {
	case "good":
		res.Value = "pass"
		if r.Verdict != "good" && r.Verdict != VerdictEncrypted || r.Has("header_from") || r.Has("no_address") {
			// The signature is valid, but the message as a whole
			// fails (RFC 7281, 4).
			res.Value, res.Reason = "policy", r.Reason()
		}
	case "weak":
		res.Value = "policy"
	case "bad":
		res.Value = "fail"
	case "unknown":
		if res.Value = "policy"; s.Trust == TrustMissing {
			res.Value = "neutral"
		}
	default:
		res.Value = "neutral"
	}
	add := func(name, value string) {
		if value != "" {
			res.Props = append(res.Props, mail.AuthProp{Type: "body", Name: name, Value: value})
		}
	}
	if l.Part != "message" {
		add("smime-part", l.Part)
	}
	if len(s.Addresses) > 0 {
		add("smime-identifier", s.Addresses[0])
	}
	add("smime-serial", s.Serial)
	add("smime-issuer", s.Issuer)
	return res
}

// text describes the layer on one line.
func (l *Layer) text() string {
	parts := []string{string(l.Type)}
	if l.Form == "clear-signed" {
		parts[0] = "clear-signed"
	}
	if l.Part != "message" {
		parts = append(parts, "in part "+l.Part)
	}
	for _, s := range l.Signers {
		name := s.Subject
		if len(s.Addresses) > 0 {
			name = s.Addresses[0]
		}
		parts = append(parts, fmt.Sprintf("by %s (%s, %s): %s", name, s.Algorithm, s.Digest, s.Verdict))
	}
	if l.RecipientCount > 0 {
		parts = append(parts, "for "+strconv.Itoa(l.RecipientCount)+" recipients", l.Algorithm, strconv.FormatInt(l.Size, 10)+" octets")
	}
	return strings.Join(parts, ", ")
}
