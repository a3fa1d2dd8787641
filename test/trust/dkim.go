package trust

import "strings"

// dkimVariants sign the message, and then change it or the key.
var dkimVariants = []variant{
	{"none", func(*Case) {}},
	{"good", func(c *Case) { c.sign(signature{}) }},
	{"rsa 1024", func(c *Case) { c.sign(signature{bits: 1024}) }},
	{"rsa 512", func(c *Case) { c.sign(signature{bits: 512}) }},
	{"rsa-sha1", func(c *Case) { c.sign(signature{algorithm: "rsa-sha1"}) }},
	{"ed25519", func(c *Case) { c.sign(signature{algorithm: "ed25519-sha256"}) }},
	{"folded b", func(c *Case) { c.sign(signature{foldedResult: true}) }},
	{"body changed", func(c *Case) { c.sign(signature{}); c.body = "x\r\n" + c.body }},
	{"body appended", func(c *Case) { c.sign(signature{}); c.body += "x\r\n" }},
	{"empty lines appended", func(c *Case) { c.sign(signature{}); c.body += "\r\n\r\n" }},
	{"white space in the body, relaxed", func(c *Case) {
		c.body = "a  b\r\n" + c.body
		c.sign(signature{body: "relaxed"})
		c.body = "a b \r\n" + strings.TrimPrefix(c.body, "a  b\r\n")
	}},
	{"white space in the body, simple", func(c *Case) {
		c.body = "a  b\r\n" + c.body
		c.sign(signature{body: "simple"})
		c.body = "a b\r\n" + strings.TrimPrefix(c.body, "a  b\r\n")
	}},
	{"no line end at the end of the body", func(c *Case) { c.sign(signature{}); c.body += "\r\nlast" }},
	{"subject changed", func(c *Case) {
		c.sign(signature{})
		c.edit("subject", func(s string) string { return strings.Replace(s, "w", "v", 1) })
	}},
	{"subject folded, relaxed", func(c *Case) {
		c.sign(signature{head: "relaxed"})
		c.edit("subject", func(s string) string { return strings.Replace(s, "subject:", "Subject :\r\n ", 1) })
	}},
	{"subject folded, simple", func(c *Case) {
		c.sign(signature{head: "simple"})
		c.edit("subject", func(s string) string { return strings.Replace(s, "subject:", "Subject:\r\n ", 1) })
	}},
	{"field added on top", func(c *Case) {
		c.sign(signature{})
		c.head = append([]string{"Subject: another\r\n"}, c.head...)
	}},
	{"oversigned field added", func(c *Case) {
		c.sign(signature{names: []string{"From", "Subject", "Subject", "Date"}})
		c.head = append([]string{"Subject: another\r\n"}, c.head...)
	}},
	{"From not signed", func(c *Case) { c.sign(signature{names: []string{"To", "Subject", "Date"}}) }},
	{"expired", func(c *Case) { c.sign(signature{extra: " t=1500000000; x=1500000100;"}) }},
	{"expires before it was signed", func(c *Case) { c.sign(signature{extra: " t=1500000000; x=1400000100;"}) }},
	{"from the future", func(c *Case) { c.sign(signature{extra: " t=4000000000;"}) }},
	{"l, whole body", func(c *Case) {
		c.sign(signature{limited: true, length: len(canonicalBody(c.body, "simple")), body: "simple"})
	}},
	{"l, text appended", func(c *Case) {
		c.body = "one\r\ntwo\r\n"
		c.sign(signature{limited: true, length: 10})
		c.body += "three\r\n"
	}},
	{"l, too long", func(c *Case) { c.sign(signature{limited: true, length: 1_000_000}) }},
	{"i below d", func(c *Case) { c.sign(signature{extra: " i=ann@sub." + c.domain + ";"}) }},
	{"i below d, strict key", func(c *Case) {
		c.sign(signature{extra: " i=ann@sub." + c.domain + ";", record: "v=DKIM1; t=s; p=%s"})
	}},
	{"i elsewhere", func(c *Case) { c.sign(signature{extra: " i=ann@elsewhere.example;"}) }},
	{"key revoked", func(c *Case) { c.sign(signature{record: "v=DKIM1; k=rsa; p="}) }},
	{"key missing", func(c *Case) { c.sign(signature{noKey: true}) }},
	{"key unreachable", func(c *Case) {
		c.sign(signature{noKey: true})
		c.publish("s1._domainkey."+c.domain, "SERVFAIL", "")
	}},
	{"key for sha1 only", func(c *Case) { c.sign(signature{record: "v=DKIM1; h=sha1; p=%s"}) }},
	{"key for sha256 and others", func(c *Case) { c.sign(signature{record: "v=DKIM1; h=sha512 : sha256; p=%s"}) }},
	{"key of another type", func(c *Case) { c.sign(signature{record: "v=DKIM1; k=dsa; p=%s"}) }},
	{"key for another service", func(c *Case) { c.sign(signature{record: "v=DKIM1; s=other; p=%s"}) }},
	{"key for email", func(c *Case) { c.sign(signature{record: "v=DKIM1; s=other:email; p=%s"}) }},
	{"key in test mode", func(c *Case) { c.sign(signature{record: "v=DKIM1; t=y; p=%s"}) }},
	{"key without version", func(c *Case) { c.sign(signature{record: "k=rsa; p=%s"}) }},
	{"key with another version", func(c *Case) { c.sign(signature{record: "v=DKIM2; p=%s"}) }},
	{"key, version not first", func(c *Case) { c.sign(signature{record: "k=rsa; v=DKIM1; p=%s"}) }},
	{"key with unknown tags", func(c *Case) { c.sign(signature{record: "v=DKIM1; n=note; zz=1; p=%s;"}) }},
	{"key with white space", func(c *Case) {
		c.sign(signature{record: " v = DKIM1 ; k = rsa ; p = %s "})
	}},
	{"key without p", func(c *Case) { c.sign(signature{record: "v=DKIM1; k=rsa"}) }},
	{"key damaged", func(c *Case) { c.sign(signature{record: "v=DKIM1; k=rsa; p=AAAA%s"}) }},
	{"no version", func(c *Case) { c.sign(signature{version: "-"}) }},
	{"version 2", func(c *Case) { c.sign(signature{version: "v=2; "}) }},
	{"unknown tag", func(c *Case) { c.sign(signature{extra: " zz=nonsense;"}) }},
	{"tag twice", func(c *Case) { c.sign(signature{extra: " t=1700000000; t=1700000000;"}) }},
	{"q given", func(c *Case) { c.sign(signature{extra: " q=dns/txt;"}) }},
	{"q unknown", func(c *Case) { c.sign(signature{extra: " q=http;"}) }},
	{"copied fields", func(c *Case) { c.sign(signature{extra: " z=Subject:old|From:x=40y;"}) }},
	{"another domain", func(c *Case) { c.sign(signature{domain: "other-" + c.domain}) }},
	{"parent domain", func(c *Case) {
		c.edit("from", func(s string) string { return strings.Replace(s, "@", "@news.", 1) })
		c.sign(signature{})
	}},
	{"two good", func(c *Case) {
		c.sign(signature{})
		c.sign(signature{selector: "s2", algorithm: "ed25519-sha256"})
	}},
	{"bad above good", func(c *Case) {
		c.sign(signature{})
		c.sign(signature{selector: "s2"})
		c.head[0] = strings.Replace(c.head[0], "bh=", "bh=AAAA", 1)
	}},
	{"good above bad", func(c *Case) {
		c.sign(signature{selector: "s2"})
		c.head[0] = strings.Replace(c.head[0], "bh=", "bh=AAAA", 1)
		c.sign(signature{})
	}},
	{"b is no base64", func(c *Case) {
		c.sign(signature{})
		c.head[0] = strings.Replace(c.head[0], " b=", " b=*", 1)
	}},
	{"empty body, simple", func(c *Case) { c.body = ""; c.sign(signature{body: "simple"}) }},
	{"empty body, relaxed", func(c *Case) { c.body = ""; c.sign(signature{body: "relaxed"}) }},
	{"empty lines only, relaxed", func(c *Case) { c.body = "\r\n\r\n"; c.sign(signature{body: "relaxed"}) }},
	{"body of white space, relaxed", func(c *Case) { c.body = " \t\r\n"; c.sign(signature{body: "relaxed"}) }},
}

// edit changes the first field with a name.
func (c *Case) edit(name string, change func(string) string) {
	for i, f := range c.head {
		if fieldName(f) == name {
			c.head[i] = change(f)
			return
		}
	}
}
