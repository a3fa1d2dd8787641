package relay

import (
	"slices"
	"strings"

	"hoplite/mail"
	"hoplite/mail/alias"
	"hoplite/relay/wire"
)

// answer answers the verbs that ask about things.
func (s *Server) answer(c *wire.Conn, verb, arg string) (mail.Reply, bool) {
	switch verb {
	case "HELP":
		return s.help(c, arg), true
	case "ETRN":
		return s.etrn(arg)
	case "VRFY", "EXPN":
		if s.cfg.Verify != "local" || s.env.Addresses == nil {
			if verb == "EXPN" {
				return *mail.NewReply(550, "5.7.1", "lists are not shown"), true
			}
			return mail.Reply{}, false
		}
		if c.Login() == "" {
			if verb == "EXPN" {
				return *mail.NewReply(550, "5.7.1", "lists are shown to those who have logged in"), true
			}
			return mail.Reply{}, false
		}
		return s.look(verb, arg), true
	}
	return mail.Reply{}, false
}

// help lists the verbs in force.
func (s *Server) help(c *wire.Conn, arg string) mail.Reply {
	if strings.EqualFold(arg, "STATUS") {
		return *mail.NewReply(211, "2.0.0", "%s takes mail", s.env.Hostname)
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
	text := "Hoplite takes " + strings.Join(verbs, " ")
	if s.env.Postmaster != "" {
		text += "\nquestions go to " + s.env.Postmaster
	}
	text += "\nquote the id in our replies, and we find out what happened"
	return *mail.NewReply(214, "2.0.0", "%s", text)
}

// look answers VRFY and EXPN from accounts and aliases.
func (s *Server) look(verb, arg string) mail.Reply {
	addr := strings.Trim(arg, "<> ")
	if addr == "" {
		return *mail.NewReply(501, "5.5.4", "%s wants an address", verb)
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
	if r := s.elsewhere(addr); r != nil && len(here) == 0 {
		return *r
	}
	switch {
	case len(here) == 0 && !s.ours(addr):
		return *mail.NewReply(252, "2.5.0", "not one of ours; send mail, and it will be tried")
	case len(here) == 0:
		return *mail.NewReply(550, "5.1.1", "nobody of that name")
	case verb == "EXPN":
		return *mail.NewReply(250, "2.1.5", "%s", strings.Join(here[:min(len(here), 100)], "\n"))
	case len(here) == 1 && slices.ContainsFunc(res.Finals, func(f alias.Final) bool { return f.Account == "" }):
		return *mail.NewReply(251, "2.1.5", "will forward to %s", here[0])
	case len(here) == 1:
		return *mail.NewReply(250, "2.1.5", "%s", here[0])
	}
	return *mail.NewReply(250, "2.1.5", "a list, see EXPN")
}

// elsewhere is what a hop behind us is remembered to say of an address; nil
// where nobody remembers.
func (s *Server) elsewhere(addr string) *mail.Reply {
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
	return mail.NewReply(550, "5.1.1", "nobody of that name")
}

// ours tells whether we should know an address. A bare name is meant to be.
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
		return *mail.NewReply(501, "5.5.4", "ETRN wants a domain"), true
	}
	if p, _ := mail.ParsePatterns(s.cfg.Etrn); !p.MatchDomain(domain) {
		return *mail.NewReply(459, "4.7.1", "ETRN is not allowed for this domain"), true
	}
	n, err := s.env.Run(domain)
	switch {
	case err != nil:
		return *mail.NewReply(458, "4.3.0", "the queue could not be started"), true
	case n == 0:
		return *mail.NewReply(251, "2.0.0", "no messages wait for %s", domain), true
	}
	return *mail.NewReply(253, "2.0.0", "%d messages wait for %s and are tried now", n, domain), true
}
