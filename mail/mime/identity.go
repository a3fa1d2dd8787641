package mime

import "strings"

// maxIdentities is the maximum number of addresses that Identities returns.
const maxIdentities = 100

// Identities returns every address in v that some mail program may show as the
// author. v is the unfolded value of a From or Sender field. Use Identities for
// decisions about identity; [ParseAddresses] is unsuitable, because it chooses
// a single interpretation.
//
// If v follows the grammar of RFC 5322, 3.4 (with the UTF-8 of RFC 6532 and
// unquoted dots in names, but without other obsolete forms), exact is true and
// the addresses are those of the grammar. Otherwise mail programs disagree, and
// all text of the form local@domain is returned, wherever it occurs. Domains
// are returned as written and may be invalid.
func Identities(v string) (list []Address, exact bool) {
	p := identityParser{s: v}
	if p.addressList() && p.s == "" {
		return p.list, true
	}
	found := finder{}
	for _, a := range ParseAddresses(v) {
		if a.Kind == Mailbox && a.Local != "" && a.Domain != "" {
			found.add(a.Local, a.Domain)
		}
	}
	// Mail programs disagree on whether text after an encoded word is
	// separated from it.
	for _, text := range []string{v, DecodeWords(v), DecodeWords(strings.ReplaceAll(v, "?=", "?=;"))} {
		found.in(text)
		found.in(withoutSpace(text, " "))
		found.in(withoutSpace(text, ""))
	}
	return found.list, false
}

// identityParser parses the strict grammar from the start of s. Each method is
// named after a production and reports whether it matched. If it did not, the
// position in s is undefined.
type identityParser struct {
	s    string
	list []Address
}

// addressList = address *("," address)
func (p *identityParser) addressList() bool {
	for {
		if !p.address() || len(p.list) > maxIdentities {
			return false
		}
		if !p.take(',') {
			return true
		}
	}
}

// address = mailbox / group
func (p *identityParser) address() bool {
	start := p.s
	if p.mailbox() {
		return true
	}
	p.s = start
	if !p.phrase() || !p.take(':') {
		return false
	}
	for first := true; ; first = false {
		if !p.cfws() {
			return false
		}
		if first && p.take(';') {
			return p.cfws()
		}
		if !p.mailbox() {
			return false
		}
		if p.take(';') {
			return p.cfws()
		}
		if !p.take(',') {
			return false
		}
	}
}

// mailbox = addr-spec / [phrase] "<" addr-spec ">"
func (p *identityParser) mailbox() bool {
	start := p.s
	if p.addrSpec() {
		return true
	}
	p.s = start
	if !p.cfws() {
		return false
	}
	if !strings.HasPrefix(p.s, "<") && !p.phrase() {
		return false
	}
	return p.take('<') && p.addrSpec() && p.take('>') && p.cfws()
}

// addrSpec = local-part "@" domain, with optional comments and white space on
// both sides. It records the address.
func (p *identityParser) addrSpec() bool {
	if !p.cfws() {
		return false
	}
	var local string
	var ok bool
	if strings.HasPrefix(p.s, `"`) {
		local, ok = p.quotedString()
	} else {
		local, ok = p.dotAtom()
	}
	if !ok || !p.cfws() || !p.take('@') || !p.cfws() {
		return false
	}
	domain, ok := p.domainLiteral()
	if !ok {
		domain, ok = p.dotAtom()
	}
	if !ok || !p.cfws() {
		return false
	}
	// Only certain characters may follow an address: "a@b <c@d>" is not a
	// mailbox.
	if p.s != "" && strings.IndexByte(",;>", p.s[0]) < 0 {
		return false
	}
	// Encoded words are not allowed in addresses (RFC 2047, 5), but some
	// mail programs decode them anyway.
	if strings.Contains(local, "=?") || strings.Contains(domain, "=?") {
		return false
	}
	p.list = append(p.list, Address{Local: local, Domain: domain})
	return true
}

// phrase = 1*word, and dots after the first.
func (p *identityParser) phrase() bool {
	words := 0
	for {
		if !p.cfws() {
			return false
		}
		switch {
		case strings.HasPrefix(p.s, `"`):
			if _, ok := p.quotedString(); !ok {
				return false
			}
		case p.atom() != "":
		case words > 0 && p.take('.'):
		default:
			return words > 0
		}
		words++
	}
}

func (p *identityParser) take(c byte) bool {
	if p.s == "" || p.s[0] != c {
		return false
	}
	p.s = p.s[1:]
	return true
}

// atom returns the atext at the start of s, or "" if there is none.
func (p *identityParser) atom() string {
	i := 0
	for i < len(p.s) && isAtext(p.s[i]) {
		i++
	}
	a := p.s[:i]
	p.s = p.s[i:]
	return a
}

func (p *identityParser) dotAtom() (string, bool) {
	start := p.s
	for {
		if p.atom() == "" {
			return "", false
		}
		if !p.take('.') {
			return start[:len(start)-len(p.s)], true
		}
	}
}

// quotedString returns the content of a quoted string without its escapes.
func (p *identityParser) quotedString() (string, bool) {
	var b strings.Builder
	for i := 1; i < len(p.s); i++ {
		c := p.s[i]
		switch {
		case c == '"':
			p.s = p.s[i+1:]
			return b.String(), true
		case c == '\\':
			if i++; i == len(p.s) {
				return "", false
			}
			c = p.s[i]
		}
		if c < ' ' && c != '\t' || c == 0x7f {
			return "", false
		}
		b.WriteByte(c)
	}
	return "", false
}

func (p *identityParser) domainLiteral() (string, bool) {
	if !strings.HasPrefix(p.s, "[") {
		return "", false
	}
	end := strings.IndexByte(p.s, ']')
	if end < 0 || strings.ContainsAny(p.s[1:end], "[\\\x00") {
		return "", false
	}
	literal := p.s[:end+1]
	p.s = p.s[end+1:]
	return literal, true
}

// cfws skips optional comments and white space. It returns false if a comment
// is not terminated.
func (p *identityParser) cfws() bool {
	depth := 0
	for i := 0; i < len(p.s); i++ {
		switch c := p.s[i]; {
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case c == '\\' && depth > 0:
			i++
		case c < ' ' && c != '\t' || c == 0x7f:
			return false
		case depth == 0 && c != ' ' && c != '\t':
			p.s = p.s[i:]
			return true
		}
	}
	p.s = ""
	return depth == 0
}

func isAtext(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c >= 0x80 ||
		strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

// finder collects text that looks like an address.
type finder struct{ list []Address }

func (f *finder) add(local, domain string) {
	domain = strings.Trim(domain, `.\`)
	if domain == "" || len(f.list) == maxIdentities {
		return
	}
	for _, a := range f.list {
		if a.Local == local && a.Domain == domain {
			return
		}
	}
	f.list = append(f.list, Address{Local: local, Domain: domain})
}

// in examines the text around every @.
func (f *finder) in(s string) {
	for i := range len(s) {
		if s[i] != '@' {
			continue
		}
		end := i + 1
		for end < len(s) && isDomainByte(s[end]) {
			end++
		}
		f.add(localBefore(s[:i]), s[i+1:end])
	}
}

// localBefore returns the local part at the end of s.
func localBefore(s string) string {
	if q, ok := strings.CutSuffix(s, `"`); ok {
		return q[strings.LastIndexByte(q, '"')+1:]
	}
	i := len(s)
	for i > 0 && (isAtext(s[i-1]) || s[i-1] == '.') {
		i--
	}
	return s[i:]
}

func isDomainByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.' || c >= 0x80
}

// withoutSpace removes comments, escapes and control characters, and white
// space around dots and @. It replaces other white space with between.
func withoutSpace(s, between string) string {
	b := make([]byte, 0, len(s))
	depth, space := 0, false
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '(':
			depth++
			space = true
		case c == ')' && depth > 0:
			depth--
		case depth > 0 && c == '\\':
			i++
		case depth > 0:
		case c == ' ' || c == '\t':
			space = true
		case c < ' ' || c == 0x7f || c == '\\':
		default:
			if space && c != '.' && c != '@' && len(b) > 0 && b[len(b)-1] != '.' && b[len(b)-1] != '@' {
				b = append(b, between...)
			}
			b, space = append(b, c), false
		}
	}
	return string(b)
}
