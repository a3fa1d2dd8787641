package received

import "strings"

// draft is a partially read line: its text, the parts found so far, and the
// information that later identifies the client's names.
type draft struct {
	s    string
	line *Line
	form form  // the notation of the client's address
	rule names // the convention for names, if the software is known
}

// form is the notation of the client's address. It differs between servers and
// determines what each name means.
type form uint8

const (
	noForm      form = iota
	inName           // from [192.0.2.1] by
	withName         // (name [192.0.2.1])
	bracketOnly      // ([192.0.2.1])
	bareOnly         // (192.0.2.1)
	outside          // name [192.0.2.1]
)

// names is a server's convention for the client's names.
type names uint8

const (
	byForm   names = iota // determined by the line's form
	heloOut               // the name outside the parentheses is the one in HELO; the server does no lookup
	lookedUp              // the name outside comes from a lookup; HELO is written separately or is the same
)

// set records the position of a part and returns its text.
func (d *draft) set(f Part, start, end int) string {
	d.line.spans[f] = Span{start, end}
	return d.s[start:end]
}

// longer extends a part to end and returns its text; only folded text is copied.
func (d *draft) longer(f Part, end int) string {
	s := d.set(f, d.line.spans[f].Start, end)
	for i := 1; i < len(s); i++ {
		if class[s[i]] == space && (s[i] != ' ' || class[s[i-1]] == space) {
			return strings.Join(strings.Fields(s), " ")
		}
	}
	return s
}

// join appends a word to a clause that may contain several.
func (d *draft) join(f Part, into *string, a, b int, first bool) {
	if first {
		*into = d.set(f, a, b)
	} else {
		*into = d.longer(f, b)
	}
}

// firstWord returns the next word after a, skipping spaces and colons.
func (d *draft) firstWord(a, b int) (int, int) {
	for a < b && (class[d.s[a]] == space || d.s[a] == ':') {
		a++
	}
	e := a
	for e < b && class[d.s[e]] != space {
		e++
	}
	return a, e
}

// address records an address of the client. An address in a comment takes
// precedence over one in the client's own HELO.
func (d *draft) address(a, b int, how form) bool {
	addr, port, ok := parseAddr(d.s[a:b])
	if !ok {
		return false
	}
	p := &d.line.From
	if p.Addr.IsValid() && d.form >= withName {
		return true
	}
	p.Addr, d.form = addr, how
	if port != 0 {
		p.Port = port
	}
	for a < b && (d.s[a] == '[' || d.s[a] == '(') {
		a++
	}
	if end := strings.IndexByte(d.s[a:b], ']'); end >= 0 {
		b = a + end
	}
	d.set(PartFromAddr, a, b)
	return true
}

// authWord records a user name, up to a comma, parenthesis or semicolon.
func (d *draft) authWord(a, b int) {
	v, e := d.firstWord(a, b)
	for i := v; i < e; i++ {
		if c := d.s[i]; c == ',' || c == ';' || c == ')' || c == '(' {
			e = i
		}
	}
	if v < e {
		d.line.Auth = d.set(PartAuth, v, e)
	}
}

// envelope records the reverse path. The null reverse path is returned as "<>".
func (d *draft) envelope(a, b int) string {
	if a == b {
		d.line.spans[PartEnvelopeFrom] = Span{a, b}
		return "<>"
	}
	return d.set(PartEnvelopeFrom, a, b)
}

// pair reads helo=, ident= and similar pairs, bare or in a comment.
func (d *draft) pair(a, b int) {
	w := d.s[a:b]
	eq := strings.IndexByte(w, '=')
	for b > a && (d.s[b-1] == ',' || d.s[b-1] == ')') {
		b--
	}
	v := a + eq + 1
	if v > b {
		return
	}
	switch key := w[:eq]; {
	case fold(key, "helo"), fold(key, "ehlo"):
		d.line.From.Helo = d.set(PartHelo, v, b)
	case fold(key, "ident"):
		d.line.Ident = d.set(PartIdent, v, b)
	case fold(key, "port"):
		d.line.From.Port = uint16(small(d.s[v:b]))
	case fold(key, "version"):
		d.line.TLS.Version = d.set(PartTLSVersion, v, b)
	case fold(key, "cipher"):
		d.line.TLS.Cipher = d.set(PartTLSCipher, v, b)
	case fold(key, "bits"):
		d.line.TLS.Bits = uint16(small(d.s[v:b]))
	case fold(key, "verify"):
		d.line.TLS.Verify = d.s[v:b]
	case fold(key, "auth"), fold(key, "authid"), fold(key, "auth_id"), fold(key, "user"):
		d.line.Auth = d.set(PartAuth, v, b)
	}
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

// writerAddress records an address of the server that wrote the line.
func (d *draft) writerAddress(a, b int) bool {
	addr, port, ok := parseAddr(d.s[a:b])
	if ok {
		d.line.By.Addr, d.line.By.Port = addr, port
		d.set(PartByAddr, a, b)
	}
	return ok
}
