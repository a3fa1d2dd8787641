package maildrop

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"hoplite/maildrop/maildir"
)

// SpecialUses lists the special uses that a folder can have (RFC 6154).
var SpecialUses = []string{`\All`, `\Archive`, `\Drafts`, `\Flagged`, `\Junk`, `\Sent`, `\Trash`}

// usualNames maps common folder names to the special uses that they imply.
var usualNames = map[string]string{
	"drafts": `\Drafts`, "sent": `\Sent`, "sent messages": `\Sent`, "sent items": `\Sent`,
	"trash": `\Trash`, "deleted items": `\Trash`, "deleted messages": `\Trash`,
	"junk": `\Junk`, "spam": `\Junk`, "archive": `\Archive`, "archives": `\Archive`,
}

// specialUseFile lists folders with a special use, one per line: use, TAB,
// folder name.
const specialUseFile = "hoplite-special-use"

// specialUses manages the file that records the special uses of folders. Box.mu
// guards it.
type specialUses struct{ dir *maildir.Dir }

// read returns the special uses by folder name.
func (u specialUses) read() map[string]string {
	uses := map[string]string{}
	text, err := u.dir.ReadFile(specialUseFile, 64<<10)
	if err != nil {
		return uses
	}
	for line := range strings.Lines(string(text)) {
		use, name, ok := strings.Cut(strings.TrimRight(line, "\n"), "\t")
		if ok && slices.Contains(SpecialUses, use) {
			uses[name] = use
		}
	}
	return uses
}

// change updates the recorded uses.
func (u specialUses) change(do func(map[string]string)) error {
	uses := u.read()
	was := maps.Clone(uses)
	do(uses)
	if maps.Equal(uses, was) {
		return nil
	}
	var text []byte
	for _, name := range slices.Sorted(maps.Keys(uses)) {
		text = fmt.Appendf(text, "%s\t%s\n", uses[name], name)
	}
	return u.dir.Replace(specialUseFile, text)
}

// subscriptions manages the list of folders to which the user is subscribed.
type subscriptions struct {
	dir *maildir.Dir // the box's directory
	// separator returns the string between levels in the old format.
	separator func() string

	mu sync.Mutex
}

// names returns the subscribed names.
func (l *subscriptions) names() ([]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, err := l.read()
	return s.Names, err
}

func (l *subscriptions) read() (maildir.Subscriptions, error) {
	text, err := l.dir.ReadFile(maildir.SubscriptionsFile, 1<<20)
	if isNot(err) {
		return l.courier(), nil
	}
	if err != nil {
		return maildir.Subscriptions{}, fmt.Errorf("read subscriptions: %w", err)
	}
	return maildir.ParseSubscriptions(string(text), l.separator()), nil
}

// courier returns a former Courier user's subscriptions, if any.
func (l *subscriptions) courier() maildir.Subscriptions {
	s := maildir.Subscriptions{Separator: l.separator()}
	text, err := l.dir.ReadFile(maildir.CourierSubscriptionsFile, 1<<20)
	if err != nil {
		return s
	}
	for _, name := range maildir.ParseSubscriptions(string(text), ".").Names {
		// In Courier, all folders are below INBOX; here they are at the same
		// level.
		s.Names = append(s.Names, strings.TrimPrefix(name, maildir.Inbox+"/"))
	}
	return s
}

// set adds a name to the list, or removes it if on is false.
func (l *subscriptions) set(name string, on bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, err := l.read()
	if err != nil {
		return err
	}
	i := slices.Index(s.Names, name)
	switch {
	case on && i < 0:
		s.Names = append(s.Names, name)
	case !on && i >= 0:
		s.Names = slices.Delete(s.Names, i, i+1)
	default:
		return nil
	}
	return l.dir.Replace(maildir.SubscriptionsFile, s.Bytes())
}
