package milter

import (
	"context"
	"encoding/binary"
	"io"
	"strings"

	"hoplite/filters"
	"hoplite/mail"
)

// greeting is the client information that a milter receives before the client's
// first message.
type greeting struct {
	connect, helo []string // macros
	name          string
	family        []byte
	hello         string
	key           string // the whole greeting, to compare clients
}

func greetingOf(tx *mail.Transaction) *greeting {
	c := &tx.Client
	tls := c.TLS
	if tls == nil {
		tls = &mail.TLS{}
	}
	ip := c.Addr.Addr().Unmap()
	name := c.Name
	if name == "" && ip.IsValid() {
		name = "[" + ip.String() + "]"
	}
	g := &greeting{
		connect: []string{"j", tx.Hostname, "v", "hoplite", "{daemon_name}", c.Listener, "_", name, "{client_addr}", ip.String(), "{client_name}", name},
		helo:    []string{"{tls_version}", tls.Version, "{cipher}", tls.Cipher},
		name:    name, family: family(c), hello: c.Helo,
	}
	g.key = strings.Join(append(append(g.connect, g.helo...), string(g.family), g.hello), "\x00")
	return g
}

// begin passes the reverse path to the milter, preceded by the client
// information if the milter does not know it yet.
func (s *session) begin(ctx context.Context, g *greeting, tx *mail.Transaction) (answer, error) {
	s.rcpts, s.done, s.last = 0, false, filters.Verdict{}
	if s.client == "" {
		if a, err := s.greet(ctx, g); err != nil || a.final {
			s.spent = true // the reply applies to the connection
			return a, err
		}
	}
	s.begun = true
	c := &tx.Client
	auth := ""
	if c.User != "" {
		auth = "PLAIN"
	}
	if err := s.macros(cmdMail, "i", tx.ID, "{auth_authen}", c.User, "{auth_type}", auth, "{mail_addr}", string(tx.Envelope.From), "{mail_mailer}", "smtp"); err != nil {
		return answer{}, err
	}
	return s.step(ctx, "command", noMail, nrMail, cmdMail, text("<"+string(tx.Envelope.From)+">"))
}

// greet passes the client's address and HELO name.
func (s *session) greet(ctx context.Context, g *greeting) (answer, error) {
	s.client = g.key
	if err := s.macros(cmdConnect, g.connect...); err != nil {
		return answer{}, err
	}
	if a, err := s.step(ctx, "connect", noConnect, nrConnect, cmdConnect, text(g.name), g.family); err != nil || a.final {
		return a, err
	}
	if err := s.macros(cmdHelo, g.helo...); err != nil {
		return answer{}, err
	}
	return s.step(ctx, "command", noHelo, nrHelo, cmdHelo, text(g.hello))
}

// family returns a client's address as encoded in the connect command.
func family(c *mail.Client) []byte {
	ip := c.Addr.Addr().Unmap()
	kind := byte('4')
	switch {
	case !ip.IsValid():
		return []byte{'U'}
	case ip.Is6():
		kind = '6'
	}
	b := binary.BigEndian.AppendUint16([]byte{kind}, c.Addr.Port())
	return append(b, text(ip.String())...)
}

// rcpt passes one recipient.
func (s *session) rcpt(ctx context.Context, r *mail.Rcpt) (answer, error) {
	if err := s.macros(cmdRcpt, "{rcpt_addr}", string(r.To), "{rcpt_mailer}", "smtp"); err != nil {
		return answer{}, err
	}
	s.rcpts++
	a, err := s.step(ctx, "command", noRcpt, nrRcpt, cmdRcpt, text("<"+string(r.To)+">"))
	if a.verdict.Action == filters.Reject || a.verdict.Action == filters.Defer {
		s.done = false // the reply applies only to this recipient
		s.rcpts--
	}
	return a, err
}

// message sends the header and body and reads the verdict and the changes.
func (s *session) message(ctx context.Context, tx *mail.Transaction, m *mail.Message, ch *changes) (answer, error) {
	if err := s.macros(cmdData, "i", tx.ID); err != nil {
		return answer{}, err
	}
	if a, err := s.step(ctx, "command", noData, nrData, cmdData); err != nil || a.final {
		return a, err
	}
	for _, f := range ch.fields {
		if a, err := s.step(ctx, "header", noHeaders, nrHeader, cmdHeader, text(f.Name), s.value(f)); err != nil || a.final {
			return a, err
		} else if a.skip {
			break
		}
	}
	if a, err := s.step(ctx, "header", noEOH, nrEOH, cmdEOH); err != nil || a.final {
		return a, err
	}
	if a, err := s.body(ctx, m); err != nil || a.final {
		return a, err
	}
	if s.done {
		return answer{}, nil
	}
	if err := s.macros(cmdEOM, "i", tx.ID); err != nil {
		return answer{}, err
	}
	defer s.bound(ctx, "data")()
	if err := s.send(cmdEOM); err != nil {
		return answer{}, err
	}
	a, err := s.readReply(ch)
	s.begun = err != nil
	return a, err
}

// value returns a field's text in the form that milters expect: lines end in
// LF, and the leading space, which a signature may cover, is kept only if that
// was negotiated.
func (s *session) value(f mail.Field) []byte {
	v := strings.ReplaceAll(string(f.Value()), "\r\n", "\n")
	if s.flags&leadSpace == 0 {
		v = strings.TrimPrefix(v, " ")
	}
	return text(v)
}

func (s *session) body(ctx context.Context, m *mail.Message) (answer, error) {
	if s.flags&noBody != 0 {
		return answer{}, nil
	}
	buf := make([]byte, maxChunk)
	for r := m.Body(); ; {
		n, err := io.ReadFull(r, buf)
		if n > 0 {
			if a, err := s.step(ctx, "data", noBody, nrBody, cmdBody, buf[:n]); err != nil || a.final || a.skip {
				return a, err
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return answer{}, nil
		}
		if err != nil {
			return answer{}, err
		}
	}
}
