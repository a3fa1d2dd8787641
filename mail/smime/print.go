package smime

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"hoplite/mail/safe"
)

// width is the column at which lines are wrapped.
const width = 80

// verdictWords describes the verdicts.
var verdictWords = map[string]string{
	"good":           "signed, and the signature is good",
	"weak":           "signed, but with an algorithm or key that can be forged",
	"bad":            "the signature is not valid for this message",
	"unsupported":    "signed with an unsupported algorithm: not checked",
	"unknown":        "signed, but the signer cannot be verified",
	VerdictEncrypted: "encrypted; the content cannot be inspected",
	VerdictNone:      "no signature on this message",
}

// Line is one line of a report.
type Line struct {
	Indent int    // of a fact: 2 or more; of a heading: 0
	Label  string // "" if the line has none
	Text   string // harmless on a terminal; "" separates sections

	raw string
}

// Print writes the report as text, in 80 columns.
func (r *Report) Print(w io.Writer) {
	for _, l := range r.Lines() {
		l.print(w)
	}
}

// Lines returns the report line by line.
func (r *Report) Lines() []Line {
	p := &printer{}
	p.line(0, "%s: %s", strings.ToUpper(r.Verdict), r.headline())
	for i, l := range r.Layers {
		p.layer(i, l)
	}
	if len(r.Parts) > 0 {
		p.line(0, "")
		p.line(0, "content")
		for _, part := range r.Parts {
			p.line(2, "%s  %s", part.Part, part)
		}
	}
	if len(r.Findings) > 0 {
		p.line(0, "")
		p.line(0, "findings")
		for _, f := range r.Findings {
			p.line(2, "%-7s %s", f.Severity, f.Text)
			if f.Advice != "" {
				p.line(10, "%s", f.Advice)
			}
		}
	}
	return p.lines
}

// headline summarises the verdict.
func (r *Report) headline() string {
	switch {
	case r.Verdict == "unsupported" && !r.signed():
		return "an unsupported kind of S/MIME object: not checked"
	case r.Verdict != "bad":
	case !r.signed() && r.Has("unreadable"):
		return "the S/MIME object cannot be read"
	case r.Has("mismatch"):
		// Identities are compared only if every signature is good or
		// weak.
		return "the signature is valid, but it is not the sender's"
	case r.certificateFault():
		return "the signature is valid, but its certificate must not be used for this mail"
	}
	return verdictWords[r.Verdict]
}

// signed reports whether any layer has a signer.
func (r *Report) signed() bool {
	return slices.ContainsFunc(r.Layers, func(l *Layer) bool { return len(l.Signers) > 0 })
}

// certificateFault reports whether every bad signer is bad only because of its
// certificate.
func (r *Report) certificateFault() bool {
	found := false
	for _, l := range r.Layers {
		if l.Attached || l.Verdict != "bad" {
			continue
		}
		if len(l.Signers) == 0 {
			return false
		}
		for _, s := range l.Signers {
			if s.Verdict == "bad" && !s.badCertificate {
				return false
			}
			found = found || s.Verdict == "bad"
		}
	}
	return found
}

// plain reports whether the part is text and is declared as text.
func (part Part) plain() bool {
	top, _, _ := strings.Cut(strings.ToLower(part.Type), "/")
	return part.Kind == "text/plain" && (top == "text" || top == "message")
}

// String describes the part on one line, without its path.
func (part Part) String() string {
	out := part.Type
	if part.Kind != "" && part.Kind != part.Type && !part.plain() {
		out += " (is " + part.Kind + ")"
	}
	if part.Name != "" && !strings.HasSuffix(part.Part, part.Name) {
		out += fmt.Sprintf(" %q", part.Name)
	}
	list := []string{out, fmt.Sprintf("%d octets", part.Size)}
	if part.Via != "" && part.Via != "mime" {
		list = append(list, part.Via)
	}
	if part.Signed {
		list = append(list, "signed")
	} else {
		list = append(list, "not signed")
	}
	if part.Encrypted {
		list = append(list, "encrypted")
	}
	list = append(list, part.Tricks...)
	if part.Unread != "" {
		list = append(list, "not scanned: "+part.Unread)
	}
	return strings.Join(list, ", ")
}

type printer struct{ lines []Line }

// line adds indented text. A label is separated from its text by two spaces, or
// is a severity.
func (p *printer) line(indent int, format string, args ...any) {
	l := Line{Indent: indent, raw: safe.Line(fmt.Sprintf(format, args...))}
	l.Text = l.raw
	if label, text, ok := strings.Cut(l.raw, "  "); ok && len(label) < 16 {
		l.Label, l.Text = label, strings.TrimLeft(text, " ")
	} else if text, ok := strings.CutPrefix(l.raw, "warning "); ok {
		l.Label, l.Text = "warning", text
	}
	p.lines = append(p.lines, l)
}

// print writes the line. Continuation lines are aligned with the start of the
// text.
func (l *Line) print(w io.Writer) {
	if l.raw == "" {
		fmt.Fprintln(w)
		return
	}
	hang, indent := l.Indent+len(l.raw)-len(l.Text), l.Indent
	out := strings.Repeat(" ", indent)
	rest := l.raw
	for at := indent; ; at = hang {
		room := width - at
		if len([]rune(rest)) <= room {
			fmt.Fprintln(w, out+rest)
			return
		}
		cut := strings.LastIndexByte(string([]rune(rest)[:room+1]), ' ')
		if cut <= 0 || strings.TrimSpace(rest[:cut]) == "" {
			cut = len(string([]rune(rest)[:room]))
		}
		fmt.Fprintln(w, strings.TrimRight(out+rest[:cut], " "))
		rest = strings.TrimLeft(rest[cut:], " ")
		out = strings.Repeat(" ", hang)
	}
}

// layerWords describes the type of a layer.
func (l *Layer) layerWords() string {
	switch {
	case l.Form == "clear-signed":
		return "signature beside the content (clear-signed)"
	case l.Form == "detached":
		return "signature without its content (detached)"
	case l.RecipientCount > 0 && l.Authenticated:
		return "encrypted and protected against change (authEnveloped-data)"
	case l.RecipientCount > 0:
		return "encrypted (enveloped-data)"
	}
	switch l.Type {
	case "signed-data":
		return "signature around the content (opaque)"
	case "certs-only":
		return "certificates only"
	case "compressed-data":
		return "compressed"
	}
	return string(l.Type)
}

func (p *printer) layer(i int, l *Layer) {
	p.line(0, "")
	place := ""
	switch {
	case l.Attached:
		place = ", in an attachment: does not count for this message"
	case !l.Whole:
		place = ", covers only part of the message"
	}
	p.line(0, "layer %d: %s%s", i+1, l.layerWords(), place)
	if l.Size > 0 {
		p.line(2, "part        %s, %d octets", l.Part, l.Size)
	} else {
		p.line(2, "part        %s", l.Part)
	}
	if l.RecipientCount > 0 {
		p.line(2, "cipher      %s", l.Algorithm)
		for _, rc := range l.Recipients {
			p.line(2, "recipient   %s", strings.Join(nonEmpty(rc.ID, rc.Kind, rc.Algorithm), ", "))
		}
		if n := l.RecipientCount - len(l.Recipients); n > 0 {
			p.line(2, "            and %d more", n)
		}
	}
	for _, c := range l.Certificates {
		p.line(2, "holds       %s", c)
	}
	if len(l.Signers) == 0 && l.Reason != "" {
		p.line(2, "verdict     %s: %s", l.Verdict, l.Reason)
	}
	for _, s := range l.Signers {
		p.signer(s)
	}
}

func (p *printer) signer(s *Signer) {
	p.line(2, "signer      %s", s.Subject)
	if s.Reason == "" {
		p.line(4, "verdict   %s", s.Verdict)
	} else {
		p.line(4, "verdict   %s: %s", s.Verdict, s.Reason)
	}
	if len(s.Addresses) > 0 {
		p.line(4, "address   %s", strings.Join(s.Addresses, ", "))
	}
	if s.SigningTime != nil {
		p.line(4, "signed    %s (the signer's claim)", stamp(*s.SigningTime))
	}
	p.line(4, "with      %s, %s", s.Algorithm, s.Digest)
	if s.Issuer != "" {
		p.line(4, "issuer    %s", s.Issuer)
		p.line(4, "serial    %s", s.Serial)
	}
	if s.NotBefore != nil {
		p.line(4, "valid     %s to %s", day(*s.NotBefore), day(*s.NotAfter))
	}
	p.line(4, "trust     %s", trustWords[s.Trust])
	for i, c := range s.Chain[min(1, len(s.Chain)):] {
		label := "chain"
		if i > 0 {
			label = ""
		}
		p.line(4, "%-9s %s", label, c)
	}
	for _, c := range s.Countersigners {
		p.line(4, "counter   %s: %s", c.Subject, because(c.Verdict, c.Reason))
	}
	for _, t := range s.Timestamps {
		at := ""
		if t.Time != nil {
			at = stamp(*t.Time) + " "
		}
		p.line(4, "stamped   %sby %s: %s", at, t.Subject, because(t.Verdict, t.Reason))
	}
	if s.Revocation != "" {
		p.line(4, "revoked   %s", map[string]string{"good": "no", "revoked": "yes", "unknown": "not known"}[s.Revocation])
	}
}

// because returns a verdict with its reason, if there is one.
func because(verdict, reason string) string {
	if reason == "" {
		return verdict
	}
	return verdict + " (" + reason + ")"
}

var trustWords = map[string]string{
	TrustGood:        "issued under a trusted root",
	TrustUnknownCA:   "no trusted root for the certificate",
	TrustExpired:     "the certificate has expired",
	TrustNotYetValid: "the certificate is not valid yet",
	TrustRevoked:     "the certificate was revoked",
	TrustNotForMail:  "the certificate is not for signing mail",
	TrustMissing:     "there is no certificate",
	TrustUnreadable:  "the certificate cannot be read",
	TrustUnchecked:   "not verified",
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02") }

func nonEmpty(in ...string) (out []string) {
	for _, s := range in {
		if s != "" {
			out = append(out, s)
		}
	}
	return out
}
