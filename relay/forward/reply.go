package forward

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"hoplite/mail"
	"hoplite/mail/safe"
)

// Limits on a reply. RFC 5321, 4.5.3.1.5 allows lines of 512 octets, but real
// servers send longer ones.
const (
	maxReplyLine  = 4096
	maxReplyLines = 128
)

// errGarbage means that the server's answer is not an SMTP reply.
var errGarbage = errors.New("the server's answer is not SMTP")

// readReply reads one reply of one or more lines. Its text is the server's text
// in printable form, without the enhanced codes.
//
// Some servers, and devices in front of them, insert other lines: empty lines
// and notices such as "*** notice ***" before a reply, and arbitrary text
// between its lines. These are skipped, up to the limit on lines.
func readReply(r *bufio.Reader) (*mail.Reply, error) {
	reply := &mail.Reply{}
	for n, begun := 0, false; ; n++ {
		if n == maxReplyLines {
			return nil, fmt.Errorf("%w: a reply of more than %d lines", errGarbage, maxReplyLines)
		}
		line, err := readLine(r)
		if err != nil {
			return nil, err
		}
		code, more, words, ok := cutReply(line)
		switch {
		case !ok && (begun || line == "" || line[0] == '*'):
			continue
		case !ok || begun && code != reply.Code:
			return nil, fmt.Errorf("%w: %q", errGarbage, safe.Clip(safe.Log(line), 80))
		}
		reply.Code = code
		enhanced, words := cutEnhanced(code, words)
		if enhanced != "" {
			reply.Enhanced = enhanced
		}
		if begun {
			reply.Text += "\n"
		}
		reply.Text += safe.Log(words)
		begun = true
		if !more {
			return reply, nil
		}
	}
}

func readLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) || err == nil && len(line) > maxReplyLine {
		return "", fmt.Errorf("%w: a line of more than %d octets", errGarbage, maxReplyLine)
	}
	if err != nil {
		if len(line) > 0 && errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return "", err
	}
	return strings.TrimRight(string(line), "\r\n"), nil
}

// cutReply splits a reply line such as "250-text".
func cutReply(line string) (code int, more bool, text string, ok bool) {
	if len(line) < 3 || line[0] < '2' || line[0] > '5' {
		return 0, false, "", false
	}
	for i := range 3 {
		if line[i] < '0' || line[i] > '9' {
			return 0, false, "", false
		}
		code = code*10 + int(line[i]-'0')
	}
	if len(line) == 3 {
		return code, false, "", true
	}
	switch line[3] {
	case ' ', '-':
		return code, line[3] == '-', line[4:], true
	}
	return 0, false, "", false
}

// cutEnhanced splits off an enhanced status code (RFC 3463), if there is one of
// the same class as the reply.
func cutEnhanced(code int, text string) (enhanced, rest string) {
	word, rest, _ := strings.Cut(text, " ")
	class, detail, _ := strings.Cut(word, ".")
	subject, detail, _ := strings.Cut(detail, ".")
	if len(class) != 1 || int(class[0]-'0') != code/100 || !statusNumber(subject) || !statusNumber(detail) {
		return "", text
	}
	return word, rest
}

// statusNumber reports whether s has one to three digits.
func statusNumber(s string) bool {
	return s != "" && len(s) <= 3 && strings.Trim(s, "0123456789") == ""
}

// remoteID finds the server's id for a message in its final reply: Postfix's
// "queued as X", Exim's "id=X", Sendmail's "X Message accepted for delivery",
// Exchange's InternalId, and this server's own.
func remoteID(text string) string {
	words := strings.FieldsFunc(text, func(r rune) bool {
		return r == ' ' || r == '\n' || r == '<' || r == '>' || r == ',' || r == ';' || r == '[' || r == ']'
	})
	for i, w := range words {
		lower := strings.ToLower(w)
		for _, prefix := range []string{"id=", "internalid=", "queue-id="} {
			if rest, ok := strings.CutPrefix(lower, prefix); ok && rest != "" {
				return trimID(w[len(prefix):])
			}
		}
		if i+1 < len(words) && (lower == "as" && i > 0 && strings.EqualFold(words[i-1], "queued") || lower == "id") {
			return trimID(words[i+1])
		}
		if lower == "message" && i > 0 && i+1 < len(words) && strings.EqualFold(words[i+1], "accepted") {
			return trimID(words[i-1])
		}
	}
	return ""
}

func trimID(s string) string { return strings.Trim(s, "[]().:\"'") }
