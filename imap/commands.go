package imap

import (
	"fmt"
	"strings"

	"hoplite/internal/users/login"
)

// command is an entry of the command table.
type command struct {
	state   int
	message bool // it may bring a message
	run     func(*session) error
}

// commands are all that we understand. It is filled by init, since some of
// them refer to others.
var commands map[string]command

func init() {
	commands = map[string]command{
		"CAPABILITY": {anyState, false, (*session).doCapability},
		"NOOP":       {anyState, false, (*session).doNoop},
		"LOGOUT":     {anyState, false, (*session).doLogout},
		"ID":         {anyState, false, (*session).doID},

		"STARTTLS":     {stranger, false, (*session).doStartTLS},
		"AUTHENTICATE": {stranger, false, (*session).doAuthenticate},
		"LOGIN":        {stranger, false, (*session).doLogin},

		"ENABLE":       {member, false, (*session).doEnable},
		"SELECT":       {member, false, (*session).doSelect},
		"EXAMINE":      {member, false, (*session).doExamine},
		"CREATE":       {member, false, (*session).doCreate},
		"DELETE":       {member, false, (*session).doDelete},
		"RENAME":       {member, false, (*session).doRename},
		"SUBSCRIBE":    {member, false, (*session).doSubscribe},
		"UNSUBSCRIBE":  {member, false, (*session).doUnsubscribe},
		"LIST":         {member, false, (*session).doList},
		"LSUB":         {member, false, (*session).doLsub},
		"NAMESPACE":    {member, false, (*session).doNamespace},
		"STATUS":       {member, false, (*session).doStatus},
		"APPEND":       {member, true, (*session).doAppend},
		"IDLE":         {member, false, (*session).doIdle},
		"GETQUOTA":     {member, false, (*session).doGetQuota},
		"GETQUOTAROOT": {member, false, (*session).doGetQuotaRoot},

		"CHECK":    {inFolder, false, (*session).doCheck},
		"CLOSE":    {inFolder, false, (*session).doClose},
		"UNSELECT": {inFolder, false, (*session).doUnselect},
		"EXPUNGE":  {inFolder, false, (*session).doExpunge},
		"SEARCH":   {inFolder, false, func(s *session) error { return s.doSearch(false) }},
		"SORT":     {inFolder, false, func(s *session) error { return s.doSort(false) }},
		"THREAD":   {inFolder, false, func(s *session) error { return s.doThread(false) }},
		"FETCH":    {inFolder, false, func(s *session) error { return s.doFetch(false) }},
		"STORE":    {inFolder, false, func(s *session) error { return s.doStore(false) }},
		"COPY":     {inFolder, false, func(s *session) error { return s.doCopy(false, false) }},
		"MOVE":     {inFolder, false, func(s *session) error { return s.doCopy(false, true) }},
		"REPLACE":  {inFolder, true, func(s *session) error { return s.doReplace(false) }},
		"UID":      {inFolder, true, (*session).doUID},
	}
}

// offered are the capabilities of a session that has logged in.
const offered = "CHILDREN NAMESPACE UNSELECT UIDPLUS MULTIAPPEND IDLE MOVE CONDSTORE QRESYNC ESEARCH SEARCHRES " +
	"SORT SORT=DISPLAY ESORT THREAD=ORDEREDSUBJECT THREAD=REFERENCES THREAD=REFS WITHIN " +
	"LIST-EXTENDED LIST-STATUS SPECIAL-USE CREATE-SPECIAL-USE STATUS=SIZE BINARY PREVIEW SAVEDATE OBJECTID " +
	"QUOTA QUOTA=RES-STORAGE QUOTA=RES-MESSAGE UTF8=ACCEPT REPLACE"

// doUID runs the UID form of a command.
func (s *session) doUID() error {
	s.p.SP()
	name := s.p.Command()
	if s.msg != nil && name != "REPLACE" {
		s.p.Fail("no message expected here")
		return nil
	}
	switch name {
	case "SEARCH":
		return s.doSearch(true)
	case "SORT":
		return s.doSort(true)
	case "THREAD":
		return s.doThread(true)
	case "FETCH":
		return s.doFetch(true)
	case "STORE":
		return s.doStore(true)
	case "COPY":
		return s.doCopy(true, false)
	case "MOVE":
		return s.doCopy(true, true)
	case "EXPUNGE":
		return s.doUIDExpunge()
	case "REPLACE":
		return s.doReplace(true)
	}
	s.p.Fail("unknown UID command")
	return nil
}

// end demands the end of the command; the caller returns nil on false, since
// the parser's mistake is the answer.
func (s *session) end() bool { return s.p.End() == nil }

func (s *session) doCapability() error {
	if s.end() {
		s.untagged("CAPABILITY %s", s.capabilities())
		return s.done("CAPABILITY completed")
	}
	return nil
}

func (s *session) doNoop() error {
	if s.end() {
		return s.done("NOOP completed")
	}
	return nil
}

func (s *session) doCheck() error {
	if s.end() {
		return s.done("CHECK completed")
	}
	return nil
}

func (s *session) doLogout() error {
	if s.end() {
		s.untagged("BYE see you")
		s.tagged("OK LOGOUT completed")
		s.bye = true
	}
	return nil
}

func (s *session) doID() error {
	s.p.SP()
	params := s.p.ID()
	if !s.end() {
		return nil
	}
	ev := s.log.Debug()
	for _, p := range params {
		ev = ev.Str("client_"+strings.ToLower(p[0]), p[1])
	}
	ev.Msg("imap client")
	if s.account == nil {
		s.untagged(`ID ("name" "Hoplite")`)
	} else {
		s.untagged(`ID ("name" "Hoplite" "version" %q)`, s.srv.env.Version)
	}
	return s.done("ID completed")
}

// capabilities lists what may be used at this point of the session.
func (s *session) capabilities() string {
	var b strings.Builder
	b.WriteString("IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ID ENABLE")
	if s.account == nil {
		if s.conn.CanTLS() {
			b.WriteString(" STARTTLS")
		}
		if !s.mayLogin() {
			b.WriteString(" LOGINDISABLED")
		}
		for _, m := range s.srv.env.Gate.Mechanisms(login.From(s.conn), s.cleartext()) {
			b.WriteString(" AUTH=" + m)
		}
		return b.String()
	}
	fmt.Fprintf(&b, " %s APPENDLIMIT=%d", offered, int64(s.srv.cfg.AppendLimit))
	return b.String()
}

func (s *session) doEnable() error {
	s.p.SP()
	words := s.p.Words()
	if !s.end() {
		return nil
	}
	var on []string
	for _, w := range words {
		switch w {
		case "CONDSTORE":
			s.enableCondstore()
		case "QRESYNC":
			s.qresync = true
			s.enableCondstore()
		case "UTF8=ACCEPT":
			s.utf8 = true
		case "IMAP4REV2":
			s.rev2, w = true, "IMAP4rev2"
		default:
			continue
		}
		on = append(on, " "+w)
	}
	s.untagged("ENABLED%s", strings.Join(on, ""))
	return s.done("ENABLE completed")
}
