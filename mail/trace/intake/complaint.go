package intake

import (
	"strconv"
	"strings"

	"hoplite/mail"
)

// Complaint is a feedback report (ARF, RFC 5965), in which a recipient or the
// recipient's provider complains about a message.
type Complaint struct {
	Type      string // abuse, fraud, virus, not-spam, other
	Reporter  string // the reporting program, from User-Agent
	SourceIP  string // the address that sent the message
	MailFrom  string
	Rcpts     []string
	Domains   []string // the reported domains
	Arrived   string
	Incidents int // number of similar incidents; at least 1
}

// maxListed is the maximum number of occurrences kept of a repeated field.
const maxListed = 20

// readComplaint reads a message/feedback-report part.
func readComplaint(part []byte) *Complaint {
	c := &Complaint{Type: "unspecified", Incidents: 1}
	for f := range mail.Fields(part) {
		text := f.Text()
		switch strings.ToLower(f.Name) {
		case "feedback-type":
			c.Type = strings.ToLower(text)
		case "user-agent":
			c.Reporter = text
		case "source-ip":
			c.SourceIP = strings.Trim(text, "[]")
		case "original-mail-from":
			c.MailFrom = strings.Trim(text, "<>")
		case "original-rcpt-to":
			if len(c.Rcpts) < maxListed {
				c.Rcpts = append(c.Rcpts, strings.Trim(text, "<>"))
			}
		case "reported-domain":
			if len(c.Domains) < maxListed {
				c.Domains = append(c.Domains, text)
			}
		case "arrival-date", "received-date":
			c.Arrived = text
		case "incidents":
			if n, err := strconv.Atoi(text); err == nil && n > 0 {
				c.Incidents = n
			}
		}
	}
	return c
}
