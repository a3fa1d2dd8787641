package trace

import (
	"net/netip"
	"strings"

	"hoplite/mail/received"
)

// provider describes a company that hosts mailboxes: the names and addresses of its
// hosts, by which the lines that they write among themselves are recognised.
type provider struct {
	name    string   // for Options.Mailbox
	title   string   // for people
	aliases []string // other values of Options.Mailbox
	domains []string // of the names in its by clauses
	// internal are the addresses that its hosts use among themselves, outbound
	// those from which it sends for all its customers. Both are empty where no
	// published list could be read; names alone decide then.
	internal, outbound []netip.Prefix
	// source says where the names and networks come from, and how old it is.
	source string
}

// namesOnly is the source of entries that nothing published confirms.
const namesOnly = "host names from general knowledge: no published list was read, and no sample is in testdata"

// providers lists the known ones. All sources were read on 2026-11-30.
var providers = []*provider{
	{
		name: "gmail", title: "Gmail", aliases: []string{"google", "workspace"},
		domains:  []string{"google.com", "gmail.com", "googlemail.com"},
		internal: prefixes("2002:a00::/24 10.0.0.0/8"),
		outbound: prefixes(`35.190.247.0/24 64.233.160.0/19 66.102.0.0/20 66.249.80.0/20 72.14.192.0/18
			74.125.0.0/16 108.177.8.0/21 173.194.0.0/16 209.85.128.0/17 216.58.192.0/19 216.239.32.0/19
			2001:4860:4000::/36 2404:6800:4000::/36 2607:f8b0:4000::/36 2800:3f0:4000::/36 2a00:1450:4000::/36
			2c0f:fb50:4000::/36
			172.217.0.0/19 172.217.32.0/20 172.217.128.0/19 172.217.160.0/20 172.217.192.0/19 172.253.56.0/21
			172.253.112.0/20 108.177.96.0/19 35.191.0.0/16 130.211.0.0/22`),
		source: "outbound: the answer for _spf.google.com and what it includes, as of 2020-04-18, in gist.github.com/kljensen/4ac38b1f0b28dada82bd87d05745be18; " +
			"internal: 6to4 addresses of 10/8 after by, ashish.blog/2018/05/gmail-using-6to4, 2018-05",
	},
	{
		name: "m365", title: "Microsoft 365", aliases: []string{"microsoft", "outlook", "office365", "exchange-online"},
		domains:  []string{"outlook.com", "office365.com", "office365.us", "outlook.cn", "outlook.de", "hotmail.com", "exchangelabs.com"},
		internal: prefixes("2603:1000::/24"),
		outbound: prefixes("40.92.0.0/15 40.107.0.0/16 52.100.0.0/14 104.47.0.0/17 2a01:111:f400::/48 2a01:111:f403::/48"),
		source: "outbound: rule 10 of the worldwide endpoints, version 2022072800, MicrosoftDocs/microsoft-365-docs microsoft-365/includes/office-365-worldwide-endpoints.md; " +
			"internal: 2603:10a6 and 2603:10b6 in testdata; the /24 around them is Microsoft's in third-party lists only (2603:1000::/25: AS8075, 2023-03-31); " +
			"the names of the US Government, 21Vianet and former German clouds from general knowledge, and none of their networks",
	},
	{
		name: "yahoo", title: "Yahoo", aliases: []string{"aol"}, domains: []string{"yahoo.com", "aol.com", "yahoodns.net"},
		source: "yahoo.com and aol.com: headers in testdata; yahoodns.net from general knowledge",
	},
	{
		name: "icloud", title: "iCloud", aliases: []string{"apple"}, domains: []string{"icloud.com", "apple.com", "me.com", "mac.com"},
		outbound: prefixes("17.0.0.0/8"),
		source:   "the names from general knowledge; outbound: 17/8 is assigned to Apple as a whole (IANA IPv4 address space registry, from general knowledge); its SPF record was not read",
	},
	{
		name: "fastmail", title: "Fastmail", domains: []string{"messagingengine.com", "fastmail.com", "nyi.internal", "phl.internal", "stl.internal"},
		source: namesOnly,
	},
	{
		name: "zoho", title: "Zoho", domains: []string{"zoho.com", "zoho.eu", "zoho.in", "zohomail.com", "zohomail.eu"},
		source: namesOnly,
	},
	{
		name: "proton", title: "Proton Mail", domains: []string{"protonmail.ch", "proton.me", "protonmail.com"},
		source: namesOnly,
	},
	{
		name: "gmx", title: "GMX, IONOS and web.de", aliases: []string{"ionos", "web.de", "1und1"},
		domains: []string{"gmx.net", "gmx.de", "web.de", "kundenserver.de", "ionos.com", "1and1.com", "perfora.net"},
		source:  "gmx.net and kundenserver.de: headers in testdata; the others from general knowledge",
	},
	{
		name: "qq", title: "QQ Mail", aliases: []string{"tencent"}, domains: []string{"qq.com", "foxmail.com"},
		source: namesOnly,
	},
	{
		name: "yandex", title: "Yandex", domains: []string{"yandex.net", "yandex.ru", "yandex.com"},
		source: namesOnly,
	},
	{
		name: "mail.ru", title: "Mail.ru", aliases: []string{"mailru", "vk"}, domains: []string{"mail.ru", "smailru.net", "i.mail.ru"},
		source: namesOnly,
	},
}

func prefixes(list string) []netip.Prefix {
	var all []netip.Prefix
	for p := range strings.FieldsSeq(list) {
		all = append(all, netip.MustParsePrefix(p))
	}
	return all
}

// Mailboxes lists the values that Options.Mailbox knows.
func Mailboxes() []string {
	var names []string
	for _, p := range providers {
		names = append(names, p.name)
	}
	return names
}

// KnownMailbox reports whether Options.Mailbox knows a name or another spelling
// of it.
func KnownMailbox(name string) bool { return providerNamed(name) != nil }

// providerNamed returns the provider with that name or alias, or nil.
func providerNamed(name string) *provider {
	for _, p := range providers {
		if strings.EqualFold(p.name, name) {
			return p
		}
		for _, a := range p.aliases {
			if strings.EqualFold(a, name) {
				return p
			}
		}
	}
	return nil
}

// providerOf returns the provider whose host wrote a line, or nil. Private IPv4
// addresses do not identify a provider.
func providerOf(l *received.Line) *provider {
	for _, p := range providers {
		if p.ownsName(l.By.Name) || l.By.Addr.Is6() && p.internalAddr(l.By.Addr) {
			return p
		}
	}
	return nil
}

func (p *provider) ownsName(host string) bool {
	for _, d := range p.domains {
		if received.Under(host, d) {
			return true
		}
	}
	return false
}

// owns reports whether a host of the provider wrote the line.
func (p *provider) owns(l *received.Line) bool {
	return p.ownsName(l.By.Name) || l.By.Addr.IsValid() && p.internalAddr(l.By.Addr)
}

func (p *provider) internalAddr(a netip.Addr) bool { return within(p.internal, a) }

// holds reports whether the address is the provider's own.
func (p *provider) holds(a netip.Addr) bool { return within(p.internal, a) || within(p.outbound, a) }

func within(list []netip.Prefix, a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
