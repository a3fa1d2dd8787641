package intake

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"hoplite/mail/attachments"
	"hoplite/mail/trace"
)

// tricky are the tricks that make an attachment dangerous, in words.
var tricky = map[string]string{
	attachments.TrickDouble:   "has a double extension",
	attachments.TrickHidden:   "hides its extension",
	attachments.TrickReversed: "has a name that displays reversed",
	attachments.TrickType:     "is a program under another name or type",
	attachments.TrickMacros:   "contains macros",
}

// maxDangers bounds the findings about one message.
const maxDangers = 20

// Dangers returns a finding for each dangerous attachment of the message, in
// archives and winmail.dat, too.
func (in *Input) Dangers(ctx context.Context) ([]trace.Finding, error) {
	if len(in.Body) == 0 {
		return nil, nil
	}
	whole := make([]byte, 0, len(in.Head)+len(in.Body)+1)
	whole = append(append(append(whole, in.Head...), '\n'), in.Body...)
	items, err := attachments.List(ctx, bytes.NewReader(whole), int64(len(whole)), attachments.Limits{})
	var list []trace.Finding
	for i := range items {
		if why := danger(&items[i]); why != "" && len(list) < maxDangers {
			list = append(list, trace.Finding{Code: "dangerous-attachment", Severity: trace.Problem, Text: why,
				Advice: "do not open it; ask the sender by other means whether it is genuine"})
		}
	}
	return list, err
}

// danger says why an attachment is dangerous, or "".
func danger(it *attachments.Item) string {
	var why []string
	for _, t := range it.Tricks {
		if w := tricky[t]; w != "" {
			why = append(why, w)
		}
	}
	if ext := attachments.Extension(it.Name); len(why) == 0 && attachments.Executable(ext) {
		why = append(why, fmt.Sprintf("may run a program when opened (.%s)", ext))
	}
	if len(why) == 0 {
		return ""
	}
	text := fmt.Sprintf("attachment %s %s", it.Label(), strings.Join(why, " and "))
	if it.Via != "mime" {
		text += ", inside " + it.Via
	}
	return text
}
