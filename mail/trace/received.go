package trace

import (
	"net/netip"
	"strings"
	"sync"
)

// Parse reads the value of one Received field, folding and all. It accepts
// everything: what it cannot place is named in Defects. The Hop keeps no
// reference to value.
func Parse(value []byte) Hop {
	r := readers.Get().(*reader)
	r.parse(&r.own, value)
	h := r.own
	r.release()
	return h
}

// ParseInto is Parse for many lines: it overwrites h and allocates no new Hop.
func ParseInto(h *Hop, value []byte) {
	r := readers.Get().(*reader)
	r.parse(h, value)
	r.release()
}

// parse reads one value into h.
func (r *reader) parse(h *Hop, value []byte) {
	r.h = h
	*h = Hop{}
	r.s, r.toks = string(value[:min(len(value), MaxField)]), r.toks[:0]
	r.noQuote, r.noSquare, r.noAngle, r.broken = false, false, false, false
	r.defects = 0
	if len(value) > MaxField {
		r.defects = TooLong
	}
	r.state = state{}
	r.read()
}

func (r *reader) release() {
	r.h, r.s = nil, ""
	readers.Put(r)
}

// reader turns the tokens of one field into a Hop.
type reader struct {
	scanner
	h   *Hop
	own Hop // what Parse gives away a copy of
	state
}

// state is where the reader stands in the line.
type state struct {
	dateStart, dateEnd int32
	cur                keyword // the clause being read
	words, notes       int     // words and comments of that clause so far
	seen               uint8   // clauses already read, a bit each
	env                bool    // a second from clause: the reverse path (XMail, IBM)
	claim              bool    // after "claiming to be"
	cipherNext         bool    // after Exim's "tls"

	form form  // how the client's address was written
	rule names // which name is which, if the server is known
}

// form is the way a client's address stands in the line; each server has its
// own, and it decides which name is which.
type form uint8

const (
	noForm      form = iota
	inName           // from [192.0.2.1] by
	withName         // (name [192.0.2.1])
	bracketOnly      // ([192.0.2.1])
	bareOnly         // (192.0.2.1)
	outside          // name [192.0.2.1]
)

func (r *reader) read() {
	r.h.Raw = r.s
	r.scan()
	r.findDate()
	for i := range r.toks {
		t := &r.toks[i]
		if t.start >= r.dateStart && t.start < r.dateEnd {
			continue
		}
		if r.dateEnd > 0 && t.start >= r.dateEnd && i > 0 && r.toks[i-1].start < r.dateEnd {
			r.cur = notKey // what follows the date belongs to no clause before it
		}
		switch t.kind {
		case comment:
			r.note(t)
		case word:
			if t.key != notKey && r.opens(i) {
				r.open(t.key)
			} else {
				r.text(t)
			}
		}
	}
	r.finish()
	r.h.Defects |= r.defects
}

// readers keeps the token lists, so that reading a field costs its string and
// its list of comments and nothing else.
var readers = sync.Pool{New: func() any { return &reader{scanner: scanner{toks: make([]token, 0, 64)}} }}

// set notes where a field stands and returns its text.
func (r *reader) set(f Field, start, end int) string {
	r.h.spans[f] = Span{start, end}
	return r.s[start:end]
}

// findDate takes the date behind the last semicolon, or wherever one reads as
// such, so that its words are not taken for those of a clause.
func (r *reader) findDate() {
	semis, tried := 0, 0
	for i := len(r.toks) - 1; i >= 0 && tried < 4; i-- {
		if r.toks[i].kind != semicolon {
			continue
		}
		semis++
		if r.dateEnd > 0 {
			continue
		}
		tried++
		r.tryDate(int(r.toks[i].end))
	}
	if semis > 1 {
		r.defects |= ManySemicolons
	}
	if r.dateEnd > 0 {
		return
	}
	// No semicolon in front of it: the last words that read as a date.
	tried = 0
	for i := len(r.toks) - 1; i >= 0 && tried < 64; i-- {
		t := r.toks[i]
		if t.kind != word || t.end-t.start > 10 {
			continue
		}
		tried++
		// The date may begin further left, with its weekday or day.
		if c := r.s[t.start]; !isDigit(c) && weekdayLike(r.s[t.start:t.end]) || isDigit(c) {
			before := r.dateEnd
			r.tryDate(int(t.start))
			if before > 0 && (r.dateEnd < before || r.dateStart != t.start) {
				break
			}
		}
	}
	if r.dateEnd > 0 {
		r.defects |= NoSemicolon
		return
	}
	r.defects |= NoDate
}

func weekdayLike(s string) bool {
	return len(s) >= 3 && isLetter(s[0]) && isLetter(s[1]) && isLetter(s[2]) && (weekdayOf(s) != 0 || monthOf(s) != 0)
}

func (r *reader) tryDate(at int) {
	st, end, defects, ok := readDate(r.s, at)
	if !ok || r.dateEnd > 0 && end != int(r.dateEnd) {
		return
	}
	start := at
	for start < end && class[r.s[start]] == space {
		start++
	}
	const ofDate = DateWithoutZone | NamedZoneOnly | TwoDigitYear | AsctimeDate | OddDate | WrongWeekday
	r.h.Stamp = st
	r.defects = r.defects&^ofDate | defects
	r.dateStart, r.dateEnd = int32(start), int32(end)
	r.set(FieldDate, start, end)
}

// opens decides whether the keyword at i starts a clause. A clause must have
// its value before the next may begin, but spammers leave values out, and
// hosts may be called "for" or "id".
func (r *reader) opens(i int) bool {
	if r.cur == notKey || r.words > 0 || r.notes > 0 {
		return true
	}
	return i+1 < len(r.toks) && r.toks[i+1].kind == word && r.toks[i+1].key == notKey
}

func (r *reader) open(k keyword) {
	if r.cur != notKey && r.words == 0 && r.notes == 0 {
		r.defects |= EmptyClause
	}
	r.env, r.claim, r.cipherNext = false, false, false
	r.cur, r.words, r.notes = k, 0, 0
	if bit := uint8(1) << k; r.seen&bit == 0 {
		r.seen |= bit
		return
	}
	r.env = k == kFrom
	if !r.env {
		r.defects |= RepeatedClause
		if r.h.value(k) != "" { // the first one counts
			r.cur = notKey
		}
	}
}

func (h *Hop) value(k keyword) string {
	switch k {
	case kBy:
		return h.By.Name
	case kVia:
		return h.Via
	case kWith:
		return h.With
	case kID:
		return h.ID
	case kFor:
		return h.For
	}
	return ""
}

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
		r.join(FieldVia, &r.h.Via, a, b, first)
	case kWith:
		r.withWord(a, b, first)
	case kID:
		if first {
			a, b = unangle(r.s, a, b)
			r.h.ID = r.set(FieldID, a, b)
		} else if r.s[a] == '<' && r.h.For == "" { // "id 2117for <ann@example.org>"
			a, b = unangle(r.s, a, b)
			r.h.For = r.set(FieldFor, a, b)
			r.defects |= StrayText
		}
	case kFor:
		if first {
			a, b = unangle(r.s, a, b)
			r.h.For = r.set(FieldFor, a, b)
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
		p.Helo = r.set(FieldHelo, a, b)
		r.claim = false
	case first && r.notes == 0:
		a, b = unangle(r.s, a, b)
		p.Name = r.set(FieldFrom, a, b)
	case w[0] == '[':
		r.address(a, b, outside)
	case strings.IndexByte(w, '=') > 0:
		r.pair(a, b)
	case fold(w, "claiming"):
		r.claim = true
	case r.notes == 0 && extends(p.Name):
		p.Name = r.longer(FieldFrom, b)
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
		p.Name = r.set(FieldBy, a, b)
		if addr, port, ok := parseAddr(w); ok {
			p.Addr, p.Port = addr, port
			r.set(FieldByAddr, a, b)
		}
	case w[0] == '[':
		if addr, port, ok := parseAddr(w); ok {
			p.Addr, p.Port = addr, port
			r.set(FieldByAddr, a, b)
		}
	case r.notes == 0 && extends(p.Name):
		p.Name = r.longer(FieldBy, b)
	default:
		r.defects |= StrayText
	}
}

func (r *reader) withWord(a, b int, first bool) {
	w := r.s[a:b]
	switch {
	case r.cipherNext:
		r.h.TLS.Cipher = r.set(FieldTLSCipher, a, b)
		r.cipherNext = false
	case fold(w, "encrypted") && r.h.With != "": // qmail: with CIPHER encrypted SMTP
		span := r.h.spans[FieldWith]
		r.h.TLS.Cipher = r.set(FieldTLSCipher, span.Start, span.End)
		r.h.With, r.h.spans[FieldWith] = "", Span{}
	case !first && (fold(w, "tls") || foldPrefix(w, "tls=")):
		r.cipherNext = len(w) == 3
	case strings.IndexByte(w, '=') > 0 && r.h.With != "":
		r.pair(a, b)
	case r.h.With != "" && r.notes > 0 && r.h.spans[FieldWith].End < a && strings.IndexByte(r.s[r.h.spans[FieldWith].End:a], '(') >= 0:
		r.defects |= StrayText
	default:
		r.join(FieldWith, &r.h.With, a, b, r.h.With == "")
	}
}

// join reads clauses of several words.
func (r *reader) join(f Field, into *string, a, b int, first bool) {
	if first {
		*into = r.set(f, a, b)
	} else {
		*into = r.longer(f, b)
	}
}

// longer stretches a field to end; only a folded field costs a copy.
func (r *reader) longer(f Field, end int) string {
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
		r.h.spans[FieldEnvelopeFrom] = Span{a, b}
		return "<>"
	}
	return r.set(FieldEnvelopeFrom, a, b)
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
		r.h.From.Helo = r.set(FieldHelo, v, b)
	case fold(key, "ident"):
		r.h.Ident = r.set(FieldIdent, v, b)
	case fold(key, "port"):
		r.h.From.Port = uint16(small(r.s[v:b]))
	case fold(key, "version"):
		r.h.TLS.Version = r.set(FieldTLSVersion, v, b)
	case fold(key, "cipher"):
		r.h.TLS.Cipher = r.set(FieldTLSCipher, v, b)
	case fold(key, "bits"):
		r.h.TLS.Bits = uint16(small(r.s[v:b]))
	case fold(key, "verify"):
		r.h.TLS.Verify = r.s[v:b]
	case fold(key, "auth"), fold(key, "authid"), fold(key, "auth_id"), fold(key, "user"):
		r.h.Auth = r.set(FieldAuth, v, b)
	}
}

// small reads a decimal number's first digits, at most 65535.
func small(s string) int {
	n := 0
	for i := 0; i < len(s) && isDigit(s[i]); i++ {
		if n = n*10 + int(s[i]-'0'); n > 65535 {
			return 0
		}
	}
	return n
}

// address takes an address of the client; one from a comment beats one that
// was only the client's name for itself.
func (r *reader) address(a, b int, how form) bool {
	addr, port, ok := parseAddr(r.s[a:b])
	if !ok {
		return false
	}
	p := &r.h.From
	if p.Addr.IsValid() && r.form >= withName {
		return true
	}
	p.Addr, r.form = addr, how
	if port != 0 {
		p.Port = port
	}
	for a < b && (r.s[a] == '[' || r.s[a] == '(') {
		a++
	}
	if end := strings.IndexByte(r.s[a:b], ']'); end >= 0 {
		b = a + end
	}
	r.set(FieldFromAddr, a, b)
	return true
}

// parseAddr reads 192.0.2.1, [192.0.2.1], [IPv6:2001:db8::1], 192.0.2.1:25,
// 192.0.2.1.40000 (Exim 3) and fe80::1%5.
func parseAddr(s string) (addr netip.Addr, port uint16, ok bool) {
	for len(s) > 0 && (s[0] == '[' || s[0] == '(') {
		s = s[1:]
		if end := strings.IndexByte(s, ']'); end >= 0 {
			if rest := s[end+1:]; len(rest) > 1 && (rest[0] == ':' || rest[0] == '.') {
				port = uint16(small(rest[1:]))
			}
			s = s[:end]
		}
	}
	for len(s) > 0 && (class[s[len(s)-1]] == space || s[len(s)-1] == ')' || s[len(s)-1] == '.' || s[len(s)-1] == ',') {
		s = s[:len(s)-1]
	}
	for len(s) > 0 && class[s[0]] == space {
		s = s[1:]
	}
	if len(s) > 5 && s[4] == ':' && foldPrefix(s, "ipv6") {
		s = s[5:]
	}
	if len(s) < 2 || len(s) > 80 || !isHex(s[0]) && s[0] != ':' {
		return addr, 0, false
	}
	dots, colons, last := 0, 0, 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '.':
			dots++
			last = i
		case c == ':':
			colons++
			if dots == 3 || colons == 1 {
				last = i
			}
		case !isHex(c):
			if c == '%' && colons > 1 {
				i = len(s)
				continue
			}
			return addr, 0, false
		}
	}
	if colons < 2 && dots >= 3 && (dots == 4 || colons == 1) {
		port = uint16(small(s[last+1:]))
		s = s[:last]
	} else if colons < 2 && dots != 3 {
		return addr, 0, false
	}
	if colons < 2 {
		addr, ok = parse4(s)
		return addr, port, ok
	}
	addr, err := netip.ParseAddr(s)
	return addr, port, err == nil
}

// parse4 is netip.ParseAddr for IPv4 without the cost of its errors.
func parse4(s string) (netip.Addr, bool) {
	var b [4]byte
	n, v, digits := 0, 0, 0
	for i := 0; i <= len(s); i++ {
		if i == len(s) || s[i] == '.' {
			if digits == 0 || n == 4 {
				return netip.Addr{}, false
			}
			b[n] = byte(v)
			n, v, digits = n+1, 0, 0
			continue
		}
		if !isDigit(s[i]) || digits > 0 && v == 0 {
			return netip.Addr{}, false
		}
		if v = v*10 + int(s[i]-'0'); v > 255 {
			return netip.Addr{}, false
		}
		digits++
	}
	if n != 4 {
		return netip.Addr{}, false
	}
	return netip.AddrFrom4(b), true
}

func isHex(c byte) bool { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'f' }
