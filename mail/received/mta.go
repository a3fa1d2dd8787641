package received

import "strings"

// names says which of a client's names stands where, for one kind of server.
type names uint8

const (
	byForm   names = iota // the form of the line tells
	heloOut               // the name outside the parentheses is what the client said, nothing was looked up
	lookedUp              // the name outside is the looked-up one; HELO stands apart or is the same
)

// A server is known by what it writes into a comment or its with clause.
type server struct {
	mark  string // lower case
	name  string
	names names
}

// servers is data: the beginnings of comments that name the software. The
// order matters only where one mark begins another.
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
	{"microsoft exchange", "Exchange 5.5", byForm},
	{"internet mail service", "Exchange 5.5", heloOut},
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

// firstMarks tells from the first letter whether the list is worth a walk.
var firstMarks = func() (m [256]bool) {
	for _, s := range servers {
		m[s.mark[0]], m[s.mark[0]&^0x20] = true, true
	}
	return m
}()

// software looks for the name of a server in a comment. It tells whether the
// comment is used up by that.
func (r *reader) software(a, b int) bool {
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
		if r.cur == kFrom && HostLike(c) {
			continue // a host that is called after a mail server
		}
		r.h.MTA.Name, r.rule = s.name, s.names
		r.set(PartMTA, a, b)
		r.h.MTA.Version = version(c[len(s.mark):])
		if i := foldIndex(c, "from userid "); i >= 0 {
			v, e := r.firstWord(a+i+5, b)
			_, e = r.firstWord(e, b)
			r.h.Ident = r.set(PartIdent, v, e)
		}
		if s.name == "amavis" || r.cur != kBy {
			return r.cur != kFrom
		}
		return true
	}
	return false
}

// bareVersion reads sendmail's "8.18.1/8.18.1" and versions without a name.
func (r *reader) bareVersion(a, b int) bool {
	c := r.s[a:b]
	if r.cur != kBy && r.cur != kWith {
		return false
	}
	if slash := strings.IndexByte(c, '/'); slash > 0 && r.h.MTA.Name == "" && isDigit(c[0]) && strings.IndexByte(c[:slash], '.') > 0 {
		r.h.MTA.Name, r.h.MTA.Version = "Sendmail", c[:slash]
		if sp := strings.IndexByte(r.h.MTA.Version, ' '); sp > 0 {
			r.h.MTA.Version = r.h.MTA.Version[:sp]
		}
		r.set(PartMTA, a, b)
		return true
	}
	if strings.HasPrefix(c, "8.") && strings.Count(c, ".") == 2 {
		r.h.MTA.Name, r.h.MTA.Version = "Sendmail", c
		r.set(PartMTA, a, b)
		return true
	}
	return false
}

// version finds the first word with a digit and a dot.
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

// finish decides what the parts mean together: which server wrote the line,
// and which of the client's names is which.
func (r *reader) finish() {
	h := r.h
	p := &h.From
	if p.Name != "" && !p.Addr.IsValid() {
		if span := h.spans[PartFrom]; span.End-span.Start == len(p.Name) {
			r.address(span.Start, span.End, inName)
		}
	}
	h.Proto = protoOf(h.With)
	if h.Proto.Name == "" && h.With == "" {
		h.Proto = protoOf(h.Via)
	}
	rule := r.writer()
	r.cipherInWith()
	r.nameParties(rule)
	r.login()
	if p.Name == "" && !p.Addr.IsValid() {
		h.Defects |= NoFrom
	}
	if h.By.Name == "" && !h.By.Addr.IsValid() {
		h.Defects |= NoBy
	}
	h.IDIsVersion = h.MTA.Name == "Exchange" && dottedNumber(h.ID)
}

// writer completes the name of the server from the with clause and the host.
func (r *reader) writer() names {
	h := r.h
	if h.MTA.Name == "" {
		switch w := h.With; {
		case foldPrefix(w, "microsoft smtpsvc"):
			h.MTA.Name, h.MTA.Version = "Microsoft SMTPSVC", r.noteAfter(PartWith)
			return heloOut
		case foldPrefix(w, "microsoft smtp server"), fold(w, "mapi"):
			h.MTA.Name, h.MTA.Version = "Exchange", ""
			if dottedNumber(h.ID) {
				h.MTA.Version = h.ID
			}
			return heloOut
		case foldPrefix(w, "internet mail service"):
			h.MTA.Name, h.MTA.Version = "Exchange 5.5", r.noteAfter(PartWith)
			return heloOut
		case foldPrefix(w, "qmail-scanner"):
			h.MTA.Name, h.MTA.Version = "qmail-scanner", version(w)
			return heloOut
		case foldPrefix(w, "mailenable"):
			h.MTA.Name = "MailEnable"
			return heloOut
		case foldPrefix(w, "[xmail"), foldPrefix(w, "xmail"):
			h.MTA.Name, h.MTA.Version = "XMail", version(w)
			return heloOut
		case foldPrefix(w, "novell_groupwise"):
			h.MTA.Name = "GroupWise"
			return heloOut
		case foldPrefix(w, "nnfmp"):
			h.MTA.Name = "Yahoo"
		case foldIndex(w, "ibm esmtp") >= 0:
			h.MTA.Name = "IBM gateway"
		case Under(h.By.Name, "outlook.com"), Under(h.By.Name, "office365.com"):
			h.MTA.Name = "Exchange"
			return heloOut
		case Under(h.By.Name, "google.com"), Under(h.By.Name, "gmail.com"):
			h.MTA.Name = "Gmail"
		}
		return byForm
	}
	if h.MTA.Name == "Exchange 5.5" {
		return heloOut
	}
	return r.rule
}

// noteAfter is the comment that follows a field, "(5.0.2195.6713)".
func (r *reader) noteAfter(f Part) string {
	end := r.h.spans[f].End
	for _, c := range r.h.Comments {
		if c.Start > end && c.Start <= end+3 {
			return r.s[c.Start:c.End]
		}
	}
	return ""
}

// cipherInWith reads IronPort's ESMTP/TLS/CIPHER.
func (r *reader) cipherInWith() {
	h := r.h
	if h.TLS.Cipher != "" || !h.Proto.TLS {
		return
	}
	if i := foldIndex(h.With, "/tls/"); i > 0 && h.spans[PartWith].End-h.spans[PartWith].Start == len(h.With) {
		start := h.spans[PartWith].Start + i + 5
		h.TLS.Cipher = r.set(PartTLSCipher, start, h.spans[PartWith].End)
	}
}

// nameParties decides which name the client gave and which one was looked up.
func (r *reader) nameParties(rule names) {
	h, p := r.h, &r.h.From
	if h.MTA.Name == "Exim" && p.Helo == "" && r.form == outside && p.RDNS != "" {
		// Exim 3: "from rdns (helo) [192.0.2.1]"
		p.Helo, p.RDNS = p.RDNS, ""
		h.spans[PartHelo], h.spans[PartRDNS] = h.spans[PartRDNS], Span{}
	}
	if fold(p.Name, "unknown") && (p.Helo != "" || r.form == bareOnly) {
		p.RDNSState = Missing
		return
	}
	if p.RDNS != "" {
		if p.RDNSState == NotLooked {
			p.RDNSState = Unverified
			if h.MTA.Name == "Postfix" || h.MTA.Name == "Sendmail" {
				p.RDNSState = Verified // both check the way back and say so if it fails
			}
		}
		return
	}
	if p.Name == "" || !p.Addr.IsValid() || p.RDNSState == Missing || r.form == inName || p.Name[0] == '[' {
		return
	}
	if _, _, isAddr := parseAddr(p.Name); isAddr {
		return
	}
	apart := h.spans[PartHelo] != Span{} || p.RDNSState == Unverified && r.form == bareOnly
	switch {
	case apart && rule != heloOut,
		p.RDNSState == Verified,
		r.form == bareOnly && rule != heloOut && p.Port == 0 && p.Addr.Is4(),
		(r.form == bracketOnly || r.form == outside) && rule == lookedUp:
		p.RDNS = p.Name
		h.spans[PartRDNS] = h.spans[PartFrom]
		if p.RDNSState == NotLooked {
			p.RDNSState = Unverified
		}
		if h.MTA.Name == "Exim" {
			p.RDNSState = Verified
		}
	}
}

// login fills Auth from the protocol where no comment says more.
func (r *reader) login() {
	h := r.h
	if h.Auth != "" {
		return
	}
	switch {
	case h.Proto.Auth:
		h.Auth = h.Proto.Name
		h.spans[PartAuth] = h.spans[PartWith]
	case h.Proto.HTTP && h.From.Addr.IsValid() && h.MTA.Name != "Exchange":
		h.Auth = h.Proto.Name // a browser with a session
		h.spans[PartAuth] = h.spans[PartWith]
	case h.With == "" && r.viaHTTP():
		h.Auth, h.Proto = "HTTP", protocols["http"]
	case h.By.Name == "mail.gmx.net" && h.From.Helo != "" && r.form == outside:
		h.Auth = "GMX" // its submission servers write (mpNNN) and no protocol suffix
	}
}

// viaHTTP knows web.de's and GMX' "(via HTTP)".
func (r *reader) viaHTTP() bool {
	for _, c := range r.h.Comments {
		if fold(r.s[c.Start:c.End], "via http") {
			return true
		}
	}
	return false
}

func dottedNumber(s string) bool {
	dots := 0
	for i := range len(s) {
		if s[i] == '.' {
			dots++
		} else if !isDigit(s[i]) {
			return false
		}
	}
	return dots >= 2
}

// Under reports whether a host is a domain or below it.
func Under(host, domain string) bool {
	if len(host) > 0 && host[len(host)-1] == '.' {
		host = host[:len(host)-1]
	}
	n := len(host) - len(domain)
	return n == 0 && fold(host, domain) || n > 0 && host[n-1] == '.' && fold(host[n:], domain)
}
