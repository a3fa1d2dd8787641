package maildrop

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"hoplite/mail"
	"hoplite/maildrop/maildir"
)

// atOnce is the number of recipients to which one message is delivered in
// parallel.
const atOnce = 8

// Open implements mail.Hop. Each recipient is an account, whose copy is stored
// as a file in the appropriate folder.
func (s *Store) Open(_ context.Context, tx *mail.Transaction) (mail.Handoff, error) {
	return &handoff{store: s, tx: tx}, nil
}

// handoff is the delivery of one message to one or more boxes.
type handoff struct {
	store *Store
	tx    *mail.Transaction
	rcpts []target
}

// target is the destination for one recipient's copy.
type target struct {
	rcpt   mail.Rcpt
	box    *Box // nil if it does not exist yet
	folder string
}

// Rcpt accepts recipients that exist and are within their quota. It does not
// create a box; that happens when the first message is stored.
func (h *handoff) Rcpt(_ context.Context, r mail.Rcpt) error {
	if !h.store.known(r.To) {
		return &mail.Reply{Code: 550, Enhanced: "5.1.1", Text: "Recipient address rejected: no such mailbox", Cause: ErrNoBox}
	}
	if !h.store.Exists(r.To) {
		h.rcpts = append(h.rcpts, target{rcpt: r})
		return nil
	}
	box, err := h.store.Box(r.To)
	if err != nil {
		return err
	}
	if err := box.quota.fits(h.tx.Envelope.Size, 1); err != nil {
		box.Close()
		return h.store.reply(err)
	}
	h.rcpts = append(h.rcpts, target{rcpt: r, box: box})
	return nil
}

// known reports whether a has an account or a box.
func (s *Store) known(a mail.Address) bool {
	account := s.set.Load().account
	if account == nil {
		return s.Exists(a)
	}
	_, ok := account(a)
	return ok
}

// reply returns the SMTP reply for err.
func (s *Store) reply(err error) *mail.Reply {
	switch {
	case errors.Is(err, ErrQuota) && s.set.Load().QuotaReply == "reject":
		return &mail.Reply{Code: 552, Enhanced: "5.2.2", Text: "Mailbox full", Cause: err}
	case errors.Is(err, ErrQuota):
		return &mail.Reply{Code: 452, Enhanced: "4.2.2", Text: "Mailbox full", Cause: err}
	case noRoom(err):
		return &mail.Reply{Code: 452, Enhanced: "4.3.1", Text: "Insufficient system storage", Cause: err}
	}
	return mail.AsReply(err)
}

// Send stores the message for every recipient. A recipient's outcome is 250
// once the file and its directory entry are on disk.
func (h *handoff) Send(ctx context.Context, m *mail.Message) []mail.Outcome {
	out := make([]mail.Outcome, len(h.rcpts))
	if len(h.rcpts) == 1 {
		out[0] = h.send(ctx, &h.rcpts[0], m)
		return out
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i := range h.rcpts {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			out[i] = h.send(ctx, &h.rcpts[i], m)
		})
	}
	wg.Wait()
	return out
}

func (h *handoff) send(ctx context.Context, t *target, m *mail.Message) mail.Outcome {
	start := time.Now()
	id, err := h.deliver(ctx, t, m)
	o := mail.Outcome{Rcpt: t.rcpt.To, Hop: h.store.set.Load().Name, RemoteID: id, At: time.Now(), Took: time.Since(start)}
	if err != nil {
		o.Reply = *h.store.reply(err)
		return o
	}
	o.Reply = *mail.NewReply(250, "2.0.0", "stored in %s", t.folder)
	return o
}

// deliver stores the message for one recipient and returns the base name of its
// file.
func (h *handoff) deliver(ctx context.Context, t *target, m *mail.Message) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if t.box == nil {
		box, err := h.store.Box(t.rcpt.To)
		if err != nil {
			return "", err
		}
		t.box = box
	}
	f, err := h.folder(t)
	if err != nil {
		return "", err
	}
	defer f.Close()
	own := deliveryEdits(m, h.tx.Envelope.From, t.rcpt.To)
	// The limit applies to the stored message, which is smaller because its
	// lines end in LF.
	if err := t.box.quota.fits(own.Size()-own.Size()/80, 1); err != nil {
		return "", err
	}
	n, err := f.NewMessage()
	if err != nil {
		return "", err
	}
	if _, err = own.WriteTo(n); err == nil {
		err = n.deliver()
	}
	if err != nil {
		n.Discard()
		return "", fmt.Errorf("deliver to %s: %w", t.rcpt.To, err)
	}
	return n.base(), nil
}

// deliveryEdits returns the message as stored: with the reverse path and the
// recipient added at the top, and without existing Return-Path fields (RFC
// 5321, 4.4).
func deliveryEdits(m *mail.Message, from, to mail.Address) *mail.Message {
	var drop []mail.Span
	for f := range mail.Fields(m.Head) {
		if f.Is("Return-Path") && !slices.Contains(m.Drop, f.Span) {
			drop = append(drop, f.Span)
		}
	}
	top := fmt.Appendf(nil, "Return-Path: <%s>\r\nDelivered-To: %s\r\n", from, to)
	return m.Edited(top, drop...)
}

// folder opens the folder for a recipient's copy: Junk for quarantined mail,
// the sub-address's folder if it exists, otherwise INBOX.
func (h *handoff) folder(t *target) (*Folder, error) {
	set := h.store.set.Load()
	name, create := t.rcpt.Folder, set.MakeFolders
	if h.tx.Quarantine != "" {
		name, create = set.Junk, true
	}
	t.folder = maildir.Inbox
	if name == "" {
		return t.box.Folder(maildir.Inbox)
	}
	f, name, err := detail(t.box, name, create)
	if errors.Is(err, ErrNoFolder) || errors.Is(err, ErrFolderName) {
		return t.box.Folder(maildir.Inbox)
	}
	t.folder = name
	return f, err
}

// detail opens a sub-address's folder. The match ignores case, and levels may
// be separated by "." or "/".
func detail(b *Box, name string, create bool) (*Folder, string, error) {
	name = maildir.CanonicalFolder(name)
	for _, try := range []string{name, sameFolder(b, name)} {
		if try == "" {
			continue
		}
		if f, err := b.Folder(try); err == nil {
			return f, try, nil
		}
	}
	if !create {
		return nil, "", ErrNoFolder
	}
	if err := b.Create(name, ""); err != nil && !errors.Is(err, ErrExists) {
		return nil, "", err
	}
	f, err := b.Folder(name)
	return f, name, err
}

// sameFolder returns the folder whose name differs from name only in case and
// separators, or "" if there is none.
func sameFolder(b *Box, name string) string {
	list, err := b.List()
	if err != nil {
		return ""
	}
	want := foldFolder(name)
	i := slices.IndexFunc(list, func(f FolderInfo) bool { return f.Exists && foldFolder(f.Name) == want })
	if i < 0 {
		return ""
	}
	return list[i].Name
}

// Close releases the boxes.
func (h *handoff) Close() error {
	for _, t := range h.rcpts {
		if t.box != nil {
			t.box.Close()
		}
	}
	h.rcpts = nil
	return nil
}

// foldFolder normalises a folder name for comparison with sub-addresses.
func foldFolder(name string) string {
	return strings.ToLower(strings.ReplaceAll(name, ".", "/"))
}
