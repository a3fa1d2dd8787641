package imap

import (
	"slices"
	"strings"

	"hoplite/imap/wire"
	"hoplite/maildrop"
	"hoplite/maildrop/maildir"
)

// listed is a name that LIST may return.
type listed struct {
	maildrop.FolderInfo
	subscribed bool
	above      bool // a subscribed name exists below it
}

// handleList runs LIST (RFC 9051, 6.3.9; RFC 5258, RFC 5819, RFC 6154).
func handleList(a *account, c *call) error {
	c.args.SP()
	l := c.args.List()
	if err := c.args.End(); err != nil {
		return err
	}
	if err := a.checkStatus(l.Status); err != nil {
		return err
	}
	if !l.Extended && l.Patterns[0] == "" {
		c.out.untagged(`LIST (\Noselect) %s ""`, a.names.quotedSeparator())
		return nil
	}
	names, err := allNames(a.box)
	if err != nil {
		return err
	}
	match, err := newPatterns(&a.names, l.Reference, l.Patterns)
	if err != nil {
		return err
	}
	for i, n := range names {
		if !match.match(n.Name) {
			continue
		}
		childInfo := l.Subscribed && l.Recursive && hidesSubscribed(names, i, match)
		if !wanted(&l, &n, childInfo) {
			continue
		}
		sendListed(a, c, &l, &n, childInfo)
		if len(l.Status) > 0 && n.Exists {
			// A folder that has just been deleted has no status; continue with
			// the others.
			a.sendStatus(c.out, n.Name, l.Status)
		}
		if len(l.Metadata) > 0 && n.Exists {
			sendListMetadata(a, c, &l, n.Name)
		}
	}
	return nil
}

// wanted reports whether the selection options select a name.
func wanted(l *wire.List, n *listed, childInfo bool) bool {
	switch {
	case l.Subscribed && !n.subscribed && !childInfo:
		return false
	case l.SpecialUse && n.SpecialUse == "":
		return false
	}
	return l.Subscribed || n.Exists || n.HasChildren
}

func sendListed(a *account, c *call, l *wire.List, n *listed, childInfo bool) {
	b := append(c.out.Room(512), "* LIST ("...)
	b = append(b, strings.Join(attributes(l, n), " ")...)
	b = append(b, ") "...)
	b = append(b, a.names.quotedSeparator()...)
	b = append(b, ' ')
	b = append(b, a.names.encode(n.Name)...)
	if childInfo {
		b = append(b, ` (CHILDINFO ("SUBSCRIBED"))`...)
	}
	c.out.Took(append(b, "\r\n"...))
}

// allNames returns all folders, their parents, and the subscribed names, INBOX
// first.
func allNames(box *maildrop.Box) ([]listed, error) {
	folders, err := box.List()
	if err != nil {
		return nil, err
	}
	subs, err := box.Subscriptions()
	if err != nil {
		return nil, err
	}
	return mergeNames(folders, subs), nil
}

func mergeNames(folders []maildrop.FolderInfo, subs []string) []listed {
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
			add(maildrop.FolderInfo{Name: name[:i]}).above = true
		}
	}
	slices.SortStableFunc(out, func(a, b listed) int { return compareNames(a.Name, b.Name) })
	return out
}

// compareNames sorts INBOX first and each name before the names below it.
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

// hidesSubscribed reports whether a subscribed name that the patterns do not
// match is below the i-th name (RFC 5258, 3.5).
func hidesSubscribed(names []listed, i int, match *patterns) bool {
	below := names[i].Name + "/"
	for _, n := range names[i+1:] {
		if !strings.HasPrefix(n.Name, below) {
			if names[i].Name == maildir.Inbox {
				continue // the names below INBOX do not follow it
			}
			return false // names are sorted, so no more can follow
		}
		if n.subscribed && !match.match(n.Name) {
			return true
		}
	}
	return false
}

// attributes returns a name's attributes. A plain LIST returns all of them (RFC
// 3348, RFC 6154), an extended LIST only the requested ones.
func attributes(l *wire.List, n *listed) []string {
	var out []string
	switch {
	case n.Exists:
	case l.Extended:
		out = append(out, `\NonExistent`)
	default:
		out = append(out, `\Noselect`)
	}
	switch {
	case l.Extended && !l.ReturnChildren:
	case n.HasChildren:
		out = append(out, `\HasChildren`)
	default:
		out = append(out, `\HasNoChildren`)
	}
	if n.SpecialUse != "" && (!l.Extended || l.ReturnSpecialUse || l.SpecialUse) {
		out = append(out, n.SpecialUse)
	}
	if n.subscribed && (l.Subscribed || l.ReturnSubscribed) {
		out = append(out, `\Subscribed`)
	}
	return out
}

// handleLsub runs LSUB (RFC 3501, 6.3.9).
func handleLsub(a *account, c *call) error {
	c.args.SP()
	ref := c.args.AString()
	c.args.SP()
	text := c.args.ListMailbox()
	if err := c.args.End(); err != nil {
		return err
	}
	names, err := allNames(a.box)
	if err != nil {
		return err
	}
	match, err := newPatterns(&a.names, ref, []string{text})
	if err != nil {
		return err
	}
	for i, n := range names {
		if !match.match(n.Name) {
			continue
		}
		switch {
		case n.subscribed:
			c.out.untagged("LSUB () %s %s", a.names.quotedSeparator(), a.names.encode(n.Name))
		case n.above && strings.Contains(text, "%") && hidesSubscribed(names, i, match):
			// The name stands for the subscribed names below it.
			c.out.untagged(`LSUB (\Noselect) %s %s`, a.names.quotedSeparator(), a.names.encode(n.Name))
		}
	}
	return nil
}

// handleNamespace runs NAMESPACE (RFC 9051, 6.3.10).
func handleNamespace(a *account, c *call) error {
	if err := c.args.End(); err != nil {
		return err
	}
	prefix := wire.AppendString(nil, a.names.prefix, true)
	c.out.untagged("NAMESPACE ((%s %s)) NIL NIL", prefix, a.names.quotedSeparator())
	return nil
}
