package summary

import "strings"

// baseSubject removes reply and forward markers from a decoded subject, and
// reports whether there were any (RFC 5256, 2.1).
func baseSubject(s string) (base string, isReply bool) {
	s = strings.Join(strings.Fields(s), " ")
	for {
		for {
			t := strings.TrimSuffix(s, " ")
			if cut, ok := cutFold(t, "(fwd)"); ok {
				t, isReply = strings.TrimRight(cut, " "), true
			}
			if t == s {
				break
			}
			s = t
		}
		for {
			t := strings.TrimLeft(s, " ")
			if rest, ok := cutLeader(t); ok {
				t, isReply = rest, true
			} else if rest, ok := cutBlob(t); ok && strings.TrimSpace(rest) != "" {
				t = rest
			}
			if t == s {
				break
			}
			s = t
		}
		inner, ok := unwrap(s)
		if !ok {
			return s, isReply
		}
		s, isReply = inner, true
	}
}

// cutFold removes a suffix, ignoring case.
func cutFold(s, suffix string) (string, bool) {
	if len(s) >= len(suffix) && strings.EqualFold(s[len(s)-len(suffix):], suffix) {
		return s[:len(s)-len(suffix)], true
	}
	return s, false
}

// cutBlob removes a leading "[anything] " (subj-blob).
func cutBlob(s string) (string, bool) {
	if !strings.HasPrefix(s, "[") {
		return s, false
	}
	i := strings.IndexAny(s[1:], "[]")
	if i < 0 || s[1+i] != ']' {
		return s, false
	}
	return strings.TrimLeft(s[i+2:], " "), true
}

// cutLeader removes a leading "re: ", "fwd [x]: " or similar (subj-leader),
// together with any blobs before it.
func cutLeader(s string) (string, bool) {
	rest := s
	for {
		t, ok := cutBlob(rest)
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
		if u, ok := cutBlob(t); ok {
			t = u
		}
		if t, ok := strings.CutPrefix(t, ":"); ok {
			return strings.TrimLeft(t, " "), true
		}
	}
	return s, false
}

// unwrap returns the text inside "[fwd: ...]".
func unwrap(s string) (string, bool) {
	if len(s) > 6 && strings.EqualFold(s[:5], "[fwd:") && s[len(s)-1] == ']' {
		return strings.TrimSpace(s[5 : len(s)-1]), true
	}
	return s, false
}
