package relay

import (
	"net/netip"
	"time"

	"github.com/emersion/go-smtp"

	"hoplite/filters"
	"hoplite/internal/quiet"
	"hoplite/mail"
	"hoplite/relay/wire"
)

// session is go-smtp's session for one client. The library calls it from a
// single goroutine: its own handling of BDAT, which would use another, is never
// reached.
type session struct {
	srv  *Server
	conn *wire.Conn

	name   reverseName
	run    *filters.Run
	judged identity // the client for which run was started
	tx     *transaction
}

// identity holds everything that the filters' connect stage depends on. When it
// changes, the stage runs again.
type identity struct {
	addr netip.AddrPort
	helo string
	user string
}

// sessionOf returns the connection's session. The library calls it whenever it
// begins to serve the connection.
func sessionOf(srv *Server, conn *wire.Conn) *session {
	if s, ok := conn.State.(*session); ok {
		return s
	}
	s := &session{srv: srv, conn: conn}
	s.name.find(srv.ctx, srv.env.DNS, conn.Ident(), &srv.log)
	conn.State = s
	return s
}

// Mail begins a transaction.
func (s *session) Mail(path string, o *smtp.MailOptions) error {
	from, err := mail.Address(""), error(nil)
	if path = wire.Path(path); path != "" {
		from, err = mail.ParseAddress(path)
	}
	t := s.begin(from, o)
	if err != nil {
		return s.refuse(t, mail.NewReply(553, "5.1.7", "Sender address rejected: %v", err), "listener", mail.StageMail)
	}
	if by, r := s.checkMail(t); r != nil {
		return s.refuse(t, r, by, mail.StageMail)
	}
	s.tx = t
	return s.reply(senderOK)
}

// Common replies to MAIL and RCPT.
var (
	senderOK    = mail.NewReply(250, "2.1.0", "Sender ok")
	recipientOK = mail.NewReply(250, "2.1.5", "Recipient ok")
)

// begin returns a transaction with the parameters of MAIL.
func (s *session) begin(from mail.Address, o *smtp.MailOptions) *transaction {
	t := &transaction{Transaction: mail.NewTransaction(s.client(), from), session: s}
	t.Hostname, t.out.t = s.srv.env.Hostname, t
	e := &t.Envelope
	m := s.conn.Mail()
	e.Size, e.Body, e.UTF8, e.RequireTLS = m.Size, string(o.Body), o.UTF8, o.RequireTLS
	if m.Binary {
		e.Body = string(smtp.BodyBinaryMIME)
	}
	e.Ret, e.EnvID = string(o.Return), o.EnvelopeID
	if o.Auth != nil {
		e.Auth = *o.Auth
	}
	if by := o.DeliverBy; by != nil {
		e.DeliverBy = &mail.DeliverBy{At: t.At.Add(by.Time), Return: by.Mode == smtp.DeliverByReturn, Trace: by.Trace}
	}
	if o.MTPriority != nil {
		e.Priority = *o.MTPriority
	}
	if !t.Client.MayRelay {
		e.Priority = min(e.Priority, 0) // only clients that may relay may raise the priority (RFC 6710, 4.1)
	}
	return t
}

// checkMail checks a reverse path, first against the listener's rules, then by
// the connect and mail stages of the filters.
func (s *session) checkMail(t *transaction) (by string, r *mail.Reply) {
	env := &s.srv.env
	switch {
	case s.srv.cfg.Auth == "required" && t.Client.User == "":
		return "listener", mail.NewReply(530, "5.7.0", "Authentication required")
	case t.Envelope.From.NeedsUTF8() && !t.Envelope.UTF8:
		return "listener", mail.NewReply(553, "5.6.7", "Sender address requires SMTPUTF8")
	case env.Spool.Room(t.Envelope.Size) != nil:
		return "spool", mail.NewReply(452, "4.3.1", "Insufficient system storage")
	}
	if r := s.srv.senders.check(t.Client.User, t.Envelope.From, time.Now()); r != nil {
		return "senders", r
	}
	if who := (identity{t.Client.Addr, t.Client.Helo, t.Client.User}); s.run == nil || who != s.judged {
		s.run, s.judged = env.Chain.start(), who
		s.srv.countClient(&t.Client)
		first := *t.Transaction
		first.Trail = &mail.Trail{}
		if d := s.run.Connect(s.srv.ctx, &first); d.Reply != nil {
			s.run = nil
			t.Trail.Events = append(t.Trail.Events, first.Trail.Events...)
			return d.By, d.Reply
		}
	}
	t.run = s.run
	d := t.run.Mail(s.srv.ctx, t.Transaction)
	t.discard = d.Discard
	return d.By, d.Reply
}

// start returns the chain's filters, ready for one client.
func (c *Chain) start() *filters.Run {
	if c.Filters == nil {
		return (&filters.Chain{}).Start()
	}
	return c.Filters.Start()
}

// refuse ends a transaction with a refusal.
func (s *session) refuse(t *transaction, r *mail.Reply, by string, stage mail.Stage) error {
	if len(t.Trail.Events) == 0 || t.Trail.Events[len(t.Trail.Events)-1].Reply != r {
		t.Trail.Add(mail.Event{Stage: stage, By: by, Verdict: verdictOf(r), Reply: r})
	}
	c := t.withID(r)
	t.finish(verdictWord(r), c)
	s.tx = nil
	return s.reply(&c)
}

// reply answers the current command. Every reply after MAIL carries the id of
// the transaction.
func (s *session) reply(r *mail.Reply) error {
	if s.tx != nil {
		s.conn.Answer(s.tx.withID(r))
	} else {
		s.conn.Answer(*r)
	}
	if r.Positive() {
		return nil
	}
	return &smtp.SMTPError{Code: r.Code, EnhancedCode: smtp.EnhancedCode{r.Code / 100, 0, 0}, Message: "refused"}
}

// Reset aborts the transaction, if there is one.
func (s *session) Reset() {
	if s.tx != nil {
		s.tx.abort(s.conn.Abandoned())
		s.tx = nil
	}
}

// Logout is called when the library stops serving the connection, outside its
// recovery from panics.
func (s *session) Logout() error {
	defer func() {
		if p := recover(); p != nil {
			quiet.Panic(s.srv.log.Error(), p).Msg("session ended by a panic")
		}
	}()
	s.Reset()
	return nil
}

func verdictOf(r *mail.Reply) string {
	if r.Permanent() {
		return string(filters.Reject)
	}
	return string(filters.Defer)
}

func verdictWord(r *mail.Reply) string {
	if r.Permanent() {
		return "refused"
	}
	return "deferred"
}
