package imap

import (
	"slices"
	"strings"

	"hoplite/imap/wire"
	"hoplite/maildrop"
	"hoplite/maildrop/maildir"
)

// listed is one name that LIST may show.
type listed struct {
	maildrop.FolderInfo
	subscribed bool
	below      bool // a subscribed name is below it
}

// doList runs LIST (RFC 9051, 6.3.9; RFC 5258, 5819, 6154).
func (s *session) doList() error {
	s.p.SP()
	l := s.p.List()
	if !s.end() {
		return nil
	}
	if !l.Extended && l.Patterns[0] == "" {
		s.untagged(`LIST (\Noselect) %s ""`, s.quotedSeparator())
		return s.done("LIST completed")
	}
	names, err := s.names()
	if err != nil {
		return err
	}
	match, err := s.matcher(l.Reference, l.Patterns)
	if err != nil {
		return err
	}
	for i, n := range names {
		if match(n.Name) {
			s.listOne(l, n, func() bool { return hidden(names, i, match) })
		}
	}
	return s.done("LIST completed")
}

// names are all folders, their parents, and what is subscribed, INBOX first.
func (s *session) names() ([]listed, error) {
	folders, err := s.box.List()
	if err != nil {
		return nil, err
	}
	subs, err := s.box.Subscriptions()
	if err != nil {
		return nil, err
	}
	at := make(map[string]int, len(folders))
	out := make([]listed, 0, len(folders)+len(subs))
	add := func(f maildrop.FolderInfo) *listed {
		i, ok := at[f.Name]
		if !ok {
			i = len(out)
			at[f.Name] = i
			out = append(out, listed{FolderInfo: f})
		}
		return &out[i]
	}
	for _, f := range folders {
		add(f)
	}
	for _, name := range subs {
		add(maildrop.FolderInfo{Name: name}).subscribed = true
		for i := strings.LastIndexByte(name, '/'); i > 0; i = strings.LastIndexByte(name[:i], '/') {
			add(maildrop.FolderInfo{Name: name[:i]}).below = true
		}
	}
	slices.SortStableFunc(out, func(a, b listed) int { return compareNames(a.Name, b.Name) })
	return out, nil
}

// compareNames puts INBOX first and each name before those below it.
func compareNames(a, b string) int {
	switch {
	case a == b:
		return 0
	case a == maildir.Inbox:
		return -1
	case b == maildir.Inbox:
		return 1
	}
	return strings.Compare(strings.ReplaceAll(a, "/", "\x00"), strings.ReplaceAll(b, "/", "\x00"))
}

// matcher tells which names fit one of the patterns behind the reference.
func (s *session) matcher(ref string, patterns []string) (func(name string) bool, error) {
	if len(patterns) > 50 {
		return nil, nof("[LIMIT] too many patterns")
	}
	var list []pattern
	for _, text := range patterns {
		full, err := s.text(ref + text)
		if err != nil {
			return nil, err
		}
		if len(full) > maxPattern {
			return nil, nof("[LIMIT] pattern too long")
		}
		if len(full) >= 5 && strings.EqualFold(full[:5], maildir.Inbox) && (len(full) == 5 || full[5] == s.separator()[0]) {
			full = maildir.Inbox + full[5:]
		}
		list = append(list, newPattern(full, s.separator()))
	}
	inbox := slices.ContainsFunc(list, func(p pattern) bool {
		return newPattern(strings.ToUpper(p.text), s.separator()).match(maildir.Inbox)
	})
	return func(name string) bool {
		if name == maildir.Inbox {
			return inbox // its case means nothing
		}
		shown := s.shown(name)
		return slices.ContainsFunc(list, func(p pattern) bool { return p.match(shown) })
	}, nil
}

// listOne shows a name that fits the patterns, if the selection options want it.
func (s *session) listOne(l wire.List, n listed, hidden func() bool) {
	childInfo := l.Subscribed && l.Recursive && hidden()
	switch {
	case l.Subscribed && !n.subscribed && !childInfo:
		return
	case l.SpecialUse && n.SpecialUse == "":
		return
	case !l.Subscribed && !n.Exists && !n.HasChildren:
		return
	}
	b := append(s.w.Room(512), "* LIST ("...)
	b = append(b, strings.Join(attributes(l, n), " ")...)
	b = append(b, ") "...)
	b = append(b, s.quotedSeparator()...)
	b = append(b, ' ')
	b = append(b, s.mailboxName(n.Name)...)
	if childInfo {
		b = append(b, ` (CHILDINFO ("SUBSCRIBED"))`...)
	}
	s.w.Took(append(b, "\r\n"...))
	if len(l.Status) > 0 && n.Exists {
		// A folder that vanishes meanwhile has no status; the list goes on.
		s.status(n.Name, l.Status)
	}
}

// hidden tells whether a subscribed name is below the i-th that the patterns
// miss (RFC 5258, 3.5).
func hidden(names []listed, i int, match func(string) bool) bool {
	below := names[i].Name + "/"
	for _, c := range names[i+1:] {
		if !strings.HasPrefix(c.Name, below) {
			if names[i].Name == maildir.Inbox {
				continue // it comes first, and what is below it does not follow
			}
			return false // names are sorted: there are no more
		}
		if c.subscribed && !match(c.Name) {
			return true
		}
	}
	return false
}

func attributes(l wire.List, n listed) []string {
	var a []string
	if !n.Exists {
		if l.Extended {
			a = append(a, `\NonExistent`)
		} else {
			a = append(a, `\Noselect`)
		}
	}
	// A plain LIST gets all there is (RFC 3348, RFC 6154); an extended one what
	// it asks for.
	switch {
	case l.Extended && !l.RetChildren:
	case n.HasChildren:
		a = append(a, `\HasChildren`)
	default:
		a = append(a, `\HasNoChildren`)
	}
	if n.SpecialUse != "" && (!l.Extended || l.RetSpecialUse || l.SpecialUse) {
		a = append(a, n.SpecialUse)
	}
	if n.subscribed && (l.Subscribed || l.RetSubscribed) {
		a = append(a, `\Subscribed`)
	}
	return a
}

// doLsub runs LSUB (RFC 3501, 6.3.9).
func (s *session) doLsub() error {
	s.p.SP()
	ref := s.p.AString()
	s.p.SP()
	pat := s.p.ListMailbox()
	if !s.end() {
		return nil
	}
	names, err := s.names()
	if err != nil {
		return err
	}
	match, err := s.matcher(ref, []string{pat})
	if err != nil {
		return err
	}
	for i, n := range names {
		attr := ""
		switch {
		case !match(n.Name):
			continue
		case n.subscribed:
		case n.below && strings.Contains(pat, "%") && hidden(names, i, match):
			// The name stands for subscribed ones below it.
			attr = `\Noselect`
		default:
			continue
		}
		s.untagged("LSUB (%s) %s %s", attr, s.quotedSeparator(), s.mailboxName(n.Name))
	}
	return s.done("LSUB completed")
}

func (s *session) doNamespace() error {
	if !s.end() {
		return nil
	}
	prefix := string(wire.AppendString(nil, s.prefix, true))
	s.untagged("NAMESPACE ((%s %s)) NIL NIL", prefix, s.quotedSeparator())
	return s.done("NAMESPACE completed")
}
