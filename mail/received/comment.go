package received

import (
	"strings"
)

// commentReader reads comments. They hold half of the information in a Received
// field, and each mail server has its own format.
type commentReader struct {
	*draft
	in keyword // the clause that the comment belongs to
}

// read reads one comment of the clause in and reports whether it was kept.
func (r *commentReader) read(t *token, in keyword) bool {
	l := r.line
	if len(l.Comments) == MaxComments {
		l.Defects |= TooManyComments
		return false
	}
	if cap(l.Comments) == 0 {
		l.Comments = make([]Span, 0, 4)
	}
	a, b := int(t.start), int(t.end)
	l.Comments = append(l.Comments, Span{a, b})
	r.in = in
	for a < b && class[r.s[a]] == space {
		a++
	}
	for b > a && class[r.s[b-1]] == space {
		b--
	}
	if a == b || r.byStart(a, b) || r.byWords(a, b) || r.software(a, b) {
		return true
	}
	switch in {
	case kFrom:
		r.client(a, b)
	case kBy:
		r.writer(a, b)
	}
	return true
}

// byStart recognises a comment by its first words.
func (r *commentReader) byStart(a, b int) bool {
	switch c := r.s[a:b]; c[0] | 0x20 {
	case 'h', 'e', 'l':
		return r.greeting(a, b) || r.envelopeComment(a, b)
	case 'a':
		return r.login(a, b)
	case 'u':
		return foldPrefix(c, "using ") && usingTLS(r.draft, a, b)
	case 'v', 'c':
		switch {
		case foldPrefix(c, "version="), foldPrefix(c, "cipher="):
			pairs(r.draft, a, b)
		case foldPrefix(c, "cipher "): // Exim 3
			return tlsNote(r.draft, a+7, b)
		case foldPrefix(c, "client "):
			certificate(r.draft, c)
		case foldPrefix(c, "crosscheck:"): // Amazon's own relays
			r.client(a+11, b)
		default:
			return false
		}
		return true
	case 'n':
		if _, ok := phrase(c, "no client certificate"); ok {
			r.line.TLS.Verify = "NO"
			return true
		}
	case 't', 's':
		if foldPrefix(c, "tls_cipher ") { // Exim
			a += 11
		}
		return tlsNote(r.draft, a, b)
	case 'p':
		return foldPrefix(c, "proxying for ") // a web mailer; this is the browser's claim, not its address
	case 'q':
		return foldPrefix(c, "qmail ") && r.qmail(a, b)
	case 'f':
		if r.in == notKey && foldPrefix(c, "from ") {
			r.from(a+5, b)
			return true
		}
	}
	return false
}

// byWords recognises a comment by words it contains.
func (r *commentReader) byWords(a, b int) bool {
	if r.in == kWith && strings.HasSuffix(r.s[a:b], "encrypted") { // qmail with TLS
		v := a
		for v < b && class[r.s[v]] == plain {
			v++
		}
		if v == b {
			return false
		}
		r.line.TLS.Cipher = r.set(PartTLSCipher, a, v)
		return true
	}
	if i := strings.Index(r.s[a:b], "uthenticated"); i > 1 { // SquirrelMail and its successors
		if end, ok := phrase(r.s[a+i-1:b], "authenticated user"); ok {
			r.authWord(a+i-1+end, b)
			return true
		}
	}
	return false
}

// greeting reads "(HELO x)", "(EHLO x)" and "(LHLO x)".
func (r *commentReader) greeting(a, b int) bool {
	c := r.s[a:b]
	if len(c) < 4 || !(foldPrefix(c, "hel") || foldPrefix(c, "ehlo") || foldPrefix(c, "lhlo")) {
		return false
	}
	n := 4
	if foldPrefix(c, "hello") {
		n = 5
	}
	if len(c) > n && class[c[n]] != space || c[0]|0x20 == 'h' && n == 4 && c[3]|0x20 != 'o' {
		return false
	}
	v, e := r.firstWord(a+n, b)
	r.line.From.Helo = r.set(PartHelo, v, e)
	if v == e && r.line.From.RDNSState == NotLooked {
		r.line.From.RDNSState = Unverified // the name outside comes from a lookup
	}
	return true
}

func (r *commentReader) envelopeComment(a, b int) bool {
	c := r.s[a:b]
	if !foldPrefix(c, "envelope") {
		return false
	}
	n := 0
	for _, p := range [...]string{"envelope-from", "envelope-sender", "envelope from", "envelope sender"} {
		if end, ok := phrase(c, p); ok {
			n = end
		}
	}
	if n == 0 {
		return false
	}
	v, e := r.firstWord(a+n, b)
	v, e = unangle(r.s, v, e)
	r.line.EnvelopeFrom = r.envelope(v, e)
	return true
}

// login reads the authenticated user, in the formats of Postfix, sendmail,
// Courier, CommuniGate and Critical Path.
func (r *commentReader) login(a, b int) bool {
	c := r.s[a:b]
	for _, words := range [...]string{"authenticated sender", "authenticated as", "authenticated id", "authenticated user"} {
		if end, ok := phrase(c, words); ok {
			r.authWord(a+end, b)
			return true
		}
	}
	switch {
	case foldPrefix(c, "authenticated"):
		if r.line.Auth == "" {
			r.line.Auth = r.set(PartAuth, a, a+13)
		}
	case foldPrefix(c, "auth:"), foldPrefix(c, "auth="):
		v, e := r.firstWord(a+5, b)
		r.authWord(v, e)
		v, e2 := r.firstWord(e, b)
		if v < e2 && !strings.Contains(r.s[v:e2], ":") && r.s[e-1] != ',' {
			r.authWord(v, e2)
		}
		for _, p := range [...]string{"tls:", "ssl:"} {
			if i := foldIndex(r.s[a:b], p); i >= 0 {
				courierTLS(r.draft, a+i+4, b)
			}
		}
	case foldPrefix(c, "account "):
		r.authWord(a+8, b)
		if i := foldIndex(c, " helo "); i > 0 {
			v, e := r.firstWord(a+i+6, b)
			r.line.From.Helo = r.set(PartHelo, v, e)
		}
	default:
		return false
	}
	return true
}

// qmail reads "qmail 123 invoked by uid 404" and "... from network[ip/name]".
func (r *commentReader) qmail(a, b int) bool {
	c := r.s[a:b]
	i := foldIndex(c, "invoked ")
	if i < 0 {
		return false
	}
	r.line.MTA.Name = "qmail"
	r.set(PartMTA, a, a+5)
	_, e := r.firstWord(a+i+8, b) // by
	v, e := r.firstWord(e, b)
	switch w := r.s[v:e]; {
	case fold(w, "uid"):
		_, e = r.firstWord(e, b)
		r.line.Ident = r.set(PartIdent, v, e)
	case foldPrefix(w, "network["):
		v += 8
		slash := v
		for slash < e && r.s[slash] != '/' && r.s[slash] != ']' {
			slash++
		}
		if r.address(v, slash, bareOnly) && slash < e && r.s[slash] == '/' {
			if e > slash+1 && r.s[e-1] == ']' {
				e--
			}
			r.line.From.RDNS = r.set(PartRDNS, slash+1, e)
		}
	case w != "" && !fold(w, "network"):
		r.line.Ident = r.set(PartIdent, v, e)
	}
	return true
}

// from reads sendmail's "(from user@localhost)", and the comments in which some
// gateways put the whole from clause.
func (r *commentReader) from(a, b int) {
	if strings.IndexByte(r.s[a:b], '[') < 0 {
		v, e := r.firstWord(a, b)
		if at := strings.LastIndexByte(r.s[v:e], '@'); at > 0 {
			e = v + at
		}
		r.line.Ident = r.set(PartIdent, v, e)
		return
	}
	v, e := r.firstWord(a, b)
	if v < e && r.s[v] != '[' {
		r.line.From.Name = r.set(PartFrom, v, e)
		a = e
	}
	r.client(a, b)
	if r.form == bracketOnly {
		r.form = outside
	}
}

// writer reads the address of the server that wrote the line.
func (r *commentReader) writer(a, b int) {
	c := r.s[a:b]
	if i := strings.IndexByte(c, '['); i >= 0 {
		if end := strings.IndexByte(c[i:], ']'); end > 0 {
			if addr, port, ok := parseAddr(c[i : i+end+1]); ok {
				r.line.By.Addr, r.line.By.Port = addr, port
				r.set(PartByAddr, a+i+1, a+i+end)
			}
		}
		return
	}
	addr, port, ok := parseAddr(c)
	if !ok {
		return
	}
	// (8.12.3.1) is a version. No known server writes an address in 1/8 to
	// 9/8 in parentheses without brackets.
	if addr.Is4() && addr.As4()[0] < 10 && !(r.form == bareOnly) {
		return
	}
	r.line.By.Addr, r.line.By.Port = addr, port
	r.set(PartByAddr, a, b)
}
