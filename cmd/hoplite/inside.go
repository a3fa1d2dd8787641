package main

import (
	"context"
	"fmt"
	"strings"

	"hoplite/mail"
	"hoplite/mail/smime"
)

// inside is what trace prints about a message besides its path: signatures and
// attachments. The certificates of signers are left to hoplite smime.
type inside struct {
	SMIME string       `json:"smime,omitempty"` // verdict on signatures alone
	Parts []smime.Part `json:"parts,omitempty"`

	signers []string
}

// lookInside reads a message; it returns nil for a header without a body.
func lookInside(ctx context.Context, raw []byte) (*inside, error) {
	if !smime.IsMessage(raw) {
		return nil, nil
	}
	checker := &smime.Checker{AnyRoot: true, Inside: true}
	rep, err := checker.Message(ctx, mail.Bytes(raw), int64(len(raw)))
	if err != nil {
		return nil, err
	}
	in := &inside{}
	if len(rep.Layers) > 0 {
		in.SMIME = rep.Verdict
	}
	for _, l := range rep.Layers {
		for _, s := range l.Signers {
			in.signers = append(in.signers, s.Subject)
		}
	}
	for _, p := range rep.Parts {
		if p.Size > 0 {
			in.Parts = append(in.Parts, p)
		}
	}
	if in.SMIME == "" && !in.notable() {
		return nil, nil
	}
	return in, nil
}

// notable reports whether a message contains more than text.
func (in *inside) notable() bool {
	for _, p := range in.Parts {
		if p.Name != "" || p.Via != "mime" || !strings.HasPrefix(p.Type, "text/") {
			return true
		}
	}
	return false
}

// inside prints the contents after a trace.
func (s *screen) inside(in *inside) {
	if in == nil {
		return
	}
	s.heading("Content")
	if in.SMIME != "" {
		text := in.SMIME
		if len(in.signers) > 0 {
			text += ", signed by " + strings.Join(in.signers, " and by ")
		}
		s.wrapped("  S/MIME  ", 10, text+"; hoplite smime verifies the signers")
	}
	for _, p := range in.Parts {
		s.wrapped(fmt.Sprintf("  %-6s  ", p.Part), 10, p.String())
	}
}
