package mime

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
)

// AppendEnvelope appends the IMAP ENVELOPE of a message header (RFC 9051,
// 7.5.2). Values are unfolded but otherwise appear as in the message; they are
// not re-encoded. Groups are included.
func AppendEnvelope(dst, header []byte) []byte {
	const date, subject, from, sender, replyTo, to, cc, bcc, inReplyTo, messageID = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9
	names := [...]string{"Date", "Subject", "From", "Sender", "Reply-To", "To", "Cc", "Bcc", "In-Reply-To", "Message-ID"}
	var vals [len(names)][]byte
	for f := range Fields(header) {
		for i, n := range names {
			if !f.Is(n) {
				continue
			}
			v := appendUnfolded(f.Value())
			switch {
			case vals[i] == nil:
				vals[i] = v
				if v == nil {
					vals[i] = []byte{}
				}
			case i >= from && i <= bcc && len(v) > 0:
				// A list split into several fields is treated
				// as one list.
				vals[i] = append(append(vals[i], ", "...), v...)
			}
			break
		}
	}
	dst = append(dst, '(')
	dst = AppendNString(dst, vals[date])
	dst = append(dst, ' ')
	dst = AppendNString(dst, vals[subject])
	var lists [len(names)][]byte
	for i := from; i <= bcc; i++ {
		lists[i] = appendAddresses(nil, vals[i])
	}
	for i := from; i <= bcc; i++ {
		l := lists[i]
		if (i == sender || i == replyTo) && len(l) == 0 {
			l = lists[from] // RFC 9051, 7.5.2: they default to From
		}
		if len(l) == 0 {
			l = nilText
		}
		dst = append(append(dst, ' '), l...)
	}
	dst = append(dst, ' ')
	dst = AppendNString(dst, vals[inReplyTo])
	dst = append(dst, ' ')
	dst = AppendNString(dst, vals[messageID])
	return append(dst, ')')
}

// appendUnfolded appends a value, replacing each fold and the white space
// around it with a single space, as clients expect in an ENVELOPE.
func appendUnfolded(value []byte) []byte {
	value = bytes.Trim(value, " \t\r\n")
	if bytes.IndexByte(value, '\n') < 0 {
		return Unfold(nil, value)
	}
	var out []byte
	for line := range bytes.SplitSeq(value, []byte("\n")) {
		if len(out) > 0 {
			out = append(out, ' ')
		}
		out = Unfold(out, line)
	}
	return out
}

var nilText = []byte("NIL")

// appendAddresses appends an address list in parentheses. It appends nothing if
// the list is empty.
func appendAddresses(dst, v []byte) []byte {
	list := ParseAddresses(string(v))
	if len(list) == 0 {
		return dst
	}
	dst = append(dst, '(')
	for _, a := range list {
		dst = append(dst, '(')
		dst = appendNonEmpty(dst, a.Name)
		dst = append(dst, ' ')
		dst = appendNonEmpty(dst, a.Route)
		dst = append(dst, ' ')
		switch a.Kind {
		case GroupStart:
			dst = AppendString(dst, a.Local)
			dst = append(dst, " NIL"...)
		case GroupEnd:
			dst = append(dst, "NIL NIL"...)
		default:
			// NIL would indicate a group, so a missing part is an
			// empty string.
			dst = AppendString(dst, a.Local)
			dst = append(dst, ' ')
			dst = AppendString(dst, a.Domain)
		}
		dst = append(dst, ')')
	}
	return append(dst, ')')
}

// AppendStructure appends the part's BODY, or its BODYSTRUCTURE if extended is
// set (RFC 9051, 7.5.2). Sizes assume CRLF line endings.
func AppendStructure(dst []byte, p *Part, extended bool) []byte {
	dst = append(dst, '(')
	if p.Type == "multipart" {
		dst = appendMultipart(dst, p, extended)
	} else {
		dst = appendSingle(dst, p, extended)
	}
	return append(dst, ')')
}

func appendMultipart(dst []byte, p *Part, extended bool) []byte {
	for _, c := range p.Children {
		dst = AppendStructure(dst, c, extended)
	}
	if len(p.Children) == 0 {
		// The grammar requires at least one part.
		dst = append(dst, `("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0`...)
		if extended {
			dst = append(dst, " NIL NIL NIL NIL"...)
		}
		dst = append(dst, ')')
	}
	dst = append(dst, ' ')
	dst = AppendString(dst, p.Subtype)
	if extended {
		dst = append(dst, ' ')
		dst = appendParams(dst, p.Params)
		dst = appendDisposition(dst, p)
	}
	return dst
}

func appendSingle(dst []byte, p *Part, extended bool) []byte {
	dst = AppendString(dst, p.Type)
	dst = append(dst, ' ')
	dst = AppendString(dst, p.Subtype)
	dst = append(dst, ' ')
	params := p.Params
	if p.Type == "text" && !slices.ContainsFunc(params, func(p Param) bool { return p.Name == "charset" }) {
		params = append(params[:len(params):len(params)], Param{Name: "charset", Raw: "us-ascii"}) // RFC 2045, 5.2
	}
	dst = appendParams(dst, params)
	for _, name := range []string{"Content-ID", "Content-Description"} {
		dst = append(dst, ' ')
		dst = appendNonEmpty(dst, p.Field(name))
	}
	dst = append(dst, ' ')
	dst = AppendString(dst, p.Encoding)
	dst = append(dst, ' ')
	dst = strconv.AppendInt(dst, p.Body.WireSize(), 10)
	switch {
	case p.Message() != nil:
		m := p.Message()
		dst = append(dst, ' ')
		dst = AppendEnvelope(dst, m.Raw)
		dst = append(dst, ' ')
		dst = AppendStructure(dst, m, extended)
		dst = append(dst, ' ')
		dst = strconv.AppendInt(dst, p.Body.Lines(), 10)
	case p.Is("message", "rfc822") || p.Is("message", "global"):
		// A message that was not parsed also needs an envelope.
		dst = append(dst, ` (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) ("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0`...)
		if extended {
			dst = append(dst, " NIL NIL NIL NIL"...)
		}
		dst = append(dst, ") "...)
		dst = strconv.AppendInt(dst, p.Body.Lines(), 10)
	case p.Type == "text":
		dst = append(dst, ' ')
		dst = strconv.AppendInt(dst, p.Body.Lines(), 10)
	}
	if extended {
		dst = append(dst, ' ')
		dst = appendNonEmpty(dst, p.Field("Content-MD5"))
		dst = appendDisposition(dst, p)
	}
	return dst
}

// appendDisposition appends the disposition, language and location.
func appendDisposition(dst []byte, p *Part) []byte {
	if p.Disposition == "" {
		dst = append(dst, " NIL"...)
	} else {
		dst = append(dst, " ("...)
		dst = AppendString(dst, p.Disposition)
		dst = append(dst, ' ')
		dst = appendParams(dst, p.DispParams)
		dst = append(dst, ')')
	}
	dst = append(dst, ' ')
	dst = appendLanguages(dst, p.Field("Content-Language"))
	dst = append(dst, ' ')
	return appendNonEmpty(dst, p.Field("Content-Location"))
}

func appendLanguages(dst []byte, v string) []byte {
	n := 0
	for len(v) > 0 {
		var tag string
		tag, v, _ = strings.Cut(v, ",")
		if tag = token(tag); tag == "" {
			continue
		}
		if n++; n == 1 {
			dst = append(dst, '(')
		} else {
			dst = append(dst, ' ')
		}
		dst = AppendString(dst, tag)
	}
	if n == 0 {
		return append(dst, "NIL"...)
	}
	return append(dst, ')')
}

// appendParams appends parameters as sent. An RFC 2231 encoded parameter keeps
// its '*', so that the client knows how to decode it.
func appendParams(dst []byte, params []Param) []byte {
	if len(params) == 0 {
		return append(dst, "NIL"...)
	}
	for i, p := range params {
		sep := byte(' ')
		if i == 0 {
			sep = '('
		}
		dst = append(dst, sep)
		name := p.Name
		if p.Extended {
			name += "*"
		}
		dst = AppendString(dst, name)
		dst = append(dst, ' ')
		dst = AppendString(dst, p.Raw)
	}
	return append(dst, ')')
}

func appendNonEmpty(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, "NIL"...)
	}
	return AppendString(dst, s)
}

// AppendNString appends an IMAP nstring: NIL if s is nil, otherwise a string.
func AppendNString(dst, s []byte) []byte {
	if s == nil {
		return append(dst, "NIL"...)
	}
	return appendString(dst, s)
}

// AppendString appends an IMAP string: quoted if IMAP4rev1 allows it, otherwise
// a literal. NULs are removed, because neither form allows them.
func AppendString(dst []byte, s string) []byte { return appendString(dst, []byte(s)) }

func appendString(dst, s []byte) []byte {
	special := false
	for _, c := range s {
		if c >= 0x80 || c == '\r' || c == '\n' || c == 0 {
			return appendLiteral(dst, s)
		}
		special = special || c == '"' || c == '\\'
	}
	if len(s) > 1000 {
		return appendLiteral(dst, s)
	}
	dst = append(dst, '"')
	if !special {
		return append(append(dst, s...), '"')
	}
	for _, c := range s {
		if c == '"' || c == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, c)
	}
	return append(dst, '"')
}

func appendLiteral(dst, s []byte) []byte {
	if bytes.IndexByte(s, 0) >= 0 {
		s = bytes.ReplaceAll(s, []byte{0}, nil)
	}
	dst = append(dst, '{')
	dst = strconv.AppendInt(dst, int64(len(s)), 10)
	dst = append(dst, "}\r\n"...)
	return append(dst, s...)
}
