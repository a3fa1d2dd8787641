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
	// those from which it sends for all its customers.
	internal, outbound []netip.Prefix
}

// providers lists the known ones. A date after a source is when it was read; the
// other entries come from headers that the services wrote in May 2026.
var providers = []*provider{
	{
		// "by 2002:a05:... with SMTP id" is 6to4 of 10/8. Outbound: _spf.google.com, 2026-05.
		name: "gmail", title: "Gmail", aliases: []string{"google", "workspace"},
		domains:  []string{"google.com", "gmail.com", "googlemail.com"},
		internal: prefixes("2002:a00::/24 10.0.0.0/8"),
		outbound: prefixes("35.190.247.0/24 64.233.160.0/19 66.102.0.0/20 66.249.80.0/20 72.14.192.0/18 74.125.0.0/16 108.177.8.0/21 173.194.0.0/16 209.85.128.0/17 216.58.192.0/19 216.239.32.0/19 2001:4860:4000::/36 2404:6800:4000::/36 2607:f8b0:4000::/36 2800:3f0:4000::/36 2a00:1450:4000::/36 2c0f:fb50:4000::/36"),
	},
	{
		// Worldwide, US Government and 21Vianet clouds. Outbound: "Office 365 URLs
		// and IP address ranges", Exchange Online Protection, 2026-05. Internal:
		// ARIN NET6-2603-1000-1.
		name: "m365", title: "Microsoft 365", aliases: []string{"microsoft", "outlook", "office365", "exchange-online"},
		domains:  []string{"outlook.com", "office365.com", "office365.us", "outlook.cn", "outlook.de", "hotmail.com", "exchangelabs.com"},
		internal: prefixes("2603:1000::/24"),
		outbound: prefixes("40.92.0.0/15 40.107.0.0/16 52.100.0.0/14 104.47.0.0/17 23.103.132.0/22 2a01:111:f400::/48 2a01:111:f403::/48 2a01:4180:4050::/44"),
	},
	{name: "yahoo", title: "Yahoo", aliases: []string{"aol"}, domains: []string{"yahoo.com", "aol.com", "yahoodns.net"}},
	{name: "icloud", title: "iCloud", aliases: []string{"apple"}, domains: []string{"icloud.com", "apple.com", "me.com", "mac.com"}, outbound: prefixes("17.0.0.0/8")},
	{name: "fastmail", title: "Fastmail", domains: []string{"messagingengine.com", "fastmail.com", "nyi.internal", "phl.internal", "stl.internal"}},
	{name: "zoho", title: "Zoho", domains: []string{"zoho.com", "zoho.eu", "zoho.in", "zohomail.com", "zohomail.eu"}},
	{name: "proton", title: "Proton Mail", domains: []string{"protonmail.ch", "proton.me", "protonmail.com"}},
	{name: "gmx", title: "GMX, IONOS and web.de", aliases: []string{"ionos", "web.de", "1und1"}, domains: []string{"gmx.net", "gmx.de", "web.de", "kundenserver.de", "ionos.com", "1and1.com", "perfora.net"}},
	{name: "qq", title: "QQ Mail", aliases: []string{"tencent"}, domains: []string{"qq.com", "foxmail.com"}},
	{name: "yandex", title: "Yandex", domains: []string{"yandex.net", "yandex.ru", "yandex.com"}},
	{name: "mail.ru", title: "Mail.ru", aliases: []string{"mailru", "vk"}, domains: []string{"mail.ru", "smailru.net", "i.mail.ru"}},
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
