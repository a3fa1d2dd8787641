package received

import "strings"

// clientComment holds the parts of the comment after the client's name that
// have been read so far.
type clientComment struct {
	name, nameEnd int  // the first word that could be a name
	addrs         bool // an address has been read
	helo          bool // the next word is the name in HELO
}

// client reads the comment after the client's name:
// "name [192.0.2.1] (may be forged)", "[192.0.2.1]:25 helo=x ident=y",
// "user@192.0.2.1", "IDENT:user@name [192.0.2.1]", "softdnserr [...]".
func (r *commentReader) client(a, b int) {
	var c clientComment
	for a < b {
		for a < b && (class[r.s[a]] == space || r.s[a] == '(' || r.s[a] == ')' || r.s[a] == ',') {
			a++
		}
		e := r.clientWordEnd(a, b)
		if a == e {
			break
		}
		r.clientWord(&c, a, e)
		a = e
	}
	if c.name < c.nameEnd {
		r.clientName(&c)
	}
}

// clientWordEnd returns the end of the word at a.
func (r *commentReader) clientWordEnd(a, b int) int {
	e := a
	for e < b && class[r.s[e]] != space && r.s[e] != '(' && r.s[e] != ')' {
		if r.s[e] == '[' && e > a && r.s[e-1] != '@' && r.s[e-1] != '=' { // unknown[192.0.2.1]
			break
		}
		if r.s[e] == '"' { // "port 34611"@host
			if q := strings.IndexByte(r.s[e+1:b], '"'); q >= 0 {
				e += q + 2
				continue
			}
		}
		e++
	}
	return e
}

// clientWord reads one word of the comment.
func (r *commentReader) clientWord(c *clientComment, a, e int) {
	switch w := r.s[a:e]; {
	case c.helo: // smap: "192.0.2.1, HELO name"
		r.line.From.Helo, c.helo = r.set(PartHelo, a, e), false
	case c.addrs && (fold(w, "helo") || fold(w, "ehlo")):
		c.helo = true
	case w[0] == '[':
		if c.addrs && r.form == bareOnly {
			r.repeated(w)
		}
		if r.address(a, e, bracketOnly) {
			c.addrs = true
		}
	case strings.IndexByte(w, '=') > 0:
		r.pair(a, e)
	case w[0] == '"' && (foldPrefix(w[1:], "ehlo ") || foldPrefix(w[1:], "helo ")): // zmailer
		v, end := r.firstWord(a+6, e-1)
		r.line.From.Helo = r.set(PartHelo, v, end)
	case r.lookupWord(w):
	case strings.IndexByte(w, '@') >= 0:
		host, hostEnd, isAddr := r.userAt(a, e)
		if isAddr {
			c.addrs = true
		} else if c.name == c.nameEnd {
			c.name, c.nameEnd = host, hostEnd
		}
	default:
		if _, _, ok := parseAddr(w); ok && r.address(a, e, bareOnly) {
			c.addrs = true
		} else if c.name == c.nameEnd {
			c.name, c.nameEnd = a, e
		}
	}
}

// clientName determines what the name in the comment is.
func (r *commentReader) clientName(c *clientComment) {
	p := &r.line.From
	w := r.s[c.name:c.nameEnd]
	switch {
	case c.addrs:
		p.RDNS = r.set(PartRDNS, c.name, c.nameEnd)
		if r.form == bracketOnly || r.form == bareOnly {
			r.form = withName
		}
	case p.Addr.IsValid() && r.form == outside && strings.IndexByte(w, '.') < 0: // Exim 3: "host [ip] (user)"
		r.line.Ident = r.set(PartIdent, c.name, c.nameEnd)
	case p.RDNS == "" && HostLike(w):
		p.RDNS = r.set(PartRDNS, c.name, c.nameEnd)
	}
}

// repeated recognises "198.51.100.77 [198.51.100.77]", with the address in
// place of a missing reverse name.
func (r *commentReader) repeated(w string) {
	if addr, _, ok := parseAddr(w); ok && addr == r.line.From.Addr {
		r.line.From.RDNSState, r.form = Missing, bracketOnly
	}
}

// lookupWord reads the words that describe the result of the reverse lookup.
func (r *commentReader) lookupWord(w string) bool {
	p := &r.line.From
	switch w[0] | 0x20 {
	case '<': // OpenSMTPD
		if fold(w, "<unknown>") {
			p.RDNSState = Missing
			return true
		}
	case 'u':
		if fold(w, "unknown") || fold(w, "unavailable") || fold(w, "unknownhost") {
			p.RDNSState = Missing
			return true
		}
		if fold(w, "unverified") {
			p.RDNSState = Unverified
			return true
		}
	case 'v':
		if fold(w, "verified") {
			p.RDNSState = Verified
			return true
		}
	case 'm', 'b', 'f':
		if fold(w, "may") || fold(w, "be") {
			return true
		}
		if fold(w, "forged") {
			p.RDNSState = MayBeForged
			return true
		}
		if fold(w, "failed") {
			return true
		}
	case 'r':
		if foldPrefix(w, "rhost-flags-") { // zmailer
			return true
		}
		if fold(w, "rdns") {
			p.RDNSState = Missing
			return true
		}
	case 's':
		if fold(w, "softdnserr") {
			p.RDNSState = Missing
			return true
		}
	case 'n':
		return fold(w, "no.name.available")
	}
	return false
}

// userAt splits "user@host" at the last @. The user name comes from ident.
func (r *commentReader) userAt(a, e int) (host, hostEnd int, isAddr bool) {
	at := a + strings.LastIndexByte(r.s[a:e], '@')
	if foldPrefix(r.s[a:at], "ident:") {
		a += 6
	}
	if a < at {
		r.line.Ident = r.set(PartIdent, a, at)
	}
	if _, _, ok := parseAddr(r.s[at+1 : e]); ok && r.address(at+1, e, bareOnly) {
		return 0, 0, true
	}
	return at + 1, e, false
}

// HostLike reports whether w looks like a host name.
func HostLike(w string) bool {
	for i := range len(w) {
		if c := w[i]; !isLetter(c) && !isDigit(c) && c != '.' && c != '-' && c != '_' && c < 128 {
			return false
		}
	}
	return strings.IndexByte(w, '.') > 0 || w == "localhost"
}
