package intake

import (
	"bytes"
	"html"
	"regexp"
	"strings"

	"hoplite/mail"
	"hoplite/mail/mime"
)

// prose parses a free-text bounce (Exchange, Gmail, qmail, Postfix, Exim). Each
// recipient is followed by the reply that rejected it, which may span several
// lines.
type prose struct {
	*Bounce
	cur     Failed
	reply   bool // the current line is inside a reply
	postfix bool // Postfix wrote the report, which gives each recipient's reason
	reason  bool // the reply is the server's own reason, without a code so far
}

// proseLimit is the maximum number of bytes of free text that are read, and
// diagnosticLimit the maximum length of a reply.
const (
	proseLimit      = 64 << 10
	diagnosticLimit = 600
)

func (b *Bounce) prose(text []byte) {
	p := &prose{Bounce: b}
	for raw := range bytes.SplitSeq(text[:min(len(text), proseLimit)], []byte{'\n'}) {
		line := strings.TrimSpace(string(raw[:min(len(raw), 1000)]))
		if endsProse(line) || len(b.Recipients) >= maxFailed {
			break
		}
		p.line(line)
	}
	p.flush()
}

// endsProse reports whether the original message follows this line.
func endsProse(line string) bool {
	low := strings.ToLower(line)
	for _, mark := range [...]string{"received:", "return-path:", "original message headers", "--- below this line", "------ this is a copy", "----- original message", "----- message header follows", "----- forwarded message"} {
		if strings.HasPrefix(low, mark) {
			return true
		}
	}
	return false
}

func (p *prose) line(line string) {
	if line == "" {
		p.reply = p.reply && p.cur.Diagnostic == ""
		return
	}
	if name := writerIn(line); name != "" {
		p.Reporter = name
		p.postfix = strings.HasPrefix(line, postfixIntro)
		return
	}
	if addr := addressIn(line); addr != "" && addr != p.cur.Rcpt && !p.reply {
		p.flush()
		p.cur.Rcpt = addr
	}
	if p.cur.Remote == "" {
		p.cur.Remote = remoteHost(line)
	}
	text, status, coded := replyIn(line)
	if p.reason && coded {
		if p.cur.Remote == "" {
			p.cur.Remote = remoteHost(p.cur.Diagnostic + " " + line)
		}
		p.cur.Diagnostic, p.cur.Status, p.reason = text, status, false
		return
	}
	if p.reply {
		if len(p.cur.Diagnostic) < diagnosticLimit {
			p.cur.Diagnostic += " " + line
		}
		return
	}
	if p.cur.Diagnostic != "" {
		return
	}
	if coded {
		p.cur.Diagnostic, p.cur.Status, p.reply = text, status, true
	} else if _, reason, ok := strings.Cut(line, ">: "); ok && p.postfix && line[0] == '<' {
		p.cur.Diagnostic, p.reply, p.reason = reason, true, true
	}
}

const postfixIntro = "This is the mail system at host "

// writerIn returns the server named in a sentence by Exchange, Postfix or qmail,
// or "".
func writerIn(line string) string {
	for _, intro := range [...]string{"Generating server: ", postfixIntro, "Hi. This is the qmail-send program at "} {
		if name, ok := strings.CutPrefix(line, intro); ok {
			return strings.TrimRight(name, ".")
		}
	}
	return ""
}

// flush records the current recipient if it was rejected by a reply.
func (p *prose) flush() {
	if p.cur.Diagnostic != "" {
		p.cur.Action = "failed"
		p.cur.Diagnostic = strings.Trim(p.cur.Diagnostic, "'\" ")
		if p.cur.Status == "" { // it may be on a later line
			_, p.cur.Status = mail.FindCodes(p.cur.Diagnostic)
		}
		p.Recipients = append(p.Recipients, p.cur)
	}
	p.cur, p.reply, p.reason = Failed{}, false, false
}

// bare matches an address as written by Exchange, Gmail and Exim: on a line by
// itself, in quotes, or after "delivered to".
var bare = regexp.MustCompile(`^'?([^\s'"<>()@:]+@[A-Za-z0-9.-]+\.[A-Za-z0-9-]+)'?(?:$|[:( ] ?on |:$| \(| ?<br>)|(?i:delivered to|message to|recipient) '?([^\s'"<>()@:]+@[A-Za-z0-9.-]+\.[A-Za-z0-9-]+)'?`)

// addressIn returns the recipient named in a line, or "".
func addressIn(line string) string {
	if i, j := strings.IndexByte(line, '<'), strings.IndexByte(line, '>'); i >= 0 && j > i && strings.Contains(line[i:j], "@") && !strings.ContainsAny(line[i+1:j], " \t") {
		return strings.TrimPrefix(line[i+1:j], "mailto:")
	}
	if m := bare.FindStringSubmatch(line); m != nil {
		return strings.TrimRight(m[1]+m[2], ".")
	}
	return ""
}

// hostSaid matches "host mx.b.example[192.0.2.9] said:", "host mx.b.example
// [192.0.2.9]" and "Remote Server at b.example (192.0.2.9)".
var hostSaid = regexp.MustCompile(`(?i)\b(?:host|remote server at|by) ([A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)[ \[(.]`)

func remoteHost(line string) string {
	if m := hostSaid.FindStringSubmatch(line + " "); m != nil {
		return m[1]
	}
	return ""
}

// replyStart matches the start of a reply: 550 5.1.1, 550-5.1.1, #5.1.1, or a
// code followed by text.
var replyStart = regexp.MustCompile(`(?:^|[\s#'"(:])([45][0-5][0-9][ -]#?[45]\.[0-9]{1,3}\.[0-9]{1,3}|#?[45]\.[0-9]{1,3}\.[0-9]{1,3}|[45][0-5][0-9][ -]\S)`)

// replyIn returns the server's reply in a line, starting at its code.
func replyIn(line string) (text, status string, ok bool) {
	m := replyStart.FindStringSubmatchIndex(line)
	if m == nil {
		return "", "", false
	}
	text = strings.TrimLeft(line[m[2]:], "#")
	basic, enhanced := mail.FindCodes(text)
	if basic == "" && enhanced == "" || len(mail.LookupCode(text)) == 0 {
		return "", "", false
	}
	return text, enhanced, true
}

// plainText returns the first text part of a message, without HTML markup, or
// else the unmodified body.
func plainText(whole []byte, root *mime.Part, body []byte) []byte {
	if p := firstText(root, "plain"); p != nil {
		return section(whole, p)
	}
	if p := firstText(root, "html"); p != nil {
		return unmark(section(whole, p))
	}
	return body
}

func firstText(p *mime.Part, subtype string) *mime.Part {
	if p.Is("text", subtype) {
		return p
	}
	for _, c := range p.Children {
		if p.Type != "message" {
			if found := firstText(c, subtype); found != nil {
				return found
			}
		}
	}
	return nil
}

var (
	breaks = regexp.MustCompile(`(?i)<(?:br|/p|/div|/tr|/td|/h[1-6]|/li)[^>]*>`)
	tags   = regexp.MustCompile(`<[^>]*>`)
)

// unmark removes HTML markup.
func unmark(text []byte) []byte {
	text = text[:min(len(text), proseLimit)]
	text = tags.ReplaceAll(breaks.ReplaceAll(text, []byte{'\n'}), nil)
	return []byte(html.UnescapeString(string(text)))
}

// attached finds the original message, either attached or in the text.
func (b *Bounce) attached(whole []byte, root *mime.Part, body []byte) {
	for _, p := range root.Children {
		if p.Is("message", "rfc822") || p.Is("text", "rfc822-headers") {
			b.Original, _ = split(section(whole, p))
			return
		}
	}
	for _, text := range [][]byte{plainText(whole, root, body), body} {
		text = text[:min(len(text), 1<<20)]
		for _, mark := range [...]string{"\nReceived:", "\nReturn-path:", "\nReturn-Path:"} {
			if i := bytes.Index(text, []byte(mark)); i >= 0 {
				b.Original, _ = split(text[i+1:])
				return
			}
		}
	}
}

// failedRecipient returns the recipient named in X-Failed-Recipients (Gmail,
// Exim).
func failedRecipient(head []byte) string {
	first, _, _ := strings.Cut(fieldText(head, "X-Failed-Recipients"), ",")
	return strings.TrimSpace(first)
}
