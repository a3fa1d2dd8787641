package refusal

import "hoplite/mail"

// Explain returns what a reply or the text of a bounce means: what Find knows
// about its text, else the meaning of its codes, of which the first one then says
// that the text is not known.
func Explain(text string) []mail.Meaning {
	codes := mail.LookupCode(text)
	found := Find(text)
	if len(found) == 0 {
		if len(codes) > 0 {
			codes[0].Why = append([]string{"this text is not known, and the code alone means so"}, codes[0].Why...)
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
