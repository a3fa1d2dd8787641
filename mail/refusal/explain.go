package refusal

import (
	"strings"

	"hoplite/mail"
)

// Explain returns the meaning of a reply or of the text of a bounce: the
// entries that Find returns for the text, or otherwise the meaning of its
// codes. In the latter case the first meaning notes that the text, if there is
// any, is unknown.
func Explain(text string) []mail.Meaning {
	basic, enhanced := mail.FindCodes(text)
	found := Find(text)
	if len(found) == 0 {
		codes := mail.LookupCode(enhanced) // more specific than the basic code
		if len(codes) == 0 {
			codes = mail.LookupCode(text)
		}
		if len(codes) > 0 && !IsBareCode(text) {
			codes[0].Why = append([]string{"this text is not known; the code alone means this"}, codes[0].Why...)
		}
		return codes
	}
	code := enhanced
	if code == "" {
		code = basic
	}
	var list []mail.Meaning
	for _, r := range found {
		list = append(list, mail.Meaning{Code: code, Title: strings.TrimSuffix(r.Cause, "."), Why: []string{"known text of " + r.By}, Next: r.Job + ": " + r.Next, RFC: r.Source})
	}
	return list
}
