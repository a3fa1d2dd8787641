package smime

import (
	"fmt"

	"hoplite/mail/cms"
)

// finish determines the overall verdict.
func finish(r *run) {
	worst, any := cms.Good, false
	sealed := false
	for _, l := range r.rep.Layers {
		if l.Attached {
			continue
		}
		switch l.Verdict {
		case "":
		case VerdictEncrypted:
			sealed = true
		default:
			any = true
			worst = max(worst, verdictOf(l.Verdict))
		}
	}
	if any && worst <= cms.Weak {
		worst = max(worst, r.identity())
	}
	if any && worst <= cms.Weak && r.unsigned {
		worst = cms.Unknown
	}
	switch {
	case any && worst > cms.Weak:
		r.rep.Verdict = worst.String()
	case sealed:
		r.rep.Verdict = VerdictEncrypted
	case any:
		r.rep.Verdict = worst.String()
	default:
		r.rep.Verdict = VerdictNone
	}
	if n := len(r.rep.Layers); n > 0 && r.rep.Has("too_many_layers") && r.rep.Verdict != "bad" {
		r.rep.Verdict = cms.Unknown.String()
	}
	findNesting(r)
}

// findNesting reports nested layers.
func findNesting(r *run) {
	var kinds string
	for _, l := range r.rep.Layers {
		switch {
		case !l.Whole:
		case len(l.Signers) > 0:
			kinds += "s"
		case l.RecipientCount > 0:
			kinds += "e"
		}
	}
	switch {
	case len(kinds) > 2 && kinds[:2] == "se" || kinds == "se":
		// The content of the envelope is unknown. Triple-wrapped mail
		// looks the same.
		r.find("nested", info, "", "encrypted, then signed: the signature covers an envelope (as in triple-wrapped mail)", "")
	case len(kinds) > 1:
		r.find("nested", info, "", fmt.Sprintf("%d layers of S/MIME, one inside the other", len(kinds)), "")
	}
}

func verdictOf(s string) cms.Verdict {
	for v := cms.Good; v <= cms.Bad; v++ {
		if v.String() == s {
			return v
		}
	}
	return cms.Bad
}
