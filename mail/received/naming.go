package received

import "strings"

// naming interprets a line after all its words have been assigned: it
// identifies the software, the protocol and the client's names.
type naming struct{ *draft }

// finish interprets the parts that depend on each other.
func (r naming) finish() {
	h := r.line
	p := &h.From
	if p.Name != "" && !p.Addr.IsValid() {
		if span := h.spans[PartFrom]; span.End-span.Start == len(p.Name) {
			if r.address(span.Start, span.End, inName) && p.Name[0] == '[' { // [192.0.2.1]:25
				p.Name = r.set(PartFrom, span.Start, span.Start+strings.IndexByte(p.Name, ']')+1)
			}
		}
	}
	h.Proto = protoOf(h.With)
	if h.Proto.Name == "" && h.With == "" {
		h.Proto = protoOf(h.Via)
	}
	rule := r.writer()
	r.cipherInWith()
	r.nameParties(rule)
	r.login()
	if p.Name == "" && !p.Addr.IsValid() {
		h.Defects |= NoFrom
	}
	if h.By.Name == "" && !h.By.Addr.IsValid() {
		h.Defects |= NoBy
	}
	h.IDIsVersion = h.MTA.Name == "Exchange" && dottedNumber(h.ID)
}

// writer identifies the software by the with clause or the host name, if no
// comment did, and returns its convention for names.
func (r naming) writer() names {
	h := r.line
	if h.MTA.Name == "" {
		switch w := h.With; {
		case foldPrefix(w, "microsoft smtpsvc"):
			h.MTA.Name, h.MTA.Version = "Microsoft SMTPSVC", r.noteAfter(PartWith)
			return heloOut
		case foldPrefix(w, "microsoft smtp server"), fold(w, "mapi"):
			h.MTA.Name, h.MTA.Version = "Exchange", ""
			if dottedNumber(h.ID) {
				h.MTA.Version = h.ID
			}
			return heloOut
		case foldPrefix(w, "internet mail service"):
			h.MTA = oldExchange(r.noteAfter(PartWith))
			return heloOut
		case foldPrefix(w, "qmail-scanner"):
			h.MTA.Name, h.MTA.Version = "qmail-scanner", version(w)
			return heloOut
		case foldPrefix(w, "mailenable"):
			h.MTA.Name = "MailEnable"
			return heloOut
		case foldPrefix(w, "[xmail"), foldPrefix(w, "xmail"):
			h.MTA.Name, h.MTA.Version = "XMail", version(w)
			return heloOut
		case foldPrefix(w, "novell_groupwise"):
			h.MTA.Name = "GroupWise"
			return heloOut
		case foldPrefix(w, "nnfmp"):
			h.MTA.Name = "Yahoo"
		case foldIndex(w, "ibm esmtp") >= 0:
			h.MTA.Name = "IBM gateway"
		case Under(h.By.Name, "outlook.com"), Under(h.By.Name, "office365.com"):
			h.MTA.Name = "Exchange"
			return heloOut
		case Under(h.By.Name, "google.com"), Under(h.By.Name, "gmail.com"):
			h.MTA.Name = "Gmail"
		}
		return byForm
	}
	if foldPrefix(h.MTA.Name, "exchange ") {
		return heloOut
	}
	return r.rule
}

// noteAfter returns the comment that follows a part, as in "(5.0.2195.6713)".
func (r naming) noteAfter(f Part) string {
	end := r.line.spans[f].End
	for _, c := range r.line.Comments {
		if c.Start > end && c.Start <= end+3 {
			return r.s[c.Start:c.End]
		}
	}
	return ""
}

// cipherInWith reads the cipher from IronPort's ESMTP/TLS/CIPHER.
func (r naming) cipherInWith() {
	h := r.line
	if h.TLS.Cipher != "" || !h.Proto.TLS {
		return
	}
	if i := foldIndex(h.With, "/tls/"); i > 0 && h.spans[PartWith].End-h.spans[PartWith].Start == len(h.With) {
		start := h.spans[PartWith].Start + i + 5
		h.TLS.Cipher = r.set(PartTLSCipher, start, h.spans[PartWith].End)
	}
}

// nameParties determines which name the client announced and which came from a
// lookup.
func (r naming) nameParties(rule names) {
	h, p := r.line, &r.line.From
	if h.MTA.Name == "Exim" && p.Helo == "" && r.form == outside && p.RDNS != "" {
		// Exim 3: "from rdns (helo) [192.0.2.1]"
		p.Helo, p.RDNS = p.RDNS, ""
		h.spans[PartHelo], h.spans[PartRDNS] = h.spans[PartRDNS], Span{}
	}
	if fold(p.Name, "unknown") && (p.Helo != "" || r.form == bareOnly) {
		p.RDNSState = Missing
		return
	}
	if p.RDNS != "" {
		if p.RDNSState == NotLooked {
			p.RDNSState = Unverified
			if h.MTA.Name == "Postfix" || h.MTA.Name == "Sendmail" {
				p.RDNSState = Verified // these servers confirm the name, and record it if that fails
			}
		}
		return
	}
	if p.Name == "" || !p.Addr.IsValid() || p.RDNSState == Missing || r.form == inName || p.Name[0] == '[' {
		return
	}
	if _, _, isAddr := parseAddr(p.Name); isAddr {
		return
	}
	apart := h.spans[PartHelo] != Span{} || p.RDNSState == Unverified && r.form == bareOnly
	switch {
	case apart && rule != heloOut,
		p.RDNSState == Verified,
		r.form == bareOnly && rule != heloOut && p.Port == 0 && p.Addr.Is4(),
		(r.form == bracketOnly || r.form == outside) && rule == lookedUp:
		p.RDNS = p.Name
		h.spans[PartRDNS] = h.spans[PartFrom]
		if p.RDNSState == NotLooked {
			p.RDNSState = Unverified
		}
		if h.MTA.Name == "Exim" {
			p.RDNSState = Verified
		}
	}
}

// login sets Auth from the protocol if no comment did.
func (r naming) login() {
	h := r.line
	if h.Auth != "" {
		return
	}
	switch {
	case h.Proto.Auth:
		h.Auth = h.Proto.Name
		h.spans[PartAuth] = h.spans[PartWith]
	case h.Proto.HTTP && h.From.Addr.IsValid() && h.MTA.Name != "Exchange":
		h.Auth = h.Proto.Name // a browser session
		h.spans[PartAuth] = h.spans[PartWith]
	case h.With == "" && r.viaHTTP():
		h.Auth, h.Proto = "HTTP", protocols["http"]
	case h.By.Name == "mail.gmx.net" && h.From.Helo != "" && r.form == outside:
		h.Auth = "GMX" // GMX submission servers write (mpNNN) instead of a protocol suffix
	}
}

// viaHTTP reports whether the line contains "(via HTTP)", as written by web.de
// and GMX.
func (r naming) viaHTTP() bool {
	for _, c := range r.line.Comments {
		if fold(r.s[c.Start:c.End], "via http") {
			return true
		}
	}
	return false
}

func dottedNumber(s string) bool {
	dots := 0
	for i := range len(s) {
		if s[i] == '.' {
			dots++
		} else if !isDigit(s[i]) {
			return false
		}
	}
	return dots >= 2
}

// Under reports whether host is domain or a subdomain of it.
func Under(host, domain string) bool {
	if len(host) > 0 && host[len(host)-1] == '.' {
		host = host[:len(host)-1]
	}
	n := len(host) - len(domain)
	return n == 0 && fold(host, domain) || n > 0 && host[n-1] == '.' && fold(host[n:], domain)
}
