package imap

import (
	"fmt"
	"time"

	"hoplite/internal/users"
	"hoplite/mail"
	"hoplite/maildrop"
)

// account is the authenticated state: the box of the logged-in account, and the
// mailbox selected in it, if any.
type account struct {
	session  *session
	name     string
	box      *maildrop.Box
	names    naming
	work     work
	selected *mailbox
}

// openAccount opens an account's box.
func openAccount(s *session, a *users.Account) (*account, error) {
	addr, err := mail.ParseAddress(a.Name)
	if err != nil {
		return nil, fmt.Errorf("account %q: %w", a.Name, err)
	}
	box, err := s.srv.env.Box(addr)
	if err != nil {
		return nil, err
	}
	store := box.Store()
	return &account{
		session: s, name: a.Name, box: box,
		names: naming{separator: store.Separator(), prefix: store.Prefix()},
		work:  work{own: bucket{size: connectionBudget, perSecond: connectionRefill}, account: s.srv.env.Works.enter(a.Name)},
	}, nil
}

// close leaves the state when the connection ends.
func (a *account) close() {
	a.unselect()
	a.box.Close()
	a.session.srv.env.Works.leave(a.name, time.Now())
	a.session.srv.env.Tally.Leave(a.name)
}

// unselect leaves the selected state.
func (a *account) unselect() {
	if a.selected != nil {
		a.selected.close()
		a.selected = nil
	}
}

// open opens the folder for a mailbox name from the wire.
func (a *account) open(wireName string) (*maildrop.Folder, error) {
	name, err := a.names.folder(wireName)
	if err != nil {
		return nil, err
	}
	return a.box.Folder(name)
}

// enableCondstore adds MODSEQ to every subsequent untagged FETCH (RFC 7162,
// 3.1).
func (a *account) enableCondstore() {
	on := &a.session.on
	if on.condstore {
		return
	}
	on.condstore = true
	if a.selected != nil {
		a.selected.sendHighestModSeq()
	}
}

func (a *account) enableQResync() {
	a.session.on.qresync = true
	a.enableCondstore()
}

func (a *account) enableUTF8() {
	a.session.on.utf8 = true
	a.names.utf8 = true
}

func (a *account) enableRev2() {
	a.session.on.rev2 = true
	a.names.utf8 = true
}
