package received

import (
	"strings"
)

// text takes one word that is not a keyword.
func (r *reader) text(t *token) {
	a, b := int(t.start), int(t.end)
	if r.env {
		a, b = unangle(r.s, a, b)
		r.h.EnvelopeFrom = r.envelope(a, b)
		r.cur, r.env = notKey, false
		return
	}
	first := r.words == 0
	r.words++
	switch r.cur {
	case kFrom:
		r.fromWord(a, b, first)
	case kBy:
		r.byWord(a, b, first)
	case kVia:
		r.join(PartVia, &r.h.Via, a, b, first)
	case kWith:
		r.withWord(a, b, first)
	case kID:
		if first {
			a, b = unangle(r.s, a, b)
			r.h.ID = r.set(PartID, a, b)
		} else if r.s[a] == '<' && r.h.For == "" { // "id 2117for <ann@example.org>"
			a, b = unangle(r.s, a, b)
			r.h.For = r.set(PartFor, a, b)
			r.defects |= StrayText
		}
	case kFor:
		if first {
			a, b = unangle(r.s, a, b)
			r.h.For = r.set(PartFor, a, b)
		}
	default:
		if r.s[a] == '[' && !r.h.From.Addr.IsValid() && r.h.Stamp.Unix == 0 || r.s[a] == '[' && t.start < r.dateStart {
			r.address(a, b, inName)
			return
		}
		r.defects |= StrayText
	}
}

func (r *reader) fromWord(a, b int, first bool) {
	p := &r.h.From
	switch w := r.s[a:b]; {
	case r.claim:
		if w == "to" || w == "be" {
			return
		}
		a, b = unquote(r.s, a, b)
		p.Helo = r.set(PartHelo, a, b)
		r.claim = false
	case first && r.notes == 0:
		a, b = unangle(r.s, a, b)
		p.Name = r.set(PartFrom, a, b)
	case w[0] == '[':
		r.address(a, b, outside)
	case strings.IndexByte(w, '=') > 0:
		r.pair(a, b)
	case fold(w, "claiming"):
		r.claim = true
	case r.notes == 0 && extends(p.Name):
		p.Name = r.longer(PartFrom, b)
	default:
		r.defects |= StrayText
	}
}

func (r *reader) byWord(a, b int, first bool) {
	p := &r.h.By
	switch w := r.s[a:b]; {
	case first && fold(w, "uid"): // qmail-scanner: "by host by uid 502"
		r.cur = notKey
	case first && r.notes == 0:
		p.Name = r.set(PartBy, a, b)
		if addr, port, ok := parseAddr(w); ok {
			p.Addr, p.Port = addr, port
			r.set(PartByAddr, a, b)
		}
	case w[0] == '[':
		if addr, port, ok := parseAddr(w); ok {
			p.Addr, p.Port = addr, port
			r.set(PartByAddr, a, b)
		}
	case r.notes == 0 && extends(p.Name):
		p.Name = r.longer(PartBy, b)
	default:
		r.defects |= StrayText
	}
}

func (r *reader) withWord(a, b int, first bool) {
	w := r.s[a:b]
	switch {
	case r.cipherNext:
		r.h.TLS.Cipher = r.set(PartTLSCipher, a, b)
		r.cipherNext = false
	case fold(w, "encrypted") && r.h.With != "": // qmail: with CIPHER encrypted SMTP
		span := r.h.spans[PartWith]
		r.h.TLS.Cipher = r.set(PartTLSCipher, span.Start, span.End)
		r.h.With, r.h.spans[PartWith] = "", Span{}
	case !first && (fold(w, "tls") || foldPrefix(w, "tls=")):
		r.cipherNext = len(w) == 3
	case strings.IndexByte(w, '=') > 0 && r.h.With != "":
		r.pair(a, b)
	case r.h.With != "" && r.notes > 0 && r.h.spans[PartWith].End < a && strings.IndexByte(r.s[r.h.spans[PartWith].End:a], '(') >= 0:
		r.defects |= StrayText
	default:
		r.join(PartWith, &r.h.With, a, b, r.h.With == "")
	}
}

// join reads clauses of several words.
func (r *reader) join(f Part, into *string, a, b int, first bool) {
	if first {
		*into = r.set(f, a, b)
	} else {
		*into = r.longer(f, b)
	}
}

// longer stretches a field to end; only a folded field costs a copy.
func (r *reader) longer(f Part, end int) string {
	s := r.set(f, r.h.spans[f].Start, end)
	for i := 1; i < len(s); i++ {
		if class[s[i]] == space && (s[i] != ' ' || class[s[i-1]] == space) {
			return strings.Join(strings.Fields(s), " ")
		}
	}
	return s
}

// extends tells whether a name may go on in the next word: "mail pickup
// service" does, a host name with a dot or an address does not.
func extends(name string) bool {
	return name != "" && name[0] != '[' && strings.IndexByte(name, '.') < 0 && strings.IndexByte(name, '@') < 0 && len(name) < 64
}

func unangle(s string, a, b int) (int, int) {
	for a < b && s[a] == '<' {
		a++
	}
	for b > a && (s[b-1] == '>' || s[b-1] == ',') {
		b--
	}
	return a, b
}

func unquote(s string, a, b int) (int, int) {
	if b-a >= 2 && s[a] == '"' && s[b-1] == '"' {
		return a + 1, b - 1
	}
	return a, b
}

// envelope notes the reverse path; the null one is written "<>".
func (r *reader) envelope(a, b int) string {
	if a == b {
		r.h.spans[PartEnvelopeFrom] = Span{a, b}
		return "<>"
	}
	return r.set(PartEnvelopeFrom, a, b)
}

// pair reads helo=, ident= and their like, bare or in a comment.
func (r *reader) pair(a, b int) {
	w := r.s[a:b]
	eq := strings.IndexByte(w, '=')
	for b > a && (r.s[b-1] == ',' || r.s[b-1] == ')') {
		b--
	}
	v := a + eq + 1
	if v > b {
		return
	}
	switch key := w[:eq]; {
	case fold(key, "helo"), fold(key, "ehlo"):
		r.h.From.Helo = r.set(PartHelo, v, b)
	case fold(key, "ident"):
		r.h.Ident = r.set(PartIdent, v, b)
	case fold(key, "port"):
		r.h.From.Port = uint16(small(r.s[v:b]))
	case fold(key, "version"):
		r.h.TLS.Version = r.set(PartTLSVersion, v, b)
	case fold(key, "cipher"):
		r.h.TLS.Cipher = r.set(PartTLSCipher, v, b)
	case fold(key, "bits"):
		r.h.TLS.Bits = uint16(small(r.s[v:b]))
	case fold(key, "verify"):
		r.h.TLS.Verify = r.s[v:b]
	case fold(key, "auth"), fold(key, "authid"), fold(key, "auth_id"), fold(key, "user"):
		r.h.Auth = r.set(PartAuth, v, b)
	}
}
