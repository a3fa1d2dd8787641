package mime

import (
	"cmp"
	"slices"
	"strings"
)

// maxParams is the maximum number of parameters read from one field. Each
// section of a parameter counts separately.
const maxParams = 1000

// Param is one parameter of Content-Type or Content-Disposition, with its
// sections joined (RFC 2231, 3).
type Param struct {
	Name     string // lower case, without the '*' marks
	Value    string // decoded to UTF-8 as specified in RFC 2231
	Raw      string // as sent, with sections joined; equals Value if nothing was encoded
	Extended bool   // Raw is charset'language'percent-encoded
}

// Get returns the value of the first parameter with that name, which must be in
// lower case, or "".
func Get(params []Param, name string) string {
	for _, p := range params {
		if p.Name == name {
			return p.Value
		}
	}
	return ""
}

// ParseType parses a Content-Type value. If it does not begin with
// "type/subtype", ok is false and the other results are empty.
func ParseType(v string) (typ, subtype string, params []Param, ok bool) {
	l := lexer{v}
	typ = l.token()
	l.skip()
	if typ == "" || !l.eat('/') {
		return "", "", nil, false
	}
	l.skip()
	if subtype = l.token(); subtype == "" {
		return "", "", nil, false
	}
	return strings.ToLower(typ), strings.ToLower(subtype), l.params(), true
}

// ParseDisposition parses a Content-Disposition value. It returns the
// disposition in lower case, or "" if there is none.
func ParseDisposition(v string) (string, []Param) {
	l := lexer{v}
	d := strings.ToLower(l.token())
	if d == "" {
		return "", nil
	}
	return d, l.params()
}

// token returns the first token of v in lower case.
func token(v string) string {
	l := lexer{v}
	return strings.ToLower(l.token())
}

// lexer reads tokens from the start of a structured field value.
type lexer struct{ s string }

// skip skips white space and comments.
func (l *lexer) skip() {
	depth := 0
	for i := 0; i < len(l.s); i++ {
		switch c := l.s[i]; {
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case c == '\\' && depth > 0:
			i++
		case depth == 0 && c != ' ' && c != '\t' && c != '\r' && c != '\n':
			l.s = l.s[i:]
			return
		}
	}
	l.s = ""
}

func (l *lexer) eat(c byte) bool {
	if l.s == "" || l.s[0] != c {
		return false
	}
	l.s = l.s[1:]
	return true
}

// token reads an RFC 2045 token; 8-bit octets are accepted.
func (l *lexer) token() string {
	l.skip()
	i := 0
	for i < len(l.s) && l.s[i] > ' ' && l.s[i] != 0x7f && !strings.ContainsRune(`()<>@,;:\"/[]?=`, rune(l.s[i])) {
		i++
	}
	t := l.s[:i]
	l.s = l.s[i:]
	return t
}

// value reads a parameter value: a quoted string, or everything up to the next
// semicolon, because unquoted file names with spaces are common.
func (l *lexer) value() string {
	l.skip()
	if l.s == "" || l.s[0] != '"' {
		v := l.s
		if i := strings.IndexByte(v, ';'); i >= 0 {
			v = v[:i]
		}
		l.s = l.s[len(v):]
		if i := strings.IndexByte(v, '('); i > 0 && (v[i-1] == ' ' || v[i-1] == '\t') {
			v = v[:i]
		}
		return strings.TrimRight(v, " \t\r\n")
	}
	return l.quoted()
}

// quoted reads a quoted string. If it is not terminated, it extends to the end.
func (l *lexer) quoted() string {
	s := l.s[1:]
	i := strings.IndexAny(s, `"\`)
	if i >= 0 && s[i] == '"' {
		l.s = s[i+1:]
		return s[:i]
	}
	var b strings.Builder
	for i = 0; i < len(s) && s[i] != '"'; i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	l.s = s[min(i+1, len(s)):]
	return b.String()
}

// section is one parameter as written.
type section struct {
	name     string
	index    int // -1 if the parameter is not split into sections
	extended bool
	value    string
	order    int
}

// params parses "; name=value" up to the end and joins sections.
func (l *lexer) params() []Param { return join(l.sections()) }

// Every returns all values that some mail program may use for a parameter of v,
// a Content-Type or Content-Disposition value. There are several if the
// parameter is repeated or is present in both plain and encoded form. name must
// be in lower case.
func Every(v, name string) []string {
	l := lexer{v}
	if !l.isAttribute() { // skip the type or disposition
		l.token()
		if l.skip(); l.eat('/') {
			l.token()
		}
	}
	var plain []string
	var cut []section
	for _, s := range l.sections() {
		switch {
		case s.name != name:
		case s.index < 0:
			plain = append(plain, joinOne([]section{s}).Value)
		default:
			cut = append(cut, s)
		}
	}
	if len(cut) > 0 {
		slices.SortStableFunc(cut, func(a, b section) int { return cmp.Compare(a.index, b.index) })
		plain = append(plain, joinOne(cut).Value)
	}
	return plain
}

// sections parses "; name=value" up to the end. A missing semicolon is
// accepted, as in "attachment filename=a.txt".
func (l *lexer) sections() []section {
	var list []section
	for len(list) < maxParams {
		name, ok := l.attribute()
		if !ok {
			i := strings.IndexByte(l.s, ';')
			if i < 0 {
				break
			}
			l.s = l.s[i+1:]
			continue
		}
		s := section{name: name, index: -1, order: len(list), value: l.value()}
		s.split()
		list = append(list, s)
	}
	return list
}

// isAttribute reports whether the next token is "name=".
func (l lexer) isAttribute() bool {
	_, ok := l.attribute()
	return ok
}

// attribute reads "name=" and returns the name in lower case. If something else
// follows, ok is false and only white space has been read.
func (l *lexer) attribute() (name string, ok bool) {
	l.skip()
	rest := *l
	name = strings.ToLower(rest.token())
	rest.skip()
	if name == "" || !rest.eat('=') {
		return "", false
	}
	*l = rest
	return name, true
}

// split removes the RFC 2231 marks from the name: "*", "*0", "*0*".
func (s *section) split() {
	base, ext := strings.CutSuffix(s.name, "*")
	if i := strings.LastIndexByte(base, '*'); i > 0 {
		n := 0
		for _, c := range base[i+1:] {
			if c < '0' || c > '9' || n > maxParams {
				return
			}
			n = n*10 + int(c-'0')
		}
		if i+1 == len(base) {
			return
		}
		base, s.index = base[:i], n
	}
	if base != "" {
		s.name, s.extended = base, ext
	}
}

// join joins sections. The parameters are in the order in which their names
// first appear. It sorts instead of searching, so that many sections remain
// cheap.
func join(list []section) []Param {
	first := make(map[string]int, len(list))
	for _, s := range list {
		if _, ok := first[s.name]; !ok {
			first[s.name] = s.order
		}
	}
	slices.SortStableFunc(list, func(a, b section) int {
		return cmp.Or(cmp.Compare(first[a.name], first[b.name]), cmp.Compare(a.index, b.index))
	})
	var out []Param
	for len(list) > 0 {
		n := 1
		for n < len(list) && list[n].name == list[0].name {
			n++
		}
		out = append(out, joinOne(list[:n]))
		list = list[n:]
	}
	return out
}

// joinOne builds a parameter from all sections with the same name. An extended
// value takes precedence over a plain one, which is a fallback for older
// programs (RFC 6266, 4.3).
func joinOne(list []section) Param {
	use := list[:1]
	if i := slices.IndexFunc(list, func(s section) bool { return s.index < 0 && s.extended }); i >= 0 {
		use = list[i : i+1]
	} else if i := slices.IndexFunc(list, func(s section) bool { return s.index == 0 }); i >= 0 {
		use = list[i:]
	}
	p := Param{Name: use[0].name, Extended: use[0].extended}
	var raw, text strings.Builder
	charset := ""
	for i, s := range use {
		if i > 0 && s.index != use[i-1].index+1 {
			break
		}
		raw.WriteString(s.value)
		v := s.value
		if s.extended {
			if i == 0 {
				charset, v = cutCharset(v)
			}
			v = unpercent(v)
		}
		text.WriteString(v)
	}
	p.Raw, p.Value = raw.String(), text.String()
	if charset != "" {
		p.Value = DecodeString(charset, p.Value)
	}
	return p
}

// cutCharset splits charset'language'value.
func cutCharset(v string) (charset, rest string) {
	charset, rest, ok := strings.Cut(v, "'")
	if !ok {
		return "", v
	}
	if _, after, ok := strings.Cut(rest, "'"); ok {
		return charset, after
	}
	return "", v
}

// unpercent decodes %XX and leaves everything else unchanged.
func unpercent(v string) string {
	if !strings.Contains(v, "%") {
		return v
	}
	b := make([]byte, 0, len(v))
	for i := 0; i < len(v); i++ {
		if v[i] == '%' && i+2 < len(v) && unhex(v[i+1]) >= 0 && unhex(v[i+2]) >= 0 {
			b = append(b, byte(unhex(v[i+1])<<4|unhex(v[i+2])))
			i += 2
			continue
		}
		b = append(b, v[i])
	}
	return string(b)
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}
