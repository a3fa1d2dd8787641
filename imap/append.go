package imap

import (
	"errors"
	"fmt"
	"io"
	"time"

	"hoplite/imap/wire"
	"hoplite/maildrop"
)

// maxMulti is how many messages one APPEND may bring.
const maxMulti = 1000

// doAppend runs APPEND with one or more messages (RFC 9051, 6.3.12; RFC 3502).
func (s *session) doAppend() error {
	s.p.SP()
	wireName := s.p.AString()
	s.p.SP()
	up := s.beginUpload(wireName)
	defer up.discard()
	if err := up.receive(maxMulti); err != nil || s.p.Err() != nil {
		return err
	}
	msgs, snap, err := up.folder.Append(up.news...)
	if err != nil {
		return err
	}
	up.news = nil
	uids := make([]uint32, len(msgs))
	for i, m := range msgs {
		uids[i] = m.UID
	}
	return s.done("[APPENDUID %d %s] APPEND completed", snap.Validity, wire.AppendNumbers(nil, uids))
}

// doReplace runs REPLACE and UID REPLACE (RFC 8508).
func (s *session) doReplace(uid bool) error {
	s.p.SP()
	set := s.p.Set()
	s.p.SP()
	wireName := s.p.AString()
	s.p.SP()
	idx := s.messages(set, uid)
	up := s.beginUpload(wireName)
	defer up.discard()
	switch {
	case s.p.Err() != nil:
	case len(idx) != 1:
		up.err = nof("[NONEXISTENT] REPLACE needs one message that exists")
	case s.sel.readOnly:
		up.err = errReadOnly
	}
	if err := up.receive(1); err != nil || s.p.Err() != nil {
		return err
	}
	old := s.sel.view.Messages[idx[0]]
	m, snap, err := s.sel.folder.ReplaceWith(old.UID, up.folder, up.news[0])
	if err != nil {
		return err
	}
	up.news = nil
	s.untagged("OK [APPENDUID %d %d] stored", snap.Validity, m.UID)
	return s.done("REPLACE completed")
}

// upload is the messages that a client sends with one command. It keeps an
// error until everything that the client sends unasked has been read.
type upload struct {
	s      *session
	folder *maildrop.Folder
	news   []*maildrop.NewMessage
	err    error
}

func (s *session) beginUpload(wireName string) *upload {
	up := &upload{s: s}
	if s.p.Err() != nil {
		return up
	}
	name, err := s.mailbox(wireName)
	if err == nil {
		up.folder, err = s.box.Folder(name)
	}
	up.err = tryCreate(err)
	return up
}

// tryCreate says that the mailbox a message should go to could be made.
func tryCreate(err error) error {
	if errors.Is(err, maildrop.ErrNoFolder) {
		return nof("[TRYCREATE] no such mailbox")
	}
	return err
}

// discard gives back what was not stored.
func (up *upload) discard() {
	for _, n := range up.news {
		n.Discard()
	}
	if up.folder != nil {
		up.folder.Close()
	}
}

// receive reads the messages, most of them at most.
func (up *upload) receive(most int) error {
	s := up.s
	for {
		a := s.p.Append()
		if s.msg == nil {
			s.p.Fail("a message is missing")
		}
		flags, keywords := s.parseFlags(a.Flags)
		if s.p.End() != nil {
			return nil // refuse sees to a message that is on its way
		}
		if err := up.message(a, flags, keywords); err != nil {
			return err
		}
		if up.err != nil && s.msg.Sync {
			return up.err // nothing of it was asked for
		}
		if up.err == nil {
			s.conn.SetReadDeadline(time.Now().Add(writeTimeout))
		}
		rest, msg, err := s.r.More()
		if err != nil {
			return err
		}
		s.p, s.msg = wire.NewParser(rest), msg
		if a.UTF8 {
			s.p.Close()
		}
		if msg == nil && s.p.End() == nil {
			return up.err
		}
		if s.p.Err() != nil {
			return nil
		}
		s.p.SP()
		if len(up.news) >= most && up.err == nil {
			up.err = nof("[LIMIT] too many messages in one command")
		}
	}
}

// message reads one message into the folder. An error of ours goes to up.err;
// only the connection's is returned.
func (up *upload) message(a wire.Append, flags maildrop.Flags, keywords []string) error {
	s := up.s
	if s.msg.Size > int64(s.srv.cfg.AppendLimit) {
		if !s.msg.Sync {
			return wire.ErrTooLong
		}
		up.err = nof("[TOOBIG] messages may have %d octets", int64(s.srv.cfg.AppendLimit))
	}
	if s.msg.Size == 0 && up.err == nil {
		up.err = nof("an empty message is none")
	}
	if up.err != nil {
		if s.msg.Sync {
			return nil
		}
		_, err := io.Copy(io.Discard, s.incoming())
		return err
	}
	n, err := up.folder.NewMessage()
	if err != nil {
		up.err = err
	} else {
		n.Flags, n.Keywords, n.Date = flags, keywords, a.Date
		up.news = append(up.news, n)
	}
	if s.msg.Sync {
		if up.err != nil {
			return nil
		}
		if err := s.proceed("ready for the message"); err != nil {
			return err
		}
	}
	in := s.incoming()
	if up.err == nil {
		w := &sink{w: n}
		if _, err := io.Copy(w, in); err != nil && w.err == nil {
			return err
		}
		if w.err != nil {
			up.err = fmt.Errorf("store a message: %w", w.err)
		}
	}
	// Whatever failed here, the rest of the message is no command.
	if _, err := io.Copy(io.Discard, in); err != nil {
		return err
	}
	if up.err != nil && s.msg.Sync {
		s.msg = &wire.Literal{} // it was read: go on to the end of the command
	}
	return nil
}

// sink remembers an error of its writer, so that it can be told from one of
// the reader.
type sink struct {
	w   io.Writer
	err error
}

func (s *sink) Write(b []byte) (int, error) {
	n, err := s.w.Write(b)
	if err != nil {
		s.err = err
	}
	return n, err
}

// incoming reads the message that comes with the command.
func (s *session) incoming() io.Reader { return &patient{s, s.r.Message(s.msg)} }

// patient gives the client time as long as something comes.
type patient struct {
	s *session
	r io.Reader
}

func (p *patient) Read(b []byte) (int, error) {
	p.s.conn.SetReadDeadline(time.Now().Add(writeTimeout))
	return p.r.Read(b)
}
