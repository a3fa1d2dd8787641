package trust

import (
	"fmt"
	"strings"
)

// arcVariants seal the message one or more times, and then change it.
var arcVariants = []variant{
	{"one set", func(c *Case) { c.seal(1, "none") }},
	{"two sets", func(c *Case) { c.seal(1, "none"); c.seal(2, "pass") }},
	{"three sets", func(c *Case) { c.seal(1, "none"); c.seal(2, "pass"); c.seal(3, "pass") }},
	{"body changed", func(c *Case) { c.seal(1, "none"); c.body = "x" + c.body }},
	{"body changed before the second set", func(c *Case) {
		c.seal(1, "none")
		c.body = "x" + c.body
		c.seal(2, "pass")
	}},
	{"second set says fail", func(c *Case) { c.seal(1, "none"); c.seal(2, "fail") }},
	{"first set says pass", func(c *Case) { c.seal(1, "pass") }},
	{"second set says none", func(c *Case) { c.seal(1, "none"); c.seal(2, "none") }},
	{"only the second set", func(c *Case) { c.seal(2, "pass") }},
	{"first set missing", func(c *Case) {
		c.seal(1, "none")
		c.seal(2, "pass")
		c.head = append(c.head[:3], c.head[6:]...)
	}},
	{"set repeated", func(c *Case) {
		c.seal(1, "none")
		c.head = append(append([]string{}, c.head[:3]...), c.head...)
	}},
	{"results changed", func(c *Case) {
		c.seal(1, "none")
		c.edit("arc-authentication-results", func(s string) string { return strings.Replace(s, "pass", "fail", 1) })
	}},
	{"results missing", func(c *Case) {
		c.seal(1, "none")
		c.edit("arc-authentication-results", func(string) string { return "" })
	}},
	{"seal damaged", func(c *Case) {
		c.seal(1, "none")
		c.edit("arc-seal", func(s string) string { return strings.Replace(s, " b=", " b=AAAA", 1) })
	}},
	{"key missing", func(c *Case) {
		c.seal(1, "none")
		c.Zone = c.Zone[:len(c.Zone)-1]
	}},
	{"trace field added", func(c *Case) {
		c.seal(1, "none")
		c.head = append([]string{"Received: by another.example; Mon, 30 Nov 2026 10:01:00 +0000\r\n"}, c.head...)
	}},
}

// seal adds a set of ARC fields at the top, as a separate server would.
func (c *Case) seal(instance int, cv string) {
	domain := fmt.Sprintf("arc%d-%s", instance, c.domain)
	results := fmt.Sprintf("ARC-Authentication-Results: i=%d; mx.%s; spf=pass smtp.mailfrom=%s; dkim=none\r\n", instance, domain, c.domain)
	before := c.arcFields()
	signed := signature{field: "ARC-Message-Signature", instance: instance, domain: domain, noKey: true, head: "relaxed", body: "relaxed"}
	c.sign(signed)
	message := c.head[0]
	c.sign(signature{field: "ARC-Seal", instance: instance, domain: domain, cv: cv, sealed: append(before, results, message)})
	c.head = append([]string{c.head[0], message, results}, c.head[2:]...)
}

// arcFields returns the message's ARC sets in the order in which a seal covers
// them.
func (c *Case) arcFields() []string {
	var fields []string
	for i := len(c.head) - 1; i >= 2; i-- {
		if fieldName(c.head[i]) == "arc-authentication-results" {
			fields = append(fields, c.head[i], c.head[i-1], c.head[i-2])
		}
	}
	return fields
}
