package trust

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// Case is a message with its envelope and the DNS records that its domains
// publish.
type Case struct {
	Name     string
	IP, Helo string
	From     string // the reverse path
	Text     []byte
	Zone     []string // lines of a resolvetest zone

	// The following are the variants of each mechanism.
	SPF, DKIM, ARC, DMARC string

	domain     string // domain of the author; the others are derived from it
	head       []string
	body       string
	unsignable bool
	random     *rand.Rand
	keys       *keys
}

// variant is one way in which a mechanism is used, correctly or not.
type variant struct {
	name  string
	apply func(*Case)
}

// Generator generates cases.
type Generator struct {
	random *rand.Rand
	keys   *keys
	n      int
}

// NewGenerator returns a generator. The variants of its cases depend only on
// the seed; keys, and therefore signatures, differ in each run.
func NewGenerator(seed uint64) (*Generator, error) {
	k, err := newKeys()
	return &Generator{random: rand.New(rand.NewPCG(seed, 14)), keys: k}, err
}

// Generate returns the next case.
func (g *Generator) Generate() *Case {
	g.n++
	domain := fmt.Sprintf("c%dtrust.com", g.n)
	c := &Case{
		Name: fmt.Sprint(g.n), IP: "192.0.2.1", Helo: "mail." + domain,
		domain: domain, From: "bounce@" + domain, random: g.random, keys: g.keys,
	}
	c.publish(c.Helo, "A", c.IP)
	c.publish(c.domain, "A", "192.0.2.80")
	c.compose()
	c.DMARC = c.pick(dmarcVariants)
	c.SPF = c.pick(spfVariants)
	// ARC variants also change the message, and messages without exactly one
	// From field cannot be signed, so combinations would be hard to judge.
	c.DKIM, c.ARC = "none", "none"
	switch {
	case c.unsignable:
	case g.random.IntN(4) == 0:
		c.ARC = c.pick(arcVariants)
	default:
		c.DKIM = c.pick(dkimVariants)
	}
	c.Text = c.text()
	return c
}

// pick applies a random variant and returns its name.
func (c *Case) pick(variants []variant) string {
	v := variants[c.random.IntN(len(variants))]
	v.apply(c)
	return v.name
}

// publish adds a record.
func (c *Case) publish(name, kind, value string) {
	if kind == "TXT" {
		value = fmt.Sprintf("%q", value)
	}
	c.Zone = append(c.Zone, name+" "+kind+" "+value)
}

// text returns the message.
func (c *Case) text() []byte {
	return []byte(strings.Join(c.head, "") + "\r\n" + c.body)
}

// compose writes a message with white space, folding and empty lines, which
// canonicalizations treat differently.
func (c *Case) compose() {
	words := func(n int) string {
		var b strings.Builder
		for i := range n {
			if i > 0 {
				b.WriteString(strings.Repeat(" ", 1+c.random.IntN(3)/2))
			}
			fmt.Fprintf(&b, "w%x", c.random.IntN(1<<16))
		}
		return b.String()
	}
	fold := func(s string) string {
		if c.random.IntN(3) > 0 {
			return s
		}
		return strings.Replace(s, " ", []string{"\r\n ", "\r\n\t", "  \r\n  "}[c.random.IntN(3)], 1)
	}
	c.head = []string{
		"Received: from a.example by b.example; Mon, 30 Nov 2026 10:00:00 +0000\r\n",
		"From: Ann Author <ann@" + c.domain + ">\r\n",
		"To: bob@receiver.example\r\n",
		"subject: " + fold(words(1+c.random.IntN(8))) + "\r\n",
		"Date: Mon, 30 Nov 2026 10:00:00 +0000\r\n",
		"Message-ID: <" + c.Name + "@" + c.domain + ">\r\n",
	}
	c.body = words(1+c.random.IntN(8)) + "\r\n" // bodies that contain only white space are separate variants
	for range c.random.IntN(6) {
		c.body += words(c.random.IntN(9)) + strings.Repeat(" ", c.random.IntN(3)/2) + "\r\n"
	}
	if c.random.IntN(4) == 0 {
		c.body += "\r\n \r\n\r\n"
	}
}
