package imap

import (
	"fmt"
	"io"
	"strings"

	"hoplite/imap/wire"
	"hoplite/maildrop"
)

// The limits on CATENATE.
const (
	maxCatParts = 1000
	maxURL      = 4 << 10
)

// catenate reads the parts of a message (RFC 4469): literals, and parts of
// messages in the account's own mailboxes. n is nil if an error has occurred;
// the parts are then only parsed.
func (up *upload) catenate(n *maildrop.NewMessage) error {
	c := up.call
	for count := 1; ; count++ {
		part := c.args.Part()
		if part.Literal && c.message == nil {
			c.args.Fail("Missing literal")
		}
		if err := c.args.Err(); err != nil {
			return err
		}
		if count > maxCatParts && up.err == nil {
			up.err = nof("[LIMIT] Too many parts")
		}
		if err := up.part(n, part); err != nil {
			return err
		}
		if !c.args.MorePart() {
			break
		}
	}
	if err := c.args.Err(); err != nil {
		return err
	}
	if up.err == nil && n.Size() == 0 {
		up.err = errEmpty
	}
	return nil
}

// part appends one part to a message.
func (up *upload) part(n *maildrop.NewMessage, part wire.Part) error {
	c := up.call
	switch {
	case !part.Literal:
		up.copyURL(n, part.URL)
		return nil
	case part.URL != "":
		url, err := up.literalURL()
		if err != nil {
			return err
		}
		up.copyURL(n, url)
		return nil
	}
	if up.err == nil && n.Size()+c.message.Size > up.limit {
		up.err = up.tooBig()
	}
	return up.literal(n, part.UTF8)
}

// literalURL reads a URL that is sent as a literal.
func (up *upload) literalURL() (string, error) {
	c := up.call
	if c.message.Size > maxURL {
		if !c.message.Sync {
			return "", wire.ErrTooLong
		}
		return "", nof("[TOOBIG] URL is too long")
	}
	if c.message.Sync {
		if err := c.out.proceed("Ready for URL"); err != nil {
			return "", err
		}
	}
	url, err := io.ReadAll(c.body())
	if err != nil {
		return "", err
	}
	return string(url), c.more()
}

// copyURL appends the part of a stored message to which a URL refers. Errors
// are stored in up.err.
func (up *upload) copyURL(n *maildrop.NewMessage, url string) {
	if up.err != nil {
		return
	}
	a := up.call.session.account
	if up.err = a.work.check(); up.err != nil {
		return
	}
	src, p, off, size, err := a.resolveURL(url)
	if src != nil {
		defer func() {
			a.work.spend(src.read - src.sent)
			src.close()
		}()
	}
	switch {
	case err != nil:
		up.err = badURL(url)
		return
	case n.Size()+size > up.limit:
		up.err = up.tooBig()
		return
	}
	w := &errorWriter{w: n}
	if err := p.send(w, off, size); w.err != nil {
		up.err = fmt.Errorf("store a message: %w", w.err)
	} else if err != nil {
		up.err = badURL(url)
	}
}

// badURL returns the error for a URL that cannot be used (RFC 4469, 5). The
// cause is not disclosed.
func badURL(url string) error {
	var b strings.Builder
	for i := range len(url) {
		if c := url[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`]"\`, c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return nof(`[BADURL "%s"] This part cannot be used`, b.String())
}

// resolveURL opens the message to which a URL refers, and finds the part. The
// caller must close src unless it is nil.
func (a *account) resolveURL(text string) (src *source, p *piece, off, size int64, err error) {
	u, err := parseURL(text, a.name)
	if err != nil {
		return nil, nil, 0, 0, err
	}
	folder, err := a.openURL(u)
	if err != nil {
		return nil, nil, 0, 0, err
	}
	defer folder.Close()
	snap, err := folder.Sync()
	if err != nil {
		return nil, nil, 0, 0, err
	}
	i, ok := snap.Find(u.uid)
	if !ok || u.validity != 0 && u.validity != snap.Validity {
		return nil, nil, 0, 0, maildrop.ErrNoMessage
	}
	if src, err = openMessage(folder, snap.Messages[i]); err != nil {
		return nil, nil, 0, 0, err
	}
	if p, err = src.section(&u.section); err == nil && p == nil {
		err = maildrop.ErrNoMessage
	}
	if err != nil {
		return src, nil, 0, 0, err
	}
	off, size = u.section.Cut(p.size)
	return src, p, off, size, nil
}

// openURL opens a URL's mailbox. Its name is in UTF-8 (RFC 5092, 8); the modified
// UTF-7 of older clients is accepted, too.
func (a *account) openURL(u messageURL) (*maildrop.Folder, error) {
	if name, err := a.names.stored(u.mailbox); err == nil {
		if f, err := a.box.Folder(name); err == nil {
			return f, nil
		}
	}
	return a.open(u.mailbox)
}
