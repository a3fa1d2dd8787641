package inspect

import (
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"

	"hoplite/mail"
	"hoplite/mail/mime"
	"hoplite/mail/safe"
	"hoplite/mail/trace"
)

// maxAuthors is the maximum number of addresses that are examined.
const maxAuthors = 10

// author returns findings about how mail programs display the From field: the
// tricks that make an author look like another one.
func author(head []byte) (list []trace.Finding) {
	for field := range mail.Fields(head) {
		if !field.Is("From") {
			continue
		}
		addrs := mime.ParseAddresses(field.Text())
		for _, a := range addrs[:min(len(addrs), maxAuthors)] {
			if a.Kind == mime.Mailbox {
				list = append(list, authorFindings(a, head)...)
			}
		}
	}
	return list
}

func authorFindings(a mime.Address, head []byte) (list []trace.Finding) {
	name := mime.DecodeWords(a.Name)
	if r, ok := deceptive(name + a.Addr()); ok {
		list = append(list, trace.Finding{Code: "hidden-characters", Severity: trace.Warning,
			Text:   fmt.Sprintf("the From field contains the character U+%04X, which is invisible or reverses text", r),
			Advice: "mail programs may display another name or address than the one written; do not trust the display"})
	}
	domain, err := mail.ParseDomain(a.Domain)
	if err != nil {
		return list
	}
	if strings.HasSuffix(a.Domain, ".") {
		list = append(list, trace.Finding{Code: "display-domain", Severity: trace.Note,
			Text: fmt.Sprintf("the domain %s in From ends with a dot, which addresses do not have", safe.Line(a.Domain))})
	}
	if why := lookalike(domain); why != "" {
		list = append(list, trace.Finding{Code: "display-domain", Severity: trace.Warning, Text: why,
			Advice: "compare the domain as written here with that of the supposed sender"})
	}
	if f, ok := otherAddress(name, domain, head); ok {
		list = append(list, f)
	}
	return list
}

// otherAddress returns a finding if the display name contains an address of
// another organisation. Mailing lists do that for a good reason: they put their
// own address in From, because DMARC would fail for the author's.
func otherAddress(name, domain string, head []byte) (trace.Finding, bool) {
	for _, shown := range mime.ParseAddresses(strings.NewReplacer("(", " ", ")", " ", "[", " ", "]", " ", `"`, " ", "'", " ").Replace(name)) {
		other, err := mail.ParseDomain(shown.Domain)
		if shown.Local == "" || err != nil || !strings.Contains(other, ".") || organisation(other) == organisation(domain) {
			continue
		}
		word := strings.Fields(shown.Local)
		addr := safe.Line(word[len(word)-1] + "@" + other)
		f := trace.Finding{Code: "display-name", Severity: trace.Warning,
			Text:   fmt.Sprintf("the name in From shows the address %s, but the message is from %s", addr, domain),
			Advice: "mail programs that show only the name display an address that the sender chose"}
		if fromList(head) || strings.Contains(strings.ToLower(name), " via ") {
			f.Severity, f.Advice = trace.Note, "mailing lists and forwarding services write this when they put their own address in From"
		}
		return f, true
	}
	return trace.Finding{}, false
}

// fromList reports whether a mailing list sent the message.
func fromList(head []byte) bool {
	for f := range mail.Fields(head) {
		if f.Is("List-Id") || f.Is("List-Post") {
			return true
		}
	}
	return false
}

// organisation returns the registered domain of a domain, or the domain itself.
func organisation(domain string) string {
	if org, err := publicsuffix.EffectiveTLDPlusOne(domain); err == nil {
		return org
	}
	return domain
}

// deceptive returns the first character that hides text or changes its
// direction. Characters that names need are allowed: joiners, direction marks
// and variation selectors (emoji).
func deceptive(s string) (rune, bool) {
	for _, r := range s {
		switch {
		case r == '\t', r == '\u200c', r == '\u200d', r == '\u200e', r == '\u200f', r == '\u00ad',
			r >= 0xfe00 && r <= 0xfe0f, r >= 0xe0000 && r <= 0xe0fff, r == unicode.ReplacementChar:
		case safe.Hidden(r):
			return r, true
		}
	}
	return 0, false
}

// lookalike explains why a domain may be mistaken for another one: a label
// mixes Latin with similar scripts, or consists of letters that look like
// Latin. It returns "" for all other domains.
func lookalike(domain string) string {
	shown, err := idna.Punycode.ToUnicode(domain)
	if err != nil || shown == domain {
		return ""
	}
	labels := strings.Split(shown, ".")
	if !ascii(labels[len(labels)-1]) {
		return "" // a domain of that script's own top level
	}
	for _, label := range labels {
		var latin, similar, foreign int
		skeleton := strings.Map(func(r rune) rune {
			twin, ok := latinTwins[r]
			switch {
			case unicode.Is(unicode.Latin, r):
				latin++
			case ok:
				similar++
				return twin
			case unicode.Is(unicode.Cyrillic, r) || unicode.Is(unicode.Greek, r):
				foreign++
			}
			return r
		}, label)
		switch {
		case latin > 0 && similar+foreign > 0:
			return fmt.Sprintf("the domain in From mixes Latin letters with Cyrillic or Greek ones: %s, displayed as %s", domain, safe.Line(shown))
		case similar > 0 && foreign == 0 && ascii(skeleton):
			return fmt.Sprintf("the domain in From, %s, is displayed as %s and looks like %q in Latin letters", domain, safe.Line(shown), skeleton)
		}
	}
	return ""
}

func ascii(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r > unicode.MaxASCII }) < 0
}

// latinTwins maps Cyrillic and Greek letters to the Latin letters that they look
// like (Unicode Technical Standard 39, confusables.txt, lower case).
var latinTwins = map[rune]rune{
	'а': 'a', 'ԁ': 'd', 'е': 'e', 'ҽ': 'e', 'һ': 'h', 'і': 'i', 'ј': 'j', 'ӏ': 'l', 'о': 'o', 'р': 'p', 'ԛ': 'q', 'ѕ': 's',
	'с': 'c', 'у': 'y', 'ү': 'y', 'х': 'x', 'ѵ': 'v', 'ԝ': 'w', 'г': 'r', 'ь': 'b', 'п': 'n', 'т': 't', 'к': 'k', 'м': 'm', 'н': 'h', 'в': 'b',
	'ο': 'o', 'ν': 'v', 'ρ': 'p', 'υ': 'u', 'ι': 'i', 'α': 'a', 'κ': 'k', 'χ': 'x', 'γ': 'y', 'σ': 'o', 'τ': 't', 'ω': 'w', 'ε': 'e',
}
