package wire

import (
	"errors"
	"math"
	"strconv"
	"strings"

	"hoplite/mail"
)

// Mail holds the parameters of MAIL that bypass go-smtp. Its SIZE has only 32
// bits, and after BINARYMIME it would refuse the DATA that replaces BDAT.
type Mail struct {
	Size   int64 // 0 if it was not given
	Binary bool  // BODY=BINARYMIME
}

// arguments parses the arguments of MAIL or RCPT.
type arguments struct {
	verb    string
	offer   *Offer
	lenient bool // accept a path without angle brackets
	secure  bool // the connection uses TLS
}

// parse returns the path without its angle brackets, and appends the parameters
// for the library to params, each preceded by a space.
func (a *arguments) parse(s string, params []byte) (path string, m Mail, _ []byte, refused *mail.Reply) {
	prefix := "FROM:"
	if a.verb == "RCPT" {
		prefix = "TO:"
	}
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return "", m, params, a.syntax("")
	}
	path, rest, err := cutPath(strings.TrimLeft(s[len(prefix):], " "), a.lenient)
	if err != nil {
		return "", m, params, a.syntax(err.Error() + "; ")
	}
	params, refused = a.params(rest, &m, params)
	return path, m, params, refused
}

func (a *arguments) syntax(why string) *mail.Reply {
	r := refusal(501, "5.5.4", why+"Syntax: MAIL FROM:<address>")
	if a.verb == "RCPT" {
		r.Text = why + "Syntax: RCPT TO:<address>"
	}
	return &r
}

// params checks the parameters in s. It stores those of Mail in m and appends the
// others to out.
func (a *arguments) params(s string, m *Mail, out []byte) ([]byte, *mail.Reply) {
	var seen int
	for p := range strings.FieldsSeq(s) {
		key, value, hasValue := strings.Cut(p, "=")
		key = strings.ToUpper(key)
		bit := a.offer.param(a.verb, key)
		flag := key == "SMTPUTF8" || key == "REQUIRETLS"
		switch {
		case bit == 0:
			return out, bad(555, "5.5.4", "Parameter not recognized or not offered")
		case seen&bit != 0:
			return out, bad(501, "5.5.4", "Parameter "+key+" given twice")
		case hasValue && value == "", hasValue == flag, strings.Contains(value, "="):
			return out, bad(501, "5.5.4", "Invalid value of parameter "+key)
		}
		seen |= bit
		switch {
		case key == "SIZE":
			var r *mail.Reply
			if m.Size, r = a.offer.announced(value); r != nil {
				return out, r
			}
			continue
		case key == "BODY" && strings.EqualFold(value, "BINARYMIME"):
			if !a.offer.Binary {
				return out, bad(555, "5.5.4", "BINARYMIME is not offered")
			}
			m.Binary = true
			continue
		case key == "REQUIRETLS" && !a.secure:
			return out, bad(530, "5.7.4", "REQUIRETLS requires a TLS connection")
		case key == "BY": // the library expects upper-case letters
			p = strings.ToUpper(p)
		}
		out = append(append(out, ' '), p...)
	}
	return out, nil
}

func bad(code int, enhanced, text string) *mail.Reply {
	r := refusal(code, enhanced, text)
	return &r
}

// announced parses SIZE. SIZE may have 20 digits (RFC 1870, 3), so a number
// that overflows is too large rather than malformed.
func (o *Offer) announced(value string) (int64, *mail.Reply) {
	n, err := strconv.ParseUint(value, 10, 63)
	if errors.Is(err, strconv.ErrRange) && len(value) <= 20 {
		n, err = math.MaxInt64, nil
	}
	if err != nil || value[0] == '+' {
		return 0, bad(501, "5.5.4", "SIZE is not a number of octets")
	}
	if o.Size > 0 && n > uint64(o.Size) {
		r := tooLarge(o.Size)
		return 0, &r
	}
	return int64(n), nil
}

func tooLarge(limit int64) mail.Reply {
	return refusal(552, "5.3.4", "Message size exceeds fixed limit of "+strconv.FormatInt(limit, 10)+" octets")
}

var (
	errNoPath  = errors.New("no address in angle brackets")
	errBadPath = errors.New("malformed address")
)

// ParsePath returns the address in the text after RCPT TO:, as passed to a
// session.
func ParsePath(arg string) (string, error) {
	path, rest, err := cutPath(arg, false)
	if err == nil && rest != "" {
		err = errBadPath
	}
	return path, err
}

// cutPath splits s after a path. It returns the path without angle brackets and
// source route (RFC 5321, 4.1.2 and appendix C), and the rest of s.
func cutPath(s string, lenient bool) (path, rest string, err error) {
	if !strings.HasPrefix(s, "<") {
		path, rest, _ = strings.Cut(s, " ")
		if !lenient || path == "" || strings.ContainsAny(path, `<>"`) {
			return "", "", errNoPath
		}
		return path, rest, nil
	}
	end := closing(s)
	if end < 0 {
		return "", "", errBadPath
	}
	path, rest = s[1:end], s[end+1:]
	if rest != "" && rest[0] != ' ' {
		return "", "", errBadPath
	}
	if strings.HasPrefix(path, "@") {
		_, mailbox, ok := strings.Cut(path, ":")
		if !ok || mailbox == "" {
			return "", "", errBadPath
		}
		path = mailbox
	}
	return path, strings.TrimLeft(rest, " "), nil
}

// closing returns the offset of the > that ends a path, or -1. A > inside
// quotes does not end it.
func closing(s string) int {
	quoted := false
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			if quoted {
				i++
			}
		case '"':
			quoted = !quoted
		case '<', '>':
			if !quoted {
				if s[i] == '<' {
					return -1
				}
				return i
			}
		}
	}
	return -1
}
