package trace

import (
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/publicsuffix"

	"hoplite/mail/received"
)

// Anonymiser replaces addresses, host names and personal names with stable
// pseudonyms, so that a trace can be published. The structure is preserved: two
// hosts of the same organisation still share a domain, and a private address
// remains private.
type Anonymiser struct {
	domains, hosts, locals, words map[string]string
	addrs                         map[netip.Addr]string
	public4, public6, inside      int
}

// NewAnonymiser returns an Anonymiser for the names in a trace.
func NewAnonymiser(t *Trace) *Anonymiser {
	a := &Anonymiser{domains: map[string]string{}, hosts: map[string]string{}, locals: map[string]string{}, words: map[string]string{}, addrs: map[netip.Addr]string{}}
	for i := range t.Steps {
		s := &t.Steps[i]
		for _, name := range []string{s.By.Name, s.From.Name, s.From.Helo, s.From.RDNS} {
			a.known(name)
		}
		if s.ID != "" && !s.IDIsVersion && len(s.ID) > 3 {
			a.word(s.ID, "id")
		}
		if s.Ident != "" && !strings.HasPrefix(s.Ident, "uid") && len(s.Ident) > 1 {
			a.word(s.Ident, "user")
		}
		if s.Auth != "" && s.Auth != s.Proto.Name && !strings.EqualFold(s.Auth, "authenticated") && !strings.Contains(s.Auth, "@") {
			a.word(s.Auth, "user")
		}
	}
	return a
}

// known registers a single-label name, because the text alone does not reveal
// that KRYPTIK is a host.
func (a *Anonymiser) known(name string) {
	name = strings.Trim(name, "[]?")
	if len(name) < 2 || strings.ContainsAny(name, " .:@") || strings.EqualFold(name, "localhost") || strings.EqualFold(name, "unknown") {
		return
	}
	a.word(name, "host")
}

func (a *Anonymiser) word(w, kind string) {
	low := strings.ToLower(w)
	if a.words[low] == "" {
		a.words[low] = fmt.Sprintf("%s%d", kind, len(a.words)+1)
	}
}

// Text returns s with all names and addresses replaced.
func (a *Anonymiser) Text(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); {
		j := i
		for j < len(s) && tokenByte(s[j]) {
			j++
		}
		if j == i {
			b.WriteByte(s[i])
			i++
			continue
		}
		b.WriteString(a.token(s[i:j]))
		i = j
	}
	return b.String()
}

func tokenByte(c byte) bool {
	return isLetter(c) || isDigit(c) || c >= 128 || strings.IndexByte("._-+@:%/=!#$&'*", c) >= 0
}

// A token that is longer than any name or has more parts is replaced as a whole:
// the time to take it apart is the product of its length and number of parts.
const (
	maxToken = 500
	maxParts = 20
)

// token replaces one token, as a whole or in parts.
func (a *Anonymiser) token(w string) string {
	if len(w) > maxToken || strings.Count(w, "=")+strings.Count(w, ":")+strings.Count(w, "/")+strings.Count(w, "@") > maxParts {
		if strings.Trim(w, "=:/@-_.*#") == "" {
			return w // a line of one of these characters
		}
		a.word(w, "text")
	}
	if p := a.words[strings.ToLower(w)]; p != "" {
		return p
	}
	core := strings.TrimRight(w, ".:-'")
	tail := w[len(core):]
	if addr, err := netip.ParseAddr(strings.TrimPrefix(core, "IPv6:")); err == nil && (addr.Is4() || strings.Count(core, ":") >= 2) {
		return a.addr(addr) + tail
	}
	if at := strings.LastIndexByte(core, '@'); at > 0 {
		return a.local(core[:at]) + "@" + a.token(core[at+1:]) + tail
	}
	for _, sep := range [...]byte{'=', ':', '/', '@'} {
		if i := strings.IndexByte(core, sep); i >= 0 {
			return a.token(core[:i]) + string(sep) + a.token(core[i+1:]) + tail
		}
	}
	if isHost(core) {
		return a.host(core) + tail
	}
	return w
}

func isHost(w string) bool {
	if strings.IndexByte(w, '.') <= 0 || !received.HostLike(w) {
		return false
	}
	last := strings.ToLower(w[strings.LastIndexByte(w, '.')+1:])
	for _, own := range [...]string{"example", "test", "local", "lan", "internal", "localdomain", "corp", "home", "invalid"} {
		if last == own {
			return true
		}
	}
	if len(last) < 2 || !isLetter(last[0]) {
		return false
	}
	_, icann := publicsuffix.PublicSuffix(strings.ToLower(w))
	return icann
}

func (a *Anonymiser) host(w string) string {
	low := strings.ToLower(w)
	if p := a.hosts[low]; p != "" {
		return p
	}
	d, err := publicsuffix.EffectiveTLDPlusOne(low)
	if err != nil {
		d = low
	}
	if a.domains[d] == "" {
		a.domains[d] = fmt.Sprintf("d%d.example", len(a.domains)+1)
	}
	p := a.domains[d]
	if d != low {
		p = fmt.Sprintf("h%d.%s", len(a.hosts)+1, p)
	}
	a.hosts[low] = p
	return p
}

func (a *Anonymiser) local(l string) string {
	low := strings.ToLower(l)
	if low == "mailer-daemon" || low == "postmaster" {
		return l
	}
	if a.locals[low] == "" {
		a.locals[low] = fmt.Sprintf("user%d", len(a.locals)+1)
	}
	return a.locals[low]
}

// addr returns a documentation address (RFC 5737, RFC 3849) for a public
// address, and another private address for a private one.
func (a *Anonymiser) addr(ip netip.Addr) string {
	if p := a.addrs[ip]; p != "" {
		return p
	}
	var p string
	switch c := Classify(ip); {
	case c == Loopback || c == Reserved:
		p = ip.String()
	case ip.Unmap().Is4() && (c == Private || c == LinkLocal || c == CGNAT):
		a.inside++
		p = fmt.Sprintf("10.0.%d.%d", a.inside/250, 1+a.inside%250)
	case ip.Unmap().Is4():
		nets := [...]string{"192.0.2", "198.51.100", "203.0.113"}
		p = fmt.Sprintf("%s.%d", nets[a.public4/250%3], 1+a.public4%250)
		a.public4++
	case c == LinkLocal || c == UniqueLocal:
		a.inside++
		p = fmt.Sprintf("fd00::%x", a.inside)
	default:
		a.public6++
		p = fmt.Sprintf("2001:db8::%x", a.public6)
	}
	a.addrs[ip] = p
	return p
}
