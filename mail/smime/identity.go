package smime

import (
	"crypto/x509"
	"fmt"
	netmail "net/mail"
	"slices"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"hoplite/mail"
	"hoplite/mail/cms"
	"hoplite/mail/mime"
)

// readIdentity reads the sender's addresses and the dates from the header. It
// uses every address that a mail program might find in any From field, because
// mail programs differ in the one they show.
func (r *run) readIdentity() {
	for f := range mime.Fields(r.header) {
		switch {
		case f.Is("From"):
			r.from = append(r.from, identities(f.Unfolded())...)
		case f.Is("Sender"):
			r.sender = append(r.sender, identities(f.Unfolded())...)
		case f.Is("Date"):
			if t, err := netmail.ParseDate(f.Unfolded()); err == nil {
				r.dates = append(r.dates, t)
			}
		}
	}
	for _, a := range r.from {
		_, domain := splitAddress(a)
		r.rep.FromDomains = append(r.rep.FromDomains, domain)
	}
}

// identities returns the addresses that a mail program may show for a From or
// Sender field. Text that only resembles an address, as in "Team @ Home", is
// ignored.
func identities(v string) (out []string) {
	list, exact := mime.Identities(v)
	for _, a := range list {
		if exact || strings.Contains(a.Domain, ".") {
			out = append(out, a.Local+"@"+a.Domain)
		}
	}
	return unique(out)
}

// fromDomain returns the domain shared by all From addresses, or "" if they
// differ, because roots configured for a domain are trusted only for that
// domain.
func (r *run) fromDomain() string {
	if len(unique(r.rep.FromDomains)) != 1 {
		return ""
	}
	return r.rep.FromDomains[0]
}

// identity compares the signers with From. A signature on the whole message
// must be the sender's. A signature on a part, which may have been copied from
// anywhere, is considered only if there is no other.
func (r *run) identity() cms.Verdict {
	if r.header == nil {
		return cms.Good // a separate object has no sender
	}
	names, signers := r.signerAddresses(true)
	if signers == 0 {
		names, signers = r.signerAddresses(false)
	}
	severity, text := warning, ""
	if r.AnyRoot {
		severity = info
	}
	switch {
	case signers == 0:
		return cms.Good
	case len(r.from) == 0:
		r.find("no_from", severity, "", "signed, but From contains no address to compare with the signer", "")
		if r.AnyRoot {
			return cms.Good
		}
		return cms.Unknown
	case len(names) == 0:
		// Such certificates must be accepted (RFC 8550, 3), but the
		// reader is informed.
		r.find("no_address", severity, "", "no signer's certificate contains an address: only its subject can tell whether it belongs to "+strings.Join(r.from, ", "), "")
		return cms.Good
	}
	for _, fold := range []bool{r.FoldCase, true} {
		if r.matches(r.from, names, fold) || r.Sender && len(r.sender) == 1 && r.matches(r.sender, names, fold) {
			if fold != r.FoldCase {
				// Only the receiving host may know whether case
				// matters in a local part (RFC 5321, 2.4). In
				// practice, it never does.
				r.find("case", info, "", fmt.Sprintf("signed by %s, sent from %s: the addresses differ only in upper and lower case",
					strings.Join(unique(names), ", "), strings.Join(r.from, ", ")), "")
			}
			return cms.Good
		}
	}
	text = fmt.Sprintf("signed by %s, but sent from %s", strings.Join(unique(names), ", "), strings.Join(r.from, ", "))
	if len(r.from) > 1 {
		text += ": every address must be the signer's"
	}
	r.find("mismatch", bad, "", text, "the signature is not the sender's")
	return cms.Bad
}

// signerAddresses returns the addresses of the signers of the whole message or,
// if whole is false, of any part.
func (r *run) signerAddresses(whole bool) (names []string, signers int) {
	for _, l := range r.rep.Layers {
		if l.Attached || whole && !l.Whole {
			continue
		}
		for _, sg := range l.Signers {
			signers++
			names = append(names, sg.Addresses...)
		}
	}
	return names, signers
}

// matches reports whether all of addrs are in names.
func (r *run) matches(addrs, names []string, fold bool) bool {
	for _, a := range addrs {
		if !slices.ContainsFunc(names, func(n string) bool { return sameAddress(a, n, fold) }) {
			return false
		}
	}
	return true
}

// sameAddress reports whether two addresses are equal. Local parts are compared
// octet by octet (RFC 5321, 2.4), or ignoring case if fold is set; domains are
// compared as A-labels.
func sameAddress(a, b string, fold bool) bool {
	la, da := splitAddress(a)
	lb, db := splitAddress(b)
	return da == db && (la == lb || fold && strings.EqualFold(la, lb))
}

func splitAddress(a string) (local, domain string) {
	i := strings.LastIndexByte(a, '@')
	if i < 0 {
		return a, ""
	}
	if d, err := mail.ParseDomain(a[i+1:]); err == nil {
		return a[:i], d
	}
	return a[:i], strings.ToLower(a[i+1:])
}

func unique(in []string) (out []string) {
	for _, s := range in {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// maxNames is the maximum number of addresses read from a certificate.
const maxNames = 100

// addressesOf returns all addresses in a certificate: rfc822Name,
// SmtpUTF8Mailbox (RFC 9598), and emailAddress in the subject, which was common
// before 1999 and still occurs.
func addressesOf(c *x509.Certificate) []string {
	out := slices.Clone(c.EmailAddresses)
	for _, e := range c.Extensions {
		if e.Id.String() == "2.5.29.17" {
			out = append(out, utf8Mailboxes(e.Value)...)
		}
	}
	for _, n := range c.Subject.Names {
		if s, ok := n.Value.(string); ok && n.Type.String() == "1.2.840.113549.1.9.1" {
			out = append(out, s)
		}
	}
	out = unique(out)
	return out[:min(len(out), maxNames)]
}

// utf8Mailboxes reads the otherName values of type id-on-SmtpUTF8Mailbox.
func utf8Mailboxes(san []byte) (out []string) {
	in := cryptobyte.String(san)
	var names, v, text cryptobyte.String
	var tag cbasn1.Tag
	if !in.ReadASN1(&names, cbasn1.SEQUENCE) {
		return nil
	}
	for names.ReadAnyASN1(&v, &tag) {
		if tag != cbasn1.Tag(0).ContextSpecific().Constructed() {
			continue
		}
		var id, inner cryptobyte.String
		if v.ReadASN1(&id, cbasn1.OBJECT_IDENTIFIER) && string(id) == "\x2b\x06\x01\x05\x05\x07\x08\x09" &&
			v.ReadASN1(&inner, cbasn1.Tag(0).ContextSpecific().Constructed()) && inner.ReadASN1(&text, cbasn1.UTF8String) {
			out = append(out, string(text))
		}
	}
	return out
}
