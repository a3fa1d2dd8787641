package received

import "strings"

// server is a mail server that can be recognised by a comment or by its with
// clause.
type server struct {
	mark  string // lower case
	name  string
	names names
}

// servers lists the comment prefixes that identify the software. The order
// matters only if one mark is a prefix of another.
var servers = []server{
	{"postfix", "Postfix", byForm},
	{"exim", "Exim", lookedUp},
	{"opensmtpd", "OpenSMTPD", byForm},
	{"sendmail", "Sendmail", byForm},
	{"stalwart", "Stalwart", byForm},
	{"hoplite", "Hoplite", byForm},
	{"haraka", "Haraka", byForm},
	{"amavisd", "amavis", byForm},
	{"amavis", "amavis", byForm},
	{"microsoft exchange", internetMail, byForm},
	{"internet mail service", internetMail, heloOut},
	{"google transport", "Gmail", byForm},
	{"communigate", "CommuniGate Pro", byForm},
	{"powermta", "PowerMTA", byForm},
	{"ecelerity", "Ecelerity", byForm},
	{"momentum", "Momentum", byForm},
	{"mdaemon", "MDaemon", byForm},
	{"lotus domino", "Domino", byForm},
	{"hcl domino", "Domino", byForm},
	{"ibm domino", "Domino", byForm},
	{"dovecot", "Dovecot", byForm},
	{"cyrus", "Cyrus", byForm},
	{"zimbra", "Zimbra", byForm},
	{"fetchmail", "fetchmail", heloOut},
	{"getmail", "getmail", heloOut},
	{"mpop", "mpop", heloOut},
	{"intermail", "InterMail", heloOut},
	{"merak", "Merak", heloOut},
	{"icewarp", "IceWarp", heloOut},
	{"iplanet", "iPlanet", byForm},
	{"sun java", "Sun Java Messaging", byForm},
	{"sun internet", "Sun Internet Mail", byForm},
	{"oracle communications", "Oracle Messaging", byForm},
	{"qmail-ldap", "qmail-ldap", lookedUp},
	{"qmail", "qmail", lookedUp},
	{"magicmail", "MagicMail", lookedUp},
	{"xmail", "XMail", heloOut},
	{"rockliffe", "Rockliffe", byForm},
	{"mailsite", "MailSite", byForm},
	{"smtpd32", "IMail", byForm},
	{"imail", "IMail", byForm},
	{"mailenable", "MailEnable", heloOut},
	{"argosoft", "ArGoSoft", byForm},
	{"post.office", "Post.Office", byForm},
	{"lsmtp", "LSMTP", byForm},
	{"listserv", "LISTSERV", byForm},
	{"messagewall", "MessageWall", byForm},
	{"scalix", "Scalix", heloOut},
	{"pmdf", "PMDF", byForm},
	{"smap", "smap", lookedUp},
	{"smail", "Smail", byForm},
	{"mercury", "Mercury", byForm},
	{"interscan", "InterScan", byForm},
	{"navgw", "Norton Gateway", byForm},
	{"f-secure", "F-Secure", byForm},
	{"clearswift", "Clearswift", byForm},
	{"content technologies", "MAILsweeper", byForm},
	{"tumbleweed", "Tumbleweed", byForm},
	{"nemesis", "Nemesis", byForm},
	{"jetsend", "Jetsend", byForm},
	{"bulk_mailer", "bulk_mailer", byForm},
	{"visnetic", "VisNetic", byForm},
	{"netscape", "Netscape", byForm},
	{"kerio", "Kerio Connect", byForm},
	{"maddy", "maddy", byForm},
	{"chasquid", "chasquid", byForm},
	{"openwave", "Openwave", byForm},
	{"halon", "Halon", byForm},
	{"apache james", "Apache James", byForm},
	{"james", "Apache James", byForm},
	{"squirrelmail", "SquirrelMail", heloOut},
	{"horde", "Horde", heloOut},
	{"roundcube", "Roundcube", heloOut},
	{"simpleemailservice", "Amazon SES", byForm},
	{"barracuda", "Barracuda", byForm},
	{"mxg,", "MXGuardian", byForm},
	{"nextgen", "NextGen", byForm},
	{"switch-", "Sendmail Switch", byForm},
}

// firstMarks holds the first letters of all marks. Most comments can be skipped
// by their first letter.
var firstMarks = func() (m [256]bool) {
	for _, s := range servers {
		m[s.mark[0]], m[s.mark[0]&^0x20] = true, true
	}
	return m
}()

// internetMail is the SMTP connector of Exchange 4.0 to 5.5.
const internetMail = "Exchange Internet Mail Service"

// oldExchange maps a version of the Internet Mail Service to a version of
// Exchange: 5.0.1460.8 belongs to Exchange 5.0.
func oldExchange(version string) MTA {
	for _, v := range [...]string{"4.0", "5.0", "5.5"} {
		if strings.HasPrefix(version, v+".") {
			return MTA{Name: "Exchange " + v, Version: version}
		}
	}
	return MTA{Name: internetMail, Version: version}
}

// software recognises a server by a comment and reports whether the comment
// contains nothing else.
func (r *commentReader) software(a, b int) bool {
	c := r.s[a:b]
	if isDigit(c[0]) || c[0]|0x20 == 'v' && len(c) > 1 && isDigit(c[1]) {
		return r.bareVersion(a, b)
	}
	if !firstMarks[c[0]] {
		return false
	}
	for i := range servers {
		s := &servers[i]
		if !foldPrefix(c, s.mark) {
			continue
		}
		if end := len(s.mark); end < len(c) && isLetter(c[end]) && s.mark[end-1] != '-' && !strings.HasPrefix(s.mark, "amavis") {
			continue // "eximious.example"
		}
		if r.in == kFrom && HostLike(c) {
			continue // a host named after a mail server
		}
		r.line.MTA.Name, r.rule = s.name, s.names
		r.set(PartMTA, a, b)
		r.line.MTA.Version = version(c[len(s.mark):])
		if s.name == internetMail {
			r.line.MTA = oldExchange(r.line.MTA.Version)
		}
		if i := foldIndex(c, "from userid "); i >= 0 {
			v, e := r.firstWord(a+i+5, b)
			_, e = r.firstWord(e, b)
			r.line.Ident = r.set(PartIdent, v, e)
		}
		if s.name == "amavis" || r.in != kBy {
			return r.in != kFrom
		}
		return true
	}
	return false
}

// bareVersion reads sendmail's "8.18.1/8.18.1" and versions without a name.
func (r *commentReader) bareVersion(a, b int) bool {
	c := r.s[a:b]
	if r.in != kBy && r.in != kWith {
		return false
	}
	if slash := strings.IndexByte(c, '/'); slash > 0 && r.line.MTA.Name == "" && isDigit(c[0]) && strings.IndexByte(c[:slash], '.') > 0 {
		r.line.MTA.Name, r.line.MTA.Version = "Sendmail", c[:slash]
		if sp := strings.IndexByte(r.line.MTA.Version, ' '); sp > 0 {
			r.line.MTA.Version = r.line.MTA.Version[:sp]
		}
		r.set(PartMTA, a, b)
		return true
	}
	if strings.HasPrefix(c, "8.") && strings.Count(c, ".") == 2 {
		r.line.MTA.Name, r.line.MTA.Version = "Sendmail", c
		r.set(PartMTA, a, b)
		return true
	}
	return false
}

// version returns the first word with a digit and a dot.
func version(s string) string {
	for i := 0; i < len(s); i++ {
		if !isDigit(s[i]) {
			continue
		}
		e := i
		for e < len(s) && (isDigit(s[e]) || s[e] == '.' || s[e] == '-' || s[e] == '_' || isLetter(s[e])) {
			e++
		}
		if w := strings.TrimRight(s[i:e], ".-"); strings.IndexByte(w, '.') > 0 {
			return w
		}
		i = e
	}
	return ""
}
