package imap

import "hoplite/maildrop"

// quotaRoot is the name of the one root that every mailbox of a box is under.
const quotaRoot = `"account"`

func (s *session) doGetQuota() error {
	s.p.SP()
	root := s.p.AString()
	if !s.end() {
		return nil
	}
	if root != "account" {
		return nof("[NONEXISTENT] no such quota root")
	}
	q, err := s.box.Quota()
	if err != nil {
		return err
	}
	s.quota(q)
	return s.done("GETQUOTA completed")
}

func (s *session) doGetQuotaRoot() error {
	name, ok, err := s.oneName()
	if !ok {
		return err
	}
	if _, err := s.box.Status(name); err != nil {
		return err
	}
	q, err := s.box.Quota()
	if err != nil {
		return err
	}
	s.untagged("QUOTAROOT %s %s", s.mailboxName(name), quotaRoot)
	s.quota(q)
	return s.done("GETQUOTAROOT completed")
}

// quota sends use and limits (RFC 9208, 5.1); STORAGE counts in KiB.
func (s *session) quota(q maildrop.Quota) {
	b := append(s.w.Room(256), "* QUOTA "+quotaRoot+" ("...)
	n := len(b)
	if q.SizeLimit > 0 {
		b = appendInt(append(b, "STORAGE "...), (q.Size+1023)/1024)
		b = appendInt(append(b, ' '), (q.SizeLimit+1023)/1024)
	}
	if q.MessagesLimit > 0 {
		if len(b) > n {
			b = append(b, ' ')
		}
		b = appendInt(append(b, "MESSAGE "...), q.Messages)
		b = appendInt(append(b, ' '), q.MessagesLimit)
	}
	s.w.Took(append(b, ")\r\n"...))
}
