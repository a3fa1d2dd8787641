package trace

import (
	"slices"
	"strings"

	"hoplite/mail"
)

// AuthClaim is one authentication result reported by a header field, with the
// name of the server that reported it. Trusted is set if that server is ours or
// wrote a line we trust, or if Now is set.
type AuthClaim struct {
	By       string `json:"by"` // authserv-id, or the field's writer
	Field    string `json:"field"`
	Method   string `json:"method"`
	Result   string `json:"result"`
	Detail   string `json:"detail,omitempty"`
	Instance int    `json:"instance,omitempty"` // ARC set
	Trusted  bool   `json:"believed"`
	Now      bool   `json:"now,omitempty"` // evaluated for this trace, not read from a field
	// Unverified is set if a signature or seal is present but has not been
	// verified.
	Unverified bool `json:"unverified,omitempty"`
}

const maxClaims = 200

// AddVerified adds results that were evaluated now. They replace claims that
// only record the presence of a field, such as an unverified signature.
func (t *Trace) AddVerified(now []AuthClaim) {
	verified := map[string]bool{}
	for i := range now {
		verified[strings.ToLower(now[i].Field)] = true
	}
	claims := now
	for _, c := range t.Auth {
		if !c.Unverified || !verified[strings.ToLower(c.Field)] {
			claims = append(claims, c)
		}
	}
	t.Auth = claims
	t.Findings = slices.DeleteFunc(t.Findings, func(f Finding) bool { return f.Code == dmarcFail })
	judge{t}.dmarc()
}

// readAuth reads a header field that reports authentication results.
func (t collector) readAuth(name string, f mail.Field) {
	if len(t.Auth) >= maxClaims {
		return
	}
	switch name {
	case "authentication-results", "x-original-authentication-results":
		t.readResults(f.Name, 0, clip(f.Text(), 8192))
	case "arc-authentication-results":
		text := clip(f.Text(), 8192)
		instance, rest, _ := strings.Cut(text, ";")
		t.readResults(f.Name, tagNumber(instance, "i"), rest)
	case "arc-seal":
		text := clip(f.Text(), 8192)
		t.claim(AuthClaim{By: tag(text, "d"), Field: f.Name, Method: "arc", Result: "cv=" + tag(text, "cv"), Instance: tagNumber(text, "i"), Detail: "not verified here", Unverified: true})
	case "received-spf":
		text := clip(f.Text(), 2048)
		result, rest, _ := strings.Cut(text, " ")
		by := ""
		if _, after, ok := strings.Cut(rest, "receiver="); ok {
			by = strings.TrimRight(firstField(after), ";,")
		}
		t.claim(AuthClaim{By: by, Field: f.Name, Method: "spf", Result: strings.ToLower(result), Detail: clip(rest, 200)})
	case "dkim-signature":
		text := clip(f.Text(), 8192)
		t.claim(AuthClaim{By: tag(text, "d"), Field: f.Name, Method: "dkim", Result: "signed", Detail: "selector " + tag(text, "s") + ", not verified here", Unverified: true})
	}
}

func firstField(s string) string {
	if f := strings.Fields(s); len(f) > 0 {
		return f[0]
	}
	return ""
}

func (t collector) claim(c AuthClaim) {
	if len(t.Auth) < maxClaims {
		t.Auth = append(t.Auth, c)
	}
}

// readResults parses a list of results (RFC 8601): id; method=result (comment)
// reason=x ptype.property=value; ...
func (t collector) readResults(field string, instance int, text string) {
	parts := splitOutside(text, ';')
	if len(parts) == 0 {
		return
	}
	by := firstField(dropComments(parts[0]))
	if strings.Contains(by, "=") { // Microsoft omits the id
		by = ""
	} else {
		parts = parts[1:]
	}
	for _, p := range parts {
		words := strings.Fields(dropComments(p))
		if len(words) == 0 {
			continue
		}
		method, result, ok := strings.Cut(words[0], "=")
		if !ok {
			continue
		}
		method, _, _ = strings.Cut(method, "/")
		t.claim(AuthClaim{By: by, Field: field, Method: strings.ToLower(method), Result: strings.ToLower(result), Detail: clip(strings.Join(words[1:], " "), 300), Instance: instance})
	}
}

// splitOutside splits s at sep, except inside comments and quoted strings.
func splitOutside(s string, sep byte) []string {
	var parts []string
	depth, quoted, start := 0, false, 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			i++
		case c == '"' && depth == 0:
			quoted = !quoted
		case quoted:
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case c == sep && depth == 0:
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	return append(parts, s[min(start, len(s)):])
}

func dropComments(s string) string {
	if strings.IndexByte(s, '(') < 0 {
		return s
	}
	var b strings.Builder
	depth := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && depth > 0:
			i++
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
			b.WriteByte(' ')
		case depth == 0:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// tag returns one tag of a DKIM or ARC tag list.
func tag(list, name string) string {
	for part := range strings.SplitSeq(list, ";") {
		k, v, ok := strings.Cut(part, "=")
		if ok && strings.TrimSpace(k) == name {
			return clip(strings.TrimSpace(v), 255)
		}
	}
	return ""
}

func tagNumber(list, name string) int { return number(tag(list, name)) }

// number parses the decimal number at the start of s. It returns 0 if there is
// none or it is above 65535.
func number(s string) int {
	n := 0
	for i := 0; i < len(s) && isDigit(s[i]); i++ {
		if n = n*10 + int(s[i]-'0'); n > 65535 {
			return 0
		}
	}
	return n
}
