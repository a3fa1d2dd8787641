package imap

import (
	"errors"
	"slices"
	"strings"

	"hoplite/maildrop"
)

// oneName reads a command that takes the name of a mailbox; ok is false when
// the command is wrong.
func (s *session) oneName() (name string, ok bool, err error) {
	s.p.SP()
	wireName := s.p.AString()
	if !s.end() {
		return "", false, nil
	}
	name, err = s.mailbox(wireName)
	return name, err == nil, err
}

// specialUses are the attributes that CREATE can set (RFC 6154, 2).
var specialUses = []string{`\All`, `\Archive`, `\Drafts`, `\Flagged`, `\Junk`, `\Sent`, `\Trash`}

func (s *session) doCreate() error {
	s.p.SP()
	c := s.p.Create()
	if !s.end() {
		return nil
	}
	use := ""
	for _, u := range c.Use {
		i := slices.IndexFunc(specialUses, func(k string) bool { return strings.EqualFold(k, u) })
		if i < 0 || use != "" {
			return nof("[USEATTR] a mailbox has one special use of those we know")
		}
		use = specialUses[i]
	}
	plain, err := s.text(c.Mailbox)
	if err != nil {
		return nof("[CANNOT] not a possible name")
	}
	// A separator at the end says that mailboxes are going to be made below;
	// here every mailbox may have some (RFC 9051, 6.3.4).
	name, err := s.storeName(strings.TrimSuffix(plain, s.separator()))
	if err == nil {
		err = s.box.Create(name, use)
	}
	if errors.Is(err, maildrop.ErrFolderName) {
		return nof("[CANNOT] not a possible name")
	}
	if err != nil {
		return err
	}
	snap, err := s.box.Status(name)
	if err != nil {
		return err
	}
	return s.done("[MAILBOXID (%s)] CREATE completed", objectID('F', snap.GUID))
}

func (s *session) doDelete() error {
	name, ok, err := s.oneName()
	if !ok {
		return err
	}
	if s.sel != nil && s.sel.folder.Name() == name {
		s.unselect() // nobody can look at a mailbox that isn't there
	}
	if err := s.box.Delete(name); err != nil {
		return err
	}
	return s.done("DELETE completed")
}

func (s *session) doRename() error {
	s.p.SP()
	from := s.p.AString()
	s.p.SP()
	to := s.p.AString()
	if !s.end() {
		return nil
	}
	old, err := s.mailbox(from)
	if err != nil {
		return err
	}
	plain, err := s.text(to)
	if err != nil {
		return nof("[CANNOT] not a possible name")
	}
	name, err := s.storeName(strings.TrimSuffix(plain, s.separator()))
	if err == nil {
		err = s.box.Rename(old, name)
	}
	if errors.Is(err, maildrop.ErrFolderName) {
		return nof("[CANNOT] not a possible name")
	}
	if err != nil {
		return err
	}
	return s.done("RENAME completed")
}

func (s *session) doSubscribe() error {
	name, ok, err := s.oneName()
	if !ok {
		return err
	}
	if err := s.box.Subscribe(name, true); err != nil {
		return err
	}
	return s.done("SUBSCRIBE completed")
}

func (s *session) doUnsubscribe() error {
	name, ok, err := s.oneName()
	if !ok {
		return err
	}
	if err := s.box.Subscribe(name, false); err != nil {
		return err
	}
	return s.done("UNSUBSCRIBE completed")
}

func (s *session) doStatus() error {
	s.p.SP()
	wireName := s.p.AString()
	s.p.SP()
	items := s.p.StatusItems()
	if !s.end() {
		return nil
	}
	name, err := s.mailbox(wireName)
	if err != nil {
		return err
	}
	if slices.Contains(items, "HIGHESTMODSEQ") {
		s.enableCondstore()
	}
	if err := s.status(name, items); err != nil {
		return err
	}
	return s.done("STATUS completed")
}

// status sends the figures of a folder (RFC 9051, 6.3.11).
func (s *session) status(name string, items []string) error {
	f, err := s.box.Folder(name)
	if err != nil {
		return err
	}
	defer f.Close()
	snap, err := f.Sync()
	if err != nil {
		return err
	}
	c := snap.Counts()
	b := append(s.w.Room(1024), "* STATUS "...)
	b = append(b, s.mailboxName(name)...)
	for i, it := range items {
		b = append(b, [...]string{" (", " "}[min(i, 1)]...)
		b = append(append(b, it...), ' ')
		switch it {
		case "MESSAGES":
			b = appendInt(b, int64(c.Messages))
		case "RECENT":
			b = appendInt(b, int64(len(snap.Messages)-snap.From(f.Recent(snap, false))))
		case "UIDNEXT":
			b = appendInt(b, int64(snap.Next))
		case "UIDVALIDITY":
			b = appendInt(b, int64(snap.Validity))
		case "UNSEEN":
			b = appendInt(b, int64(c.Unseen))
		case "DELETED":
			b = appendInt(b, int64(c.Deleted))
		case "SIZE":
			b = appendInt(b, c.Size)
		case "DELETED-STORAGE":
			b = appendInt(b, c.DeletedSize)
		case "HIGHESTMODSEQ":
			b = appendInt(b, int64(max(snap.ModSeq, 1)))
		case "MAILBOXID":
			b = append(append(append(b, '('), objectID('F', snap.GUID)...), ')')
		case "APPENDLIMIT":
			b = appendInt(b, int64(s.srv.cfg.AppendLimit))
		}
	}
	s.w.Took(append(b, ")\r\n"...))
	return nil
}
