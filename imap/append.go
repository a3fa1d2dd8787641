package imap

import (
	"fmt"
	"io"
	"time"

	"hoplite/imap/wire"
	"hoplite/maildrop"
)

// maxMulti is the maximum number of messages in one APPEND.
const maxMulti = 1000

// handleAppend runs APPEND with one or more messages (RFC 9051, 6.3.12;
// RFC 3502).
func handleAppend(a *account, c *call) error {
	c.args.SP()
	wireName := c.args.AString()
	c.args.SP()
	limit := 1
	if a.session.srv.dialect.has("MULTIAPPEND") {
		limit = maxMulti
	}
	up := beginUpload(a, c, wireName)
	defer up.discard()
	if err := up.receive(limit); err != nil {
		return err
	}
	msgs, snap, err := up.folder.Append(up.messages...)
	if err != nil {
		return err
	}
	up.messages = nil
	uids := make([]uint32, len(msgs))
	for i, m := range msgs {
		uids[i] = m.UID
	}
	c.setCode("APPENDUID %d %s", snap.Validity, wire.AppendNumbers(nil, uids))
	return nil
}

// handleReplace runs REPLACE and UID REPLACE (RFC 8508).
func handleReplace(m *mailbox, c *call) error {
	c.args.SP()
	set := c.args.Set()
	c.args.SP()
	wireName := c.args.AString()
	c.args.SP()
	if err := c.args.Err(); err != nil {
		return err
	}
	idx, err := m.view.resolve(set, c.uid)
	if err != nil {
		return err
	}
	up := beginUpload(m.account, c, wireName)
	defer up.discard()
	switch {
	case len(idx) != 1:
		up.err = nof("[NONEXISTENT] REPLACE needs one message that exists")
	case m.readOnly:
		up.err = errReadOnly
	}
	if err := up.receive(1); err != nil {
		return err
	}
	old := m.view.Messages[idx[0]]
	msg, snap, err := m.folder.ReplaceWith(old.UID, up.folder, up.messages[0])
	if err != nil {
		return err
	}
	up.messages = nil
	c.out.untagged("OK [APPENDUID %d %d] Replacement stored", snap.Validity, msg.UID)
	return nil
}

// upload receives the messages sent with one command. An error that concerns
// only the messages is kept in err until all input that the client sends
// without waiting has been read.
type upload struct {
	call     *call
	folder   *maildrop.Folder
	messages []*maildrop.NewMessage
	limit    int64 // maximum size of a message
	err      error
}

func beginUpload(a *account, c *call, wireName string) *upload {
	up := &upload{call: c, limit: int64(a.session.srv.cfg.AppendLimit)}
	if c.args.Err() == nil {
		up.folder, up.err = a.open(wireName)
		up.err = tryCreate(up.err)
	}
	return up
}

// discard deletes the messages that have not been stored.
func (up *upload) discard() {
	for _, m := range up.messages {
		m.Discard()
	}
	if up.folder != nil {
		up.folder.Close()
	}
}

// receive reads up to limit messages.
func (up *upload) receive(limit int) error {
	c := up.call
	for {
		a := c.args.Append()
		flags, keywords, err := parseFlags(a.Flags)
		if err != nil && c.args.Err() == nil {
			return err
		}
		if err := up.one(&a, flags, keywords); err != nil {
			return err
		}
		if c.message == nil && c.args.Done() {
			return up.err
		}
		c.args.SP()
		if err := c.args.Err(); err != nil {
			return err
		}
		if len(up.messages) >= limit && up.err == nil {
			up.err = nof("[LIMIT] Too many messages in one command")
		}
	}
}

// one reads one message into the folder: a literal, or parts.
func (up *upload) one(a *wire.Append, flags maildrop.Flags, keywords []string) error {
	c := up.call
	if a.Parts {
		if err := c.args.Err(); err != nil {
			return err
		}
		return up.catenate(up.begin(a.Date, flags, keywords))
	}
	if c.message == nil {
		c.args.Fail("Missing message")
	}
	// If the message is already being sent, it is read when the error is
	// reported.
	if err := c.args.End(); err != nil {
		return err
	}
	if c.message.Size == 0 && up.err == nil {
		up.err = errEmpty
	}
	if up.err == nil && c.message.Size > up.limit {
		up.err = up.tooBig()
	}
	if err := up.literal(up.begin(a.Date, flags, keywords), a.UTF8); err != nil {
		return err
	}
	return c.args.Err()
}

const errEmpty = no("Message is empty")

func (up *upload) tooBig() error {
	return nof("[TOOBIG] Message exceeds the limit of %d octets", up.limit)
}

// begin creates a message in the folder. It returns nil if an error has
// occurred.
func (up *upload) begin(date time.Time, flags maildrop.Flags, keywords []string) *maildrop.NewMessage {
	if up.err != nil {
		return nil
	}
	n, err := up.folder.NewMessage()
	if up.err = err; err != nil {
		return nil
	}
	n.Flags, n.Keywords, n.Date = flags, keywords, date
	up.messages = append(up.messages, n)
	return n
}

// literal reads a literal into a message, and then the arguments that follow
// it. It returns errors after which the command cannot continue; other errors
// are stored in up.err.
func (up *upload) literal(n *maildrop.NewMessage, wrapped bool) error {
	c := up.call
	if err := up.copyLiteral(n); err != nil {
		return err
	}
	if up.err != nil && c.message.Sync {
		return up.err // the client was not asked to send it
	}
	if err := c.more(); err != nil {
		return err
	}
	if wrapped {
		c.args.Close()
	}
	return nil
}

// copyLiteral reads a literal into a message.
func (up *upload) copyLiteral(n *maildrop.NewMessage) error {
	msg := up.call.message
	if msg.Size > up.limit && !msg.Sync {
		return wire.ErrTooLong
	}
	if msg.Sync {
		if up.err != nil {
			return nil
		}
		if err := up.call.out.proceed("Ready for message"); err != nil {
			return err
		}
	}
	in := up.call.body()
	if up.err == nil {
		w := &errorWriter{w: n}
		if _, err := io.Copy(w, in); err != nil && w.err == nil {
			return err
		}
		if w.err != nil {
			up.err = fmt.Errorf("store a message: %w", w.err)
		}
	}
	// Whatever failed, the rest of the message must not be executed as
	// commands.
	if _, err := io.Copy(io.Discard, in); err != nil {
		return err
	}
	if up.err != nil && msg.Sync {
		up.call.message = &wire.Literal{} // already read; read what follows
	}
	return nil
}

// errorWriter records its writer's error, so that it can be told apart from a
// read error after a copy.
type errorWriter struct {
	w   io.Writer
	err error
}

func (w *errorWriter) Write(b []byte) (int, error) {
	n, err := w.w.Write(b)
	if err != nil {
		w.err = err
	}
	return n, err
}
