package maildrop

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"hoplite/maildrop/maildir"
)

// Transferred holds the counts of an import or export.
type Transferred struct {
	Folders, Messages int
	// Known is the number of messages already copied by an earlier run.
	Known int
}

// importBatch is the maximum number of messages that an import stores together.
const importBatch = 50

// ImportMbox adds the messages of an mbox file to a folder, which is created if
// necessary. If repeated, it adds only missing messages, which it recognizes by
// file names derived from the messages. progress is called with the number of
// octets read.
func ImportMbox(ctx context.Context, b *Box, folder string, r io.Reader, progress func(offset int64)) (done Transferred, err error) {
	if err := b.Create(folder, ""); err != nil && !errors.Is(err, ErrExists) {
		return done, err
	}
	f, err := b.Folder(folder)
	if err != nil {
		return done, err
	}
	defer f.Close()
	s, err := f.Sync()
	if err != nil {
		return done, err
	}
	known := map[string]bool{}
	for _, m := range s.Messages {
		name, _, _ := strings.Cut(m.Base(), ",")
		known[name] = true
	}
	done.Folders = 1
	in := newMboxReader(r)
	var batch []*NewMessage
	defer func() {
		for _, n := range batch {
			n.Discard()
		}
	}()
	for {
		msg, err := in.next()
		if err == nil {
			err = ctx.Err()
		}
		if err != nil && err != io.EOF {
			return done, fmt.Errorf("read mbox: %w", err)
		}
		if err == nil {
			name := msg.name()
			if known[name] {
				done.Known++
			} else {
				known[name] = true
				n, err := msg.into(f, name)
				if err != nil {
					return done, err
				}
				batch = append(batch, n)
			}
		}
		if len(batch) == importBatch || err == io.EOF && len(batch) > 0 {
			if _, _, err := f.Append(batch...); err != nil {
				return done, err
			}
			done.Messages += len(batch)
			batch = nil
		}
		progress(in.offset)
		if err == io.EOF {
			return done, nil
		}
	}
}

// name returns the base name for a message from an mbox file. It is the same in
// every run.
func (msg *mboxMessage) name() string {
	sum := sha256.Sum256(msg.text)
	return fmt.Sprintf("%d.M%dH%x.mbox", msg.date.Unix(), msg.offset, sum[:8])
}

// into creates a new message in a folder with the text, flags and date of msg.
func (msg *mboxMessage) into(f *Folder, name string) (*NewMessage, error) {
	n, err := f.NewMessage()
	if err != nil {
		return nil, err
	}
	n.as, n.Date, n.Flags = name, msg.date, msg.flags
	n.Keywords = slices.DeleteFunc(msg.keywords, func(k string) bool { return !maildir.ValidKeyword(k) })
	if _, err := n.Write(msg.text); err != nil {
		n.Discard()
		return nil, err
	}
	return n, nil
}
