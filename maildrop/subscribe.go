package maildrop

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"hoplite/maildrop/maildir"
)

// SpecialUses are the uses that a folder can be marked with (RFC 6154).
var SpecialUses = []string{`\All`, `\Archive`, `\Drafts`, `\Flagged`, `\Junk`, `\Sent`, `\Trash`}

// usualNames are folders that tell what they are for by their name.
var usualNames = map[string]string{
	"drafts": `\Drafts`, "sent": `\Sent`, "sent messages": `\Sent`, "sent items": `\Sent`,
	"trash": `\Trash`, "deleted items": `\Trash`, "deleted messages": `\Trash`,
	"junk": `\Junk`, "spam": `\Junk`, "archive": `\Archive`, "archives": `\Archive`,
}

// specialUseFile lists marked folders, a line each: use, TAB, folder name.
const specialUseFile = "hoplite-special-use"

// specialUses reads which folder is marked for what; b.mu is held.
func (b *Box) specialUses() map[string]string {
	uses := map[string]string{}
	text, err := b.dir.ReadFile(specialUseFile, 64<<10)
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

// setSpecialUse changes the marks; b.mu is held.
func (b *Box) setSpecialUse(change func(map[string]string)) error {
	uses := b.specialUses()
	was := maps.Clone(uses)
	change(uses)
	if maps.Equal(uses, was) {
		return nil
	}
	var text []byte
	for _, name := range slices.Sorted(maps.Keys(uses)) {
		text = fmt.Appendf(text, "%s\t%s\n", uses[name], name)
	}
	b.listing.folders = nil
	return b.dir.Replace(specialUseFile, text)
}

// Subscriptions returns the names that the user subscribed to, in the order
// of the file. Folders that do not exist can be among them.
func (b *Box) Subscriptions() ([]string, error) {
	b.subs.Lock()
	defer b.subs.Unlock()
	s, err := b.readSubscriptions()
	return s.Names, err
}

func (b *Box) readSubscriptions() (maildir.Subscriptions, error) {
	text, err := b.dir.ReadFile(maildir.SubscriptionsFile, 1<<20)
	if isNot(err) {
		return b.courierSubscriptions(), nil
	}
	if err != nil {
		return maildir.Subscriptions{}, fmt.Errorf("read subscriptions: %w", err)
	}
	return maildir.ParseSubscriptions(string(text), b.store.Separator()), nil
}

// courierSubscriptions is what a user of Courier subscribed to, or nothing.
func (b *Box) courierSubscriptions() maildir.Subscriptions {
	s := maildir.Subscriptions{Separator: b.store.Separator()}
	text, err := b.dir.ReadFile(maildir.CourierSubscriptionsFile, 1<<20)
	if err != nil {
		return s
	}
	for _, name := range maildir.ParseSubscriptions(string(text), ".").Names {
		// Courier has all folders below INBOX, we have them beside it.
		s.Names = append(s.Names, strings.TrimPrefix(name, maildir.Inbox+"/"))
	}
	return s
}

// Subscribe puts a name on the list of subscriptions or takes it off. The
// folder need not exist (RFC 9051, 6.3.7).
func (b *Box) Subscribe(name string, on bool) error {
	name = maildir.CanonicalFolder(name)
	if _, err := maildir.FolderDir(name); err != nil && on {
		return err
	}
	b.subs.Lock()
	defer b.subs.Unlock()
	s, err := b.readSubscriptions()
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
	return b.dir.Replace(maildir.SubscriptionsFile, s.Bytes())
}
