package inspect

import (
	"context"
	"fmt"
	"strings"

	"hoplite/mail"
	"hoplite/mail/attachments"
	"hoplite/mail/smime"
	"hoplite/mail/trace"
	"hoplite/mail/trace/intake"
)

// Content describes the body of a message: S/MIME layers, text and attachments.
// Signatures are verified, but the signers' certificates are not.
type Content struct {
	SMIME   *smime.Report // nil without S/MIME layers
	Signers []string      // their subjects
	Parts   []smime.Part  // including parts inside attachments

	findings []trace.Finding
}

// maxDangers is the maximum number of findings about dangerous parts.
const maxDangers = 20

// readContent reads the body, and returns nil if there is none. It skips
// Outlook files, because their text is not the original body.
func readContent(ctx context.Context, in *intake.Input) (*Content, error) {
	if len(in.Body) == 0 || in.Outlook {
		return nil, nil
	}
	checker := &smime.Checker{AnyRoot: true, Inside: true}
	message := in.Message()
	rep, err := checker.Message(ctx, mail.Bytes(message), int64(len(message)))
	if err != nil {
		return nil, fmt.Errorf("read content: %w", err)
	}
	c := &Content{}
	for i := range rep.Parts {
		p := &rep.Parts[i]
		if p.Size > 0 {
			c.Parts = append(c.Parts, *p)
		}
		if len(c.findings) >= maxDangers {
			continue
		}
		if why := danger(p); why != "" {
			c.findings = append(c.findings, trace.Finding{Code: "dangerous-attachment", Severity: trace.Problem, Text: why,
				Advice: "do not open it; ask the sender by other means whether it is genuine"})
		} else if p.Unread != "" && !p.Encrypted {
			item := attachments.Item{Path: p.Part, Name: p.Name}
			c.findings = append(c.findings, trace.Finding{Code: "unread-attachment", Severity: trace.Note, Text: fmt.Sprintf("attachment %s was not scanned completely: %s", item.Label(), p.Unread),
				Advice: "it may contain more than the list below shows"})
		}
	}
	if len(rep.Layers) == 0 {
		return c, nil
	}
	c.SMIME = rep
	for _, l := range rep.Layers {
		for _, s := range l.Signers {
			c.Signers = append(c.Signers, s.Subject)
		}
	}
	if rep.Verdict == "bad" {
		c.findings = append(c.findings, badSignature(rep, in))
	}
	return c, nil
}

// badSignature returns the finding about an invalid S/MIME signature, or an
// object that cannot be read. A copy that had to be repaired proves nothing
// about the original message.
func badSignature(rep *smime.Report, in *intake.Input) trace.Finding {
	f := trace.Finding{Code: "smime-bad", Severity: trace.Problem, Text: "the S/MIME signature is not valid: " + rep.Reason(),
		Advice: "the message was changed after it was signed, or is forged; ask the sender to send it again"}
	if rep.Has("unreadable") {
		f.Text, f.Advice = "the S/MIME object cannot be read: "+rep.Reason(), "it is damaged or malformed; ask the sender to send it again"
	}
	if in.Pasted {
		f.Severity, f.Advice = trace.Note, "this copy had to be repaired: examine the message as it is stored in the mailbox"
	}
	return f
}

// Notable reports whether the message contains more than text.
func (c *Content) Notable() bool {
	if c == nil {
		return false
	}
	for _, p := range c.Parts {
		if p.Name != "" || p.Via != "mime" || !strings.HasPrefix(p.Type, "text/") {
			return true
		}
	}
	return c.SMIME != nil
}

// tricky describes tricks that make an attachment dangerous.
var tricky = map[string]string{
	attachments.TrickDouble:   "has a double extension",
	attachments.TrickHidden:   "hides its extension",
	attachments.TrickReversed: "has a name that displays reversed",
	attachments.TrickType:     "is a program under another name or type",
	attachments.TrickMacros:   "contains macros",
}

// danger returns the reason why a part is dangerous, or "" if it is not.
func danger(p *smime.Part) string {
	var why []string
	for _, t := range p.Tricks {
		if w := tricky[t]; w != "" {
			why = append(why, w)
		}
	}
	if ext := attachments.Extension(p.Name); len(why) == 0 && attachments.Executable(ext) {
		why = append(why, fmt.Sprintf("may run a program when opened (.%s)", ext))
	}
	if len(why) == 0 {
		return ""
	}
	item := attachments.Item{Path: p.Part, Name: p.Name}
	text := fmt.Sprintf("attachment %s %s", item.Label(), strings.Join(why, " and "))
	if p.Via != "" && p.Via != "mime" {
		text += ", inside " + container(p)
	}
	return text
}

// container returns the name of the file in which a part was found.
func container(p *smime.Part) string {
	if p.Via == "tnef" {
		return "winmail.dat (TNEF)"
	}
	return p.Via
}
