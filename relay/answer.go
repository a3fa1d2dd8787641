package relay

import (
	"errors"
	"slices"
	"strings"

	"hoplite/mail"
	"hoplite/mail/alias"
	"hoplite/relay/wire"
)

// answer answers HELP, VRFY, EXPN and ETRN.
func (s *Server) answer(c *wire.Conn, verb, arg string) (mail.Reply, bool) {
	switch verb {
	case "HELP":
		return s.help(c, arg), true
	case "ETRN":
		return s.etrn(arg)
	case "VRFY", "EXPN":
		if s.cfg.Verify != "local" || s.env.Addresses == nil {
			if verb == "EXPN" {
				return *mail.NewReply(550, "5.7.1", "EXPN is not permitted"), true
			}
			return mail.Reply{}, false
		}
		if c.Login() == "" {
			if verb == "EXPN" {
				return *mail.NewReply(550, "5.7.1", "EXPN requires authentication"), true
			}
			return mail.Reply{}, false
		}
		return s.verify(verb, arg), true
	}
	return mail.Reply{}, false
}

// help lists the commands that the connection may use.
func (s *Server) help(c *wire.Conn, arg string) mail.Reply {
	if strings.EqualFold(arg, "STATUS") {
		return *mail.NewReply(211, "2.0.0", "%s is ready", s.env.Hostname)
	}
	hello := "HELO EHLO"
	if s.lmtp {
		hello = "LHLO"
	}
	verbs := []string{hello, "MAIL RCPT DATA"}
	o := s.offer(c)
	if o.Chunking {
		verbs = append(verbs, "BDAT")
	}
	verbs = append(verbs, "RSET NOOP VRFY HELP QUIT")
	if c.Socket().CanTLS() {
		verbs = append(verbs, "STARTTLS")
	}
	if len(o.Auth) > 0 {
		verbs = append(verbs, "AUTH")
	}
	if o.Expand {
		verbs = append(verbs, "EXPN")
	}
	if o.Etrn {
		verbs = append(verbs, "ETRN")
	}
	text := "Commands: " + strings.Join(verbs, " ")
	if s.env.Postmaster != "" {
		text += "\nSend questions to " + s.env.Postmaster
	}
	text += "\nQuote the id from our replies in questions about a message"
	return *mail.NewReply(214, "2.0.0", "%s", text)
}

// verify answers VRFY and EXPN from accounts, aliases and the known recipients
// of upstreams.
func (s *Server) verify(verb, arg string) mail.Reply {
	addr := strings.Trim(arg, "<> ")
	if addr == "" {
		return *mail.NewReply(501, "5.5.4", "Syntax: %s address", verb)
	}
	res, err := s.env.Addresses.Resolve(addr)
	var here []string
	if err == nil {
		for _, f := range res.Finals {
			if f.Account != "" || len(res.Path) > 0 {
				here = append(here, "<"+f.Address+">")
			}
		}
	}
	if r := s.remembered(addr); r != nil && len(here) == 0 {
		return *r
	}
	switch {
	case len(here) == 0 && (!s.ours(addr) || errors.Is(err, alias.ErrMistake)):
		return *mail.NewReply(252, "2.5.0", "Cannot VRFY user, but will accept message and attempt delivery")
	case len(here) == 0:
		return *mail.NewReply(550, "5.1.1", "No such user")
	case verb == "EXPN":
		return *mail.NewReply(250, "2.1.5", "%s", strings.Join(here[:min(len(here), 100)], "\n"))
	case len(here) == 1 && slices.ContainsFunc(res.Finals, func(f alias.Final) bool { return f.Account == "" }):
		return *mail.NewReply(251, "2.1.5", "User not local; will forward to %s", here[0])
	case len(here) == 1:
		return *mail.NewReply(250, "2.1.5", "%s", here[0])
	}
	return *mail.NewReply(250, "2.1.5", "Mailing list; use EXPN")
}

// remembered returns the reply for an address that an upstream has already
// accepted or refused, or nil.
func (s *Server) remembered(addr string) *mail.Reply {
	a, err := mail.ParseAddress(addr)
	if err != nil || s.env.Verify == nil {
		return nil
	}
	switch exists, known := s.env.Verify(a); {
	case !known:
		return nil
	case exists:
		return mail.NewReply(250, "2.1.5", "<%s>", a)
	}
	return mail.NewReply(550, "5.1.1", "No such user")
}

// ours reports whether an address is local: in one of our domains, or without a
// domain.
func (s *Server) ours(addr string) bool {
	_, domain, ok := strings.Cut(addr, "@")
	return !ok || s.env.Addresses.Ours(domain)
}

// etrn starts the queue for a domain (RFC 1985).
func (s *Server) etrn(arg string) (mail.Reply, bool) {
	if s.env.Run == nil || len(s.cfg.Etrn) == 0 {
		return mail.Reply{}, false
	}
	domain, err := mail.ParseDomain(strings.TrimLeft(arg, "@#"))
	if err != nil {
		return *mail.NewReply(501, "5.5.4", "Syntax: ETRN domain"), true
	}
	if p, _ := mail.ParsePatterns(s.cfg.Etrn); !p.MatchDomain(domain) {
		return *mail.NewReply(459, "4.7.1", "ETRN is not permitted for this domain"), true
	}
	n, err := s.env.Run(domain)
	switch {
	case err != nil:
		return *mail.NewReply(458, "4.3.0", "Unable to queue messages for this domain"), true
	case n == 0:
		return *mail.NewReply(251, "2.0.0", "No messages waiting for %s", domain), true
	}
	return *mail.NewReply(253, "2.0.0", "%d pending messages for %s started", n, domain), true
}
