package forward

import (
	"slices"
	"strconv"
	"strings"
)

// caps holds the extensions that a server offers in its reply to EHLO.
type caps struct {
	esmtp      bool
	pipelining bool
	eightBit   bool
	binary     bool
	chunking   bool
	utf8       bool
	dsn        bool
	startTLS   bool
	requireTLS bool
	deliverBy  bool
	priority   bool
	enhanced   bool
	xclient    []string
	xforward   []string
	auth       []string
	size       int64 // 0: not offered or no limit
	sizeKnown  bool
	mailMax    int // transactions per connection; 0: none announced
	rcptMax    int // recipients per transaction; 0: none announced
	domainMax  int // recipient domains per transaction; 0: none announced
}

// parseCaps reads an EHLO reply after its first line. Keywords are
// case-insensitive; unknown and disabled ones are ignored.
func parseCaps(text string, disabled []string) caps {
	c := caps{esmtp: true}
	lines := strings.Split(text, "\n")
	for _, line := range lines[1:] {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		// Old servers send AUTH=LOGIN in addition to, or instead of, AUTH
		// LOGIN.
		if rest, ok := strings.CutPrefix(strings.ToUpper(words[0]), "AUTH="); ok {
			words = append([]string{"AUTH", rest}, words[1:]...)
		}
		word := strings.ToUpper(words[0])
		if !slices.ContainsFunc(disabled, func(d string) bool { return strings.EqualFold(d, word) }) {
			c.keyword(word, words[1:])
		}
	}
	return c
}

func (c *caps) keyword(word string, args []string) {
	switch word {
	case "PIPELINING":
		c.pipelining = true
	case "8BITMIME":
		c.eightBit = true
	case "BINARYMIME":
		c.binary = true
	case "CHUNKING":
		c.chunking = true
	case "SMTPUTF8":
		c.utf8 = true
	case "DSN":
		c.dsn = true
	case "STARTTLS":
		c.startTLS = true
	case "REQUIRETLS":
		c.requireTLS = true
	case "DELIVERBY":
		c.deliverBy = true
	case "MT-PRIORITY":
		c.priority = true
	case "ENHANCEDSTATUSCODES":
		c.enhanced = true
	case "XCLIENT":
		c.xclient = append(c.xclient, upper(args)...)
	case "XFORWARD":
		c.xforward = append(c.xforward, upper(args)...)
	case "AUTH":
		c.auth = append(c.auth, upper(args)...)
	case "SIZE":
		if len(args) > 0 {
			c.size, _ = strconv.ParseInt(args[0], 10, 64)
		}
		c.sizeKnown = true
	case "LIMITS":
		for _, a := range args {
			c.limit(a)
		}
	}
}

// limit parses one argument of LIMITS (RFC 9422, 4): a name and a number from 1
// to 999999. Anything else is ignored.
func (c *caps) limit(arg string) {
	name, value, _ := strings.Cut(strings.ToUpper(arg), "=")
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > 999999 {
		return
	}
	switch name {
	case "MAILMAX":
		c.mailMax = n
	case "RCPTMAX":
		c.rcptMax = n
	case "RCPTDOMAINMAX":
		c.domainMax = n
	}
}

func upper(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = strings.ToUpper(w)
	}
	return out
}

func has(list []string, word string) bool {
	for _, w := range list {
		if w == word {
			return true
		}
	}
	return false
}
