package dmarc

import (
	"strings"

	"hoplite/mail"
	"hoplite/mail/mime"
)

// maxDomains is the maximum number of domains evaluated for one message.
const maxDomains = 5

// FromDomains returns, as A-labels, at most five domains that recipients might
// take for those of a message's authors. problem is the reason why From is not
// a list of valid addresses in at most that many domains, or "" if it is; the
// domains are valid in either case. A malformed From field is parsed in every
// way that other programs might parse it; see [mime.Identities].
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
				// Text that is not a valid address yields a domain only if it
				// looks like one, which excludes "Team @ Home".
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
		return nil, "The message has no From field"
	case fields > 1:
		problem = "The message has several From fields"
	case len(domains) > maxDomains:
		problem = "From contains too many domains"
	case len(domains) == 0 && problem == "":
		problem = "From contains no address"
	}
	return domains[:min(len(domains), maxDomains)], problem
}

// domainOf returns a domain with at least two labels as A-labels.
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
