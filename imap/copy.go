package imap

import (
	"errors"
	"fmt"

	"hoplite/imap/wire"
	"hoplite/maildrop"
)

// doCopy runs COPY and MOVE (RFC 9051, 6.4.7 and 6.4.8).
func (s *session) doCopy(uid, move bool) error {
	s.p.SP()
	set := s.p.Set()
	s.p.SP()
	wireName := s.p.AString()
	if !s.end() {
		return nil
	}
	idx := s.messages(set, uid)
	if s.p.Err() != nil {
		return nil
	}
	what := "COPY"
	if move {
		what = "MOVE"
	}
	if move && s.sel.readOnly {
		return errReadOnly
	}
	name, err := s.mailbox(wireName)
	if err != nil {
		return nof("[TRYCREATE] no such mailbox")
	}
	dst, err := s.box.Folder(name)
	if err != nil {
		return tryCreate(err)
	}
	defer dst.Close()
	if len(idx) == 0 {
		return s.done("%s completed", what)
	}
	transfer := s.sel.folder.Copy
	if move {
		transfer = s.sel.folder.Move
	}
	c, err := transfer(s.uidsOf(idx), dst)
	if err != nil {
		return err
	}
	if len(c.From) == 0 {
		if uid {
			return s.done("%s completed", what)
		}
		return errors.Join(maildrop.ErrNoMessage, s.poll(true))
	}
	code := fmt.Sprintf("[COPYUID %d %s %s]", c.Validity, wire.AppendNumbers(nil, c.From), wire.AppendNumbers(nil, c.To))
	if move {
		s.untagged("OK %s moved", code)
		return s.done("MOVE completed")
	}
	return s.done("%s COPY completed", code)
}
