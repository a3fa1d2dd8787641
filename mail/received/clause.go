package received

import "strings"

// clauses is the state of the clause reader: the current clause and the
// position in it. A clause is a keyword (from, by, via, with, id, for) and the
// words and comments that follow it.
type clauses struct {
	cur             keyword // the clause being read
	words, comments int     // of the current clause, so far
	seen            uint8   // clauses already read, one bit each
	env             bool    // in a second from clause, which holds the reverse path (XMail, IBM)
	claim           bool    // after "claiming to be"
	named           bool    // after SendGrid's "named"
	user            uint8   // words of "as user x" still to come
	cipherNext      bool    // after Exim's and Haraka's "tls"
	again           bool    // after a second "with", as in "with ESMTP with STARTTLS"
}

// opens reports whether a keyword, followed by the tokens rest, starts a
// clause. A clause needs a value before the next may begin, but spammers omit
// values, and a host may be named "for" or "id".
func (c *clauses) opens(rest []token) bool {
	if c.cur == notKey || c.words > 0 || c.comments > 0 {
		return true
	}
	return len(rest) > 0 && rest[0].kind == word && rest[0].key == notKey
}

// open starts the clause k. If a clause is repeated, the first one is used.
func (c *clauses) open(d *draft, k keyword) {
	if c.cur != notKey && c.words == 0 && c.comments == 0 {
		d.line.Defects |= EmptyClause
	}
	c.env, c.claim, c.named, c.user, c.cipherNext = false, false, false, 0, false
	c.cur, c.words, c.comments = k, 0, 0
	if bit := uint8(1) << k; c.seen&bit == 0 {
		c.seen |= bit
		return
	}
	c.env = k == kFrom
	if c.again = k == kWith && d.line.With != ""; c.again {
		c.cur = notKey
		return
	}
	if !c.env {
		d.line.Defects |= RepeatedClause
		if d.line.clause(k) != "" {
			c.cur = notKey
		}
	}
}

// clause returns the text of a clause that holds only one.
func (l *Line) clause(k keyword) string {
	switch k {
	case kBy:
		return l.By.Name
	case kVia:
		return l.Via
	case kWith:
		return l.With
	case kID:
		return l.ID
	case kFor:
		return l.For
	}
	return ""
}

// word assigns a word that is not a keyword.
func (c *clauses) word(d *draft, t *token, beforeDate bool) {
	a, b := int(t.start), int(t.end)
	if c.env {
		a, b = unangle(d.s, a, b)
		d.line.EnvelopeFrom = d.envelope(a, b)
		c.cur, c.env = notKey, false
		return
	}
	first := c.words == 0
	if !first || c.cur == notKey {
		if c.haraka(d, a, b) {
			return
		}
	}
	c.words++
	switch c.cur {
	case kFrom:
		c.fromWord(d, a, b, first)
	case kBy:
		c.byWord(d, a, b, first)
	case kVia:
		d.join(PartVia, &d.line.Via, a, b, first)
	case kWith:
		c.withWord(d, a, b, first)
	case kID:
		idWord(d, a, b, first)
	case kFor:
		if first {
			a, b = unangle(d.s, a, b)
			d.line.For = d.set(PartFor, a, b)
		}
	default:
		if c.again {
			if c.again = false; fold(d.s[a:b], "starttls") {
				return
			}
			d.line.Defects |= RepeatedClause
		}
		if d.s[a] == '[' && (beforeDate || !d.line.From.Addr.IsValid() && d.line.Stamp.Unix == 0) {
			d.address(a, b, inName)
			return
		}
		d.line.Defects |= StrayText
	}
}

// haraka reads "envelope-from <ann@a.example>" and "tls CIPHER", which Haraka adds
// after its id or for clause.
func (c *clauses) haraka(d *draft, a, b int) bool {
	if c.cur != kID && c.cur != kFor && c.cur != notKey {
		return false
	}
	switch w := d.s[a:b]; {
	case c.cipherNext:
		d.line.TLS.Cipher = d.set(PartTLSCipher, a, b)
		c.cipherNext = false
	case fold(w, "tls"):
		c.cipherNext = true
	case fold(w, "envelope-from"):
		c.env = true
	default:
		return false
	}
	return true
}

func (c *clauses) fromWord(d *draft, a, b int, first bool) {
	p := &d.line.From
	switch w := d.s[a:b]; {
	case c.claim:
		if w == "to" || w == "be" {
			return
		}
		a, b = unquote(d.s, a, b)
		p.Helo = d.set(PartHelo, a, b)
		c.claim = false
	case c.named:
		c.named = false
		if fold(w, "unknown") {
			p.RDNSState = Missing
		} else if HostLike(w) {
			p.RDNS = d.set(PartRDNS, a, b)
		}
	case c.user > 0:
		if c.user--; c.user == 0 {
			d.line.Auth = d.set(PartAuth, a, b)
		}
	case first && c.comments == 0:
		a, b = unangle(d.s, a, b)
		p.Name = d.set(PartFrom, a, b)
	case w[0] == '[':
		d.address(a, b, outside)
	case strings.IndexByte(w, '=') > 0:
		d.pair(a, b)
	case fold(w, "claiming"):
		c.claim = true
	case fold(w, "named"):
		c.named = true
	case w == "as": // as user x
		c.user = 2
	case c.comments == 0 && extends(p.Name):
		p.Name = d.longer(PartFrom, b)
	default:
		d.line.Defects |= StrayText
	}
}

func (c *clauses) byWord(d *draft, a, b int, first bool) {
	p := &d.line.By
	switch w := d.s[a:b]; {
	case first && fold(w, "uid"): // qmail-scanner: "by host by uid 502"
		c.cur = notKey
	case first && c.comments == 0:
		p.Name = d.set(PartBy, a, b)
		d.writerAddress(a, b)
	case w[0] == '[':
		d.writerAddress(a, b)
	case c.comments == 0 && extends(p.Name):
		p.Name = d.longer(PartBy, b)
	default:
		d.line.Defects |= StrayText
	}
}

func (c *clauses) withWord(d *draft, a, b int, first bool) {
	l, w := d.line, d.s[a:b]
	with := l.spans[PartWith]
	switch {
	case c.cipherNext:
		l.TLS.Cipher = d.set(PartTLSCipher, a, b)
		c.cipherNext = false
	case fold(w, "encrypted") && l.With != "": // qmail: with CIPHER encrypted SMTP
		l.TLS.Cipher = d.set(PartTLSCipher, with.Start, with.End)
		l.With, l.spans[PartWith] = "", Span{}
	case !first && (fold(w, "tls") || foldPrefix(w, "tls=")):
		c.cipherNext = len(w) == 3
	case strings.IndexByte(w, '=') > 0 && l.With != "":
		d.pair(a, b)
	case l.With != "" && c.comments > 0 && with.End < a && strings.IndexByte(d.s[with.End:a], '(') >= 0:
		l.Defects |= StrayText
	default:
		d.join(PartWith, &l.With, a, b, l.With == "")
	}
}

func idWord(d *draft, a, b int, first bool) {
	switch {
	case first:
		a, b = unangle(d.s, a, b)
		d.line.ID = d.set(PartID, a, b)
	case d.s[a] == '<' && d.line.For == "": // "id 2117for <ann@example.org>"
		a, b = unangle(d.s, a, b)
		d.line.For = d.set(PartFor, a, b)
		d.line.Defects |= StrayText
	}
}

// extends reports whether a name may consist of several words, as in "mail
// pickup service". Addresses and host names with a dot may not.
func extends(name string) bool {
	return name != "" && name[0] != '[' && strings.IndexByte(name, '.') < 0 && strings.IndexByte(name, '@') < 0 && len(name) < 64
}
