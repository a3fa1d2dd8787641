package refusal

import "hoplite/mail"

// Explain returns the meaning of a reply or of the text of a bounce: the
// entries that Find returns for the text, or otherwise the meaning of its
// codes. In the latter case the first meaning notes that the text is unknown.
func Explain(text string) []mail.Meaning {
	codes := mail.LookupCode(text)
	found := Find(text)
	if len(found) == 0 {
		if len(codes) > 0 {
			codes[0].Why = append([]string{"this text is not known; the code alone means this"}, codes[0].Why...)
		}
		return codes
	}
	basic, enhanced := mail.FindCodes(text)
	code := enhanced
	if code == "" {
		code = basic
	}
	var list []mail.Meaning
	for _, r := range found {
		list = append(list, mail.Meaning{Code: code, Title: r.Cause, Why: []string{"as said by " + r.By}, Next: r.Job + ": " + r.Next, RFC: r.Source})
	}
	return list
}
