package imap

import (
	"net/mail"
	"strings"
	"time"
)

// baseSubject takes off what replies and forwards add to a subject, and says
// whether there was such a thing (RFC 5256, 2.1). The subject is decoded.
func baseSubject(s string) (base string, reply bool) {
	s = strings.Join(strings.Fields(s), " ")
	for {
		for {
			t := strings.TrimSuffix(s, " ")
			if cut, ok := cutFold(t, "(fwd)"); ok {
				t, reply = strings.TrimRight(cut, " "), true
			}
			if t == s {
				break
			}
			s = t
		}
		for {
			t := strings.TrimLeft(s, " ")
			if rest, ok := leader(t); ok {
				t, reply = rest, true
			} else if rest, ok := blob(t); ok && strings.TrimSpace(rest) != "" {
				t = rest
			}
			if t == s {
				break
			}
			s = t
		}
		inner, ok := wrapped(s)
		if !ok {
			return s, reply
		}
		s, reply = inner, true
	}
}

// cutFold cuts a suffix, ignoring case.
func cutFold(s, suffix string) (string, bool) {
	if len(s) >= len(suffix) && strings.EqualFold(s[len(s)-len(suffix):], suffix) {
		return s[:len(s)-len(suffix)], true
	}
	return s, false
}

// blob cuts "[anything] " off the front.
func blob(s string) (string, bool) {
	if !strings.HasPrefix(s, "[") {
		return s, false
	}
	i := strings.IndexAny(s[1:], "[]")
	if i < 0 || s[1+i] != ']' {
		return s, false
	}
	return strings.TrimLeft(s[i+2:], " "), true
}

// leader cuts "re: ", "fwd [x]: " and the like off the front, with the blobs
// before it.
func leader(s string) (string, bool) {
	rest := s
	for {
		t, ok := blob(rest)
		if !ok {
			break
		}
		rest = t
	}
	for _, w := range []string{"re", "fwd", "fw"} {
		if len(rest) <= len(w) || !strings.EqualFold(rest[:len(w)], w) {
			continue
		}
		t := strings.TrimLeft(rest[len(w):], " ")
		if u, ok := blob(t); ok {
			t = u
		}
		if t, ok := strings.CutPrefix(t, ":"); ok {
			return strings.TrimLeft(t, " "), true
		}
	}
	return s, false
}

// wrapped takes "[fwd: " and "]" off.
func wrapped(s string) (string, bool) {
	if len(s) > 6 && strings.EqualFold(s[:5], "[fwd:") && s[len(s)-1] == ']' {
		return strings.TrimSpace(s[5 : len(s)-1]), true
	}
	return s, false
}

// dateForms are Date fields that net/mail does not read.
var dateForms = []string{
	"Mon, 2 Jan 2006 15:04:05 -0700", "2 Jan 2006 15:04:05 -0700", "Mon, 2 Jan 2006 15:04 -0700", "2 Jan 2006 15:04 -0700",
	"Mon, 2 Jan 06 15:04:05 -0700", "2 Jan 06 15:04:05 -0700", "Mon Jan 2 15:04:05 2006",
	"Mon, 2 Jan 2006 15:04:05", "2 Jan 2006 15:04:05", "Mon, 2 Jan 2006 15:04:05 MST",
}

// parseDate reads a Date field, without a zone as UTC.
func parseDate(v string) (time.Time, bool) {
	if v == "" || len(v) > 200 {
		return time.Time{}, false
	}
	// Nearly all dates have this form, and ParseDate tries others before it.
	if t, err := time.Parse("Mon, 2 Jan 2006 15:04:05 -0700", v); err == nil {
		return t, true
	}
	if t, err := mail.ParseDate(v); err == nil {
		return t, true
	}
	if i := strings.IndexByte(v, '('); i > 0 {
		v = v[:i]
	}
	v = strings.Join(strings.Fields(v), " ")
	for _, f := range dateForms {
		if t, err := time.Parse(f, v); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
