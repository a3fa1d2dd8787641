package received

import "strings"

// Proto is the protocol of the connection: its name, registered by RFC 3848 or
// RFC 6531 or otherwise known, and its properties.
type Proto struct {
	Name  string // upper case; empty if unknown
	TLS   bool
	Auth  bool
	UTF8  bool
	Local bool // no network: pipe, spool, local submission, LMTP
	Fetch bool // fetched from a mailbox (POP, IMAP)
	HTTP  bool // sent by a browser or through an API
}

// LMTP reports whether the protocol is a form of LMTP (RFC 2033).
func (p Proto) LMTP() bool { return strings.Contains(p.Name, "LMTP") }

// protocols maps the word after "with" or "via", in lower case, to its protocol.
var protocols = map[string]Proto{
	"smtp": {Name: "SMTP"}, "esmtp": {Name: "ESMTP"}, "smtps": {Name: "SMTPS", TLS: true},
	"esmtpa": {Name: "ESMTPA", Auth: true}, "esmtps": {Name: "ESMTPS", TLS: true}, "esmtpsa": {Name: "ESMTPSA", TLS: true, Auth: true},
	"asmtp": {Name: "ASMTP", Auth: true}, "asmtps": {Name: "ASMTPS", Auth: true, TLS: true}, "smtpa": {Name: "SMTPA", Auth: true},
	"smtpsa": {Name: "SMTPSA", TLS: true, Auth: true}, "esmtpas": {Name: "ESMTPSA", TLS: true, Auth: true}, "esmtpsl": {Name: "ESMTPSL", TLS: true},
	"lmtp": {Name: "LMTP", Local: true}, "lmtpa": {Name: "LMTPA", Auth: true, Local: true}, "lmtps": {Name: "LMTPS", TLS: true, Local: true},
	"lmtpsa": {Name: "LMTPSA", TLS: true, Auth: true, Local: true}, "elmtp": {Name: "LMTP", Local: true},
	"utf8smtp": {Name: "UTF8SMTP", UTF8: true}, "utf8smtpa": {Name: "UTF8SMTPA", UTF8: true, Auth: true},
	"utf8smtps": {Name: "UTF8SMTPS", UTF8: true, TLS: true}, "utf8smtpsa": {Name: "UTF8SMTPSA", UTF8: true, TLS: true, Auth: true},
	"utf8lmtp": {Name: "UTF8LMTP", UTF8: true, Local: true}, "utf8lmtpa": {Name: "UTF8LMTPA", UTF8: true, Auth: true, Local: true},
	"utf8lmtps": {Name: "UTF8LMTPS", UTF8: true, TLS: true, Local: true}, "utf8lmtpsa": {Name: "UTF8LMTPSA", UTF8: true, TLS: true, Auth: true, Local: true},
	"mms": {Name: "MMS"}, "http": {Name: "HTTP", HTTP: true}, "https": {Name: "HTTPS", HTTP: true, TLS: true}, "httpu": {Name: "HTTPU", HTTP: true},
	"httprest": {Name: "HTTPREST", HTTP: true}, "mapi": {Name: "MAPI"}, "imap": {Name: "IMAP", Fetch: true}, "imaps": {Name: "IMAPS", Fetch: true, TLS: true},
	"pop3": {Name: "POP3", Fetch: true}, "pop3s": {Name: "POP3S", Fetch: true, TLS: true}, "pop": {Name: "POP3", Fetch: true},
	"imap4": {Name: "IMAP", Fetch: true}, "imap4-ssl": {Name: "IMAPS", Fetch: true, TLS: true}, "pop3-ssl": {Name: "POP3S", Fetch: true, TLS: true}, // getmail
	"qmqp": {Name: "QMQP"}, "bsmtp": {Name: "BSMTP", Local: true}, "nnfmp": {Name: "NNFMP"}, "ecstream": {Name: "ECSTREAM"},
	"ximss": {Name: "XIMSS"}, "fqdp": {Name: "FQDP"}, "tftp": {Name: "TFTP"}, "nje": {Name: "NJE"}, "tcp": {Name: "TCP"},
	"esmtp-tls": {Name: "ESMTPS", TLS: true}, "smtp-tls": {Name: "SMTPS", TLS: true}, "local": {Name: "LOCAL", Local: true},
	"local-bsmtp": {Name: "LOCAL", Local: true}, "local-esmtp": {Name: "LOCAL", Local: true}, "local-esmtps": {Name: "LOCAL", Local: true, TLS: true},
	"local-smtp": {Name: "LOCAL", Local: true}, "stdin": {Name: "STDIN", Local: true}, "spool": {Name: "SPOOL", Local: true},
	"thrift": {Name: "THRIFT"}, "novell_groupwise": {Name: "GROUPWISE"}, "smtpsvc": {Name: "SMTP"}, "uucp": {Name: "UUCP"}, "dsn": {Name: "DSN", Local: true},
}

// protoOf returns the protocol of the first known word in a with clause.
func protoOf(with string) Proto {
	for start, n := 0, 0; start < len(with) && n < 8; n++ {
		end := start
		for end < len(with) && class[with[end]] == plain && with[end] != '/' {
			end++
		}
		if word := with[start:end]; len(word) >= 3 && len(word) <= 16 {
			var low [16]byte
			for i := range len(word) {
				c := word[i]
				if c >= 'A' && c <= 'Z' {
					c |= 0x20
				}
				low[i] = c
			}
			if p, ok := protocols[string(low[:len(word)])]; ok {
				if end < len(with) && with[end] == '/' && foldPrefix(with[end+1:], "tls") { // IronPort: ESMTP/TLS/CIPHER
					p.TLS = true
				}
				return p
			}
		}
		start = end + 1
	}
	return Proto{}
}
