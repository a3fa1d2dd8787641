package trust

import "strings"

// policy returns a variant that publishes a DMARC record for the author's domain.
func policy(name, text string) variant {
	return variant{name, func(c *Case) { c.publish("_dmarc."+c.domain, "TXT", text) }}
}

// below returns a variant whose author is in a subdomain of the domain that
// publishes text.
func below(name, text string) variant {
	return variant{name, func(c *Case) {
		c.publish("_dmarc."+c.domain, "TXT", text)
		c.publish("news."+c.domain, "A", "192.0.2.81")
		c.edit("from", func(s string) string { return strings.Replace(s, "@", "@news.", 1) })
	}}
}

// dmarcVariants publish a policy, or change the From field.
var dmarcVariants = []variant{
	{"none", func(*Case) {}},
	policy("p=none", "v=DMARC1; p=none"),
	policy("p=quarantine", "v=DMARC1; p=quarantine"),
	policy("p=reject", "v=DMARC1; p=reject"),
	policy("strict", "v=DMARC1; p=reject; adkim=s; aspf=s"),
	policy("no spaces", "v=DMARC1;p=reject;adkim=r;aspf=r"),
	policy("upper case", "v=DMARC1; P=REJECT; ADKIM=S"),
	policy("more spaces", "v = DMARC1 ;  p = reject ; "),
	policy("lower case version", "v=dmarc1; p=reject"),
	policy("another version", "v=DMARC2; p=reject"),
	policy("version not first", "p=reject; v=DMARC1"),
	policy("no p", "v=DMARC1; rua=mailto:a@example.com"),
	policy("no p, no rua", "v=DMARC1; sp=reject"),
	policy("bad p", "v=DMARC1; p=refuse"),
	policy("bad p with rua", "v=DMARC1; p=refuse; rua=mailto:a@example.com"),
	policy("pct", "v=DMARC1; p=reject; pct=0"),
	policy("test mode", "v=DMARC1; p=reject; t=y"),
	policy("unknown tags", "v=DMARC1; p=reject; zz=1; fo=1:d:s; ri=86400"),
	policy("tag without a value", "v=DMARC1; p=reject; adkim"),
	policy("bad alignment", "v=DMARC1; p=reject; adkim=x"),
	below("of the organization", "v=DMARC1; p=reject"),
	below("of the organization, sp", "v=DMARC1; p=reject; sp=none"),
	below("of the organization, strict", "v=DMARC1; p=reject; adkim=s; aspf=s"),
	{"own policy below one of the organization", func(c *Case) {
		below("", "v=DMARC1; p=reject").apply(c)
		c.publish("_dmarc.news."+c.domain, "TXT", "v=DMARC1; p=none; aspf=s; adkim=s")
	}},
	{"two policies", func(c *Case) {
		policy("", "v=DMARC1; p=reject").apply(c)
		policy("", "v=DMARC1; p=none").apply(c)
	}},
	{"policy beside other records", func(c *Case) {
		policy("", "v=DMARC1; p=reject").apply(c)
		policy("", "verification=1").apply(c)
	}},
	{"unreachable", func(c *Case) { c.publish("_dmarc."+c.domain, "SERVFAIL", "") }},
	from("quoted name", `"Author, Ann" <ann@%d>`),
	from("bare address", `ann@%d`),
	from("comment", `ann@%d (Ann)`),
	from("encoded name", `=?utf-8?q?ceo=40bank=2Eexample?= <ann@%d>`),
	from("address in the name", `"ceo@bank.example" <ann@%d>`),
	from("upper case domain", `Ann <ann@C%d>`),
	from("two addresses", `ann@%d, bob@%d`),
	from("two domains", `ann@%d, bob@other.example`),
	from("group", `Us: ann@%d;`),
	from("address before the angle", `a@evil.example <ann@%d>`),
	from("two angles", `<ann@%d> <ceo@bank.example>`),
	from("route", `<@relay.example:ann@%d>`),
	{"two From fields", func(c *Case) {
		policy("", "v=DMARC1; p=reject").apply(c)
		c.head = append(c.head, "From: ceo@bank.example\r\n")
		c.unsignable = true
	}},
	{"no From field", func(c *Case) {
		policy("", "v=DMARC1; p=reject").apply(c)
		c.edit("from", func(string) string { return "" })
		c.unsignable = true
	}},
}

// from returns a variant with another From field; %d is the author's domain, and
// C%d that in upper case.
func from(name, value string) variant {
	return variant{"From: " + name, func(c *Case) {
		policy("", "v=DMARC1; p=reject").apply(c)
		value := strings.ReplaceAll(value, "C%d", strings.ToUpper(c.domain))
		c.edit("from", func(string) string { return "From: " + strings.ReplaceAll(value, "%d", c.domain) + "\r\n" })
	}}
}
