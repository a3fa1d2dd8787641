package dmarc

import (
	"strings"

	"hoplite/mail"
	"hoplite/mail/mime"
)

// maxDomains is how many domains of one message are evaluated.
const maxDomains = 5

// FromDomains returns the domains that readers may take for those of a message's
// authors, as A-labels, at most five. problem says why From is not a list of
// valid addresses with few domains, "" if it is one; the domains count all the
// same. A From field that departs from the grammar is read in
// every way that another reader might, see [mime.Identities].
func FromDomains(head []byte) (domains []string, problem string) {
	fields := 0
	for f := range mail.Fields(head) {
		if !f.Is("From") {
			continue
		}
		fields++
		text := f.Text()
		addrs, exact := mime.Identities(text)
		for _, a := range addrs {
			d, ok := domainOf(a.Domain)
			if !ok {
				// Of text that is no address anyway, only what looks like a domain
				// counts: not "Team @ Home".
				if exact || strings.Contains(a.Domain, ".") {
					problem = "From contains an address without a valid domain"
				}
				continue
			}
			if !contains(domains, d) {
				domains = append(domains, d)
			}
		}
		if strings.ContainsRune(text, 0) {
			problem = "From contains a NUL"
		}
	}
	switch {
	case fields == 0:
		return nil, "the message has no From field"
	case fields > 1:
		problem = "the message has several From fields"
	case len(domains) > maxDomains:
		problem = "From contains too many domains"
	case len(domains) == 0 && problem == "":
		problem = "From contains no address"
	}
	return domains[:min(len(domains), maxDomains)], problem
}

// domainOf returns a domain of at least two labels as A-labels.
func domainOf(s string) (string, bool) {
	a, err := mail.Join("x", strings.TrimSuffix(s, "."))
	if err != nil || !strings.Contains(a.ASCIIDomain(), ".") || strings.HasPrefix(s, "[") {
		return "", false
	}
	return a.ASCIIDomain(), true
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if strings.EqualFold(l, s) {
			return true
		}
	}
	return false
}
