package trust

import (
	"fmt"
	"strings"
)

// record returns a variant that publishes an SPF record, in which %d stands for
// the domain.
func record(name, text string, more ...string) variant {
	return variant{name, func(c *Case) {
		c.publish(c.domain, "TXT", strings.ReplaceAll(text, "%d", c.domain))
		for _, line := range more {
			f := strings.SplitN(strings.ReplaceAll(line, "%d", c.domain), " ", 3)
			c.publish(f[0], f[1], strings.Join(f[2:], ""))
		}
	}}
}

// spfVariants publish a policy for the domain of the reverse path.
var spfVariants = []variant{
	{"none", func(*Case) {}},
	record("ip4", "v=spf1 ip4:192.0.2.1 -all"),
	record("ip4 network", "v=spf1 ip4:192.0.2.0/24 -all"),
	record("ip4 elsewhere", "v=spf1 ip4:198.51.100.0/24 -all"),
	record("softfail", "v=spf1 ip4:198.51.100.0/24 ~all"),
	record("neutral", "v=spf1 ip4:198.51.100.0/24 ?all"),
	record("no all", "v=spf1 ip4:198.51.100.0/24"),
	record("all for everyone", "v=spf1 +all"),
	record("empty policy", "v=spf1"),
	record("upper case", "V=SPF1 IP4:192.0.2.1 -ALL"),
	record("more spaces", "v=spf1  ip4:192.0.2.1   -all  "),
	record("version 10", "v=spf10 ip4:192.0.2.1 -all"),
	record("unknown mechanism", "v=spf1 ip5:192.0.2.1 -all"),
	record("unknown mechanism after a match", "v=spf1 ip4:192.0.2.1 ip5:192.0.2.1 -all"),
	record("unknown modifier", "v=spf1 moo=cow ip4:192.0.2.1 -all"),
	record("bad address", "v=spf1 ip4:192.0.2.300 -all"),
	record("bad prefix", "v=spf1 ip4:192.0.2.1/33 -all"),
	record("a", "v=spf1 a:mail.%d -all"),
	record("a of the domain", "v=spf1 a -all"),
	record("a with a prefix", "v=spf1 a/24 -all"),
	record("mx", "v=spf1 mx -all", "%d MX 10 mail.%d"),
	record("mx without a record", "v=spf1 mx -all"),
	record("ptr", "v=spf1 ptr -all"),
	record("exists", "v=spf1 exists:%{i}.ok.%d -all", "192.0.2.1.ok.%d A 127.0.0.2"),
	record("exists, no match", "v=spf1 exists:%{i}.ok.%d -all"),
	record("macros", "v=spf1 exists:%{l}.%{o}.%{ir}.%{v}.ok.%d -all", "bounce.%d.1.2.0.192.in-addr.ok.%d A 127.0.0.2"),
	record("macro with a count", "v=spf1 exists:%{d1}.%{d2}.ok.%d -all"),
	record("broken macro", "v=spf1 exists:%{x}.%d -all"),
	record("include", "v=spf1 include:inc.%d -all", "inc.%d TXT v=spf1 ip4:192.0.2.1 -all"),
	record("include, no match", "v=spf1 include:inc.%d -all", "inc.%d TXT v=spf1 ip4:198.51.100.1 -all"),
	record("include without a policy", "v=spf1 include:inc.%d -all"),
	record("include with an error", "v=spf1 include:inc.%d -all", "inc.%d TXT v=spf1 nonsense: -all"),
	record("include unreachable", "v=spf1 include:inc.%d -all", "inc.%d SERVFAIL"),
	record("include of itself", "v=spf1 include:%d -all"),
	record("redirect", "v=spf1 redirect=red.%d", "red.%d TXT v=spf1 ip4:192.0.2.1 -all"),
	record("redirect without a policy", "v=spf1 redirect=red.%d"),
	record("redirect beside all", "v=spf1 -all redirect=red.%d", "red.%d TXT v=spf1 ip4:192.0.2.1 -all"),
	record("redirect twice", "v=spf1 redirect=red.%d redirect=red.%d", "red.%d TXT v=spf1 ip4:192.0.2.1 -all"),
	record("ip6 only", "v=spf1 ip6:2001:db8::/32 -all"),
	record("explanation", "v=spf1 ip4:198.51.100.1 -all exp=why.%d", "why.%d TXT go away, %{i}"),
	record("two policies", "v=spf1 ip4:192.0.2.1 -all", "%d TXT v=spf1 -all"),
	record("policy beside other records", "v=spf1 ip4:192.0.2.1 -all", "%d TXT some-site-verification=1"),
	record("unreachable a", "v=spf1 a:dead.%d ip4:192.0.2.1 -all", "dead.%d SERVFAIL"),
	{"policy unreachable", func(c *Case) {
		c.Zone = append(c.Zone[:1:1], c.Zone[2:]...) // removes the address
		c.publish(c.domain, "SERVFAIL", "")
	}},
	{"too many look-ups", func(c *Case) {
		c.publish(c.domain, "TXT", "v=spf1 "+manyOf("a:n%d."+c.domain+" ", 11)+"ip4:192.0.2.1 -all")
		for i := range 11 {
			c.publish(fmt.Sprintf("n%d.%s", i, c.domain), "A", "198.51.100.9")
		}
	}},
	{"ten look-ups", func(c *Case) {
		c.publish(c.domain, "TXT", "v=spf1 "+manyOf("a:n%d."+c.domain+" ", 10)+"ip4:192.0.2.1 -all")
		for i := range 10 {
			c.publish(fmt.Sprintf("n%d.%s", i, c.domain), "A", "198.51.100.9")
		}
	}},
	{"three void look-ups", func(c *Case) {
		c.publish(c.domain, "TXT", "v=spf1 "+manyOf("a:v%d."+c.domain+" ", 3)+"ip4:192.0.2.1 -all")
	}},
	{"two void look-ups", func(c *Case) {
		c.publish(c.domain, "TXT", "v=spf1 "+manyOf("a:v%d."+c.domain+" ", 2)+"ip4:192.0.2.1 -all")
	}},
	{"null sender", func(c *Case) {
		c.From = ""
		c.publish(c.Helo, "TXT", "v=spf1 a -all")
	}},
	{"null sender, fail", func(c *Case) {
		c.From = ""
		c.publish(c.Helo, "TXT", "v=spf1 -all")
	}},
	{"sender below the author's domain", func(c *Case) {
		c.From = "bounce@bounces." + c.domain
		c.publish("bounces."+c.domain, "TXT", "v=spf1 ip4:192.0.2.1 -all")
	}},
	{"sender elsewhere", func(c *Case) {
		c.From = "bounce@other-" + c.domain
		c.publish("other-"+c.domain, "TXT", "v=spf1 ip4:192.0.2.1 -all")
	}},
}

// manyOf repeats a format n times, with numbers starting at 0.
func manyOf(format string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}
