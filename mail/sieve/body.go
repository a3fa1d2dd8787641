package sieve

import (
	"slices"
	"strings"
)

func compileBody(c *compiler, n *node) condition {
	a := c.arguments(n, merge(matchTags, map[string]tag{"raw": {}, "text": {}, "content": {value: argList}}), argList)
	if a == nil {
		return nil
	}
	m := c.matcher(a, a.texts(0))
	var values func(r *run) []string
	switch a.only("raw", "text", "content") {
	case "raw":
		values = func(r *run) []string { return []string{r.msg.raw()} }
	case "content":
		types := c.texts(n, a.tags["content"].strs)
		values = func(r *run) (out []string) {
			list := expandAll(r, types)
			for _, p := range r.msg.body() {
				if slices.ContainsFunc(list, func(t string) bool { return contentMatches(t, p.typ, p.subtype) }) {
					out = append(out, p.text)
				}
			}
			return out
		}
	default:
		values = func(r *run) (out []string) {
			for _, p := range r.msg.body() {
				if p.typ == "text" {
					out = append(out, p.plain())
				}
			}
			return out
		}
	}
	return testFunc(func(r *run) bool {
		match := r.match
		ok := m.any(r, values(r))
		r.match = match // the body sets no match variables (RFC 5173, 6)
		return ok
	})
}

// contentMatches reports whether a media type is selected by :content (RFC
// 5173, 5.2).
func contentMatches(want, typ, subtype string) bool {
	want = strings.ToLower(want)
	if strings.HasPrefix(want, "/") || strings.HasSuffix(want, "/") || strings.Count(want, "/") > 1 {
		return false
	}
	return want == "" || want == typ || want == typ+"/"+subtype
}
