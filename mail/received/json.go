package received

import (
	"unicode/utf8"
)

// JSON is the JSON form of a line, as printed by `hoplite trace --received`.
// Parts that the text lacks are omitted.
type JSON struct {
	From         string   `json:"from,omitempty"`
	FromIP       string   `json:"from_ip,omitempty"`
	FromRDNS     string   `json:"from_rdns,omitempty"`
	Helo         string   `json:"helo,omitempty"`
	Ident        string   `json:"ident,omitempty"`
	By           string   `json:"by,omitempty"`
	ByIP         string   `json:"by_ip,omitempty"`
	Via          string   `json:"via,omitempty"`
	With         string   `json:"with,omitempty"`
	ID           string   `json:"id,omitempty"`
	For          string   `json:"for,omitempty"`
	EnvelopeFrom string   `json:"envelope_from,omitempty"`
	Auth         string   `json:"auth,omitempty"`
	TLSVersion   string   `json:"tls_version,omitempty"`
	TLSCipher    string   `json:"tls_cipher,omitempty"`
	Date         string   `json:"date,omitempty"`
	MTA          string   `json:"mta,omitempty"`
	Defects      []string `json:"defects"`
}

// JSON returns the line's documented JSON form.
func (h *Line) JSON() JSON {
	r := JSON{
		From: h.From.Name, FromRDNS: h.From.RDNS, Helo: h.From.Helo, Ident: h.Ident, By: h.By.Name,
		Via: h.Via, With: h.With, ID: h.ID, For: h.For, EnvelopeFrom: h.EnvelopeFrom, Auth: h.Auth,
		TLSVersion: h.TLS.Version, TLSCipher: h.TLS.Cipher, Date: h.Stamp.RFC3339(), MTA: h.MTA.String(),
		Defects: h.Defects.List(),
	}
	if r.Defects == nil {
		r.Defects = []string{}
	}
	if h.From.Addr.IsValid() {
		r.FromIP = h.From.Addr.String()
	}
	if h.By.Addr.IsValid() {
		r.ByIP = h.By.Addr.String()
	}
	return r
}

// AppendJSON appends the line as a JSON object, as printed by `hoplite trace
// --received`. It does not use reflection.
func (h *Line) AppendJSON(dst []byte) []byte {
	w := objectWriter{append(dst, '{')}
	w.text("from", h.From.Name)
	if h.From.Addr.IsValid() {
		w.key("from_ip")
		w.b = append(h.From.Addr.AppendTo(append(w.b, '"')), '"')
	}
	w.text("from_rdns", h.From.RDNS)
	w.text("helo", h.From.Helo)
	w.text("ident", h.Ident)
	w.text("by", h.By.Name)
	if h.By.Addr.IsValid() {
		w.key("by_ip")
		w.b = append(h.By.Addr.AppendTo(append(w.b, '"')), '"')
	}
	w.text("via", h.Via)
	w.text("with", h.With)
	w.text("id", h.ID)
	w.text("for", h.For)
	w.text("envelope_from", h.EnvelopeFrom)
	w.text("auth", h.Auth)
	w.text("tls_version", h.TLS.Version)
	w.text("tls_cipher", h.TLS.Cipher)
	if h.Stamp.OK {
		w.key("date")
		w.b = append(h.Stamp.AppendRFC3339(append(w.b, '"')), '"')
	}
	if h.MTA.Name != "" {
		w.key("mta")
		w.b = appendText(append(w.b, '"'), h.MTA.Name)
		if h.MTA.Version != "" {
			w.b = appendText(append(w.b, ' '), h.MTA.Version)
		}
		w.b = append(w.b, '"')
	}
	w.key("defects")
	w.b = append(w.b, '[')
	for i, n := range defectNames {
		if h.Defects&(1<<i) != 0 {
			if w.b[len(w.b)-1] != '[' {
				w.b = append(w.b, ',')
			}
			w.b = append(append(append(w.b, '"'), n...), '"')
		}
	}
	return append(w.b, ']', '}')
}

type objectWriter struct{ b []byte }

func (w *objectWriter) key(k string) {
	if w.b[len(w.b)-1] != '{' {
		w.b = append(w.b, ',')
	}
	w.b = append(append(append(w.b, '"'), k...), '"', ':')
}

func (w *objectWriter) text(k, v string) {
	if v == "" {
		return
	}
	w.key(k)
	w.b = append(appendText(append(w.b, '"'), v), '"')
}

// appendText appends s with JSON escapes. Invalid UTF-8 becomes U+FFFD, as in
// encoding/json.
func appendText(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	start := 0
	i := 0
	for i < len(s) && !escaped[s[i]] {
		i++
	}
	if i == len(s) {
		return append(dst, s...)
	}
	for i < len(s) {
		c := s[i]
		switch {
		case c >= utf8.RuneSelf:
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				dst = append(append(dst, s[start:i]...), "\ufffd"...)
				i++
				start = i
				continue
			}
			i += n
			continue
		case c < ' ', c == '"', c == '\\', c == 127:
			dst = append(dst, s[start:i]...)
			switch c {
			case '"', '\\':
				dst = append(dst, '\\', c)
			case '\n':
				dst = append(dst, '\\', 'n')
			case '\t':
				dst = append(dst, '\\', 't')
			default:
				dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			}
			i++
			start = i
			continue
		}
		i++
	}
	return append(dst, s[start:]...)
}

// escaped marks the bytes that must be escaped in JSON or require checking the
// bytes that follow.
var escaped = func() (t [256]bool) {
	for i := range t {
		t[i] = i < ' ' || i >= 127 || i == '"' || i == '\\'
	}
	return t
}()

// AppendRFC3339 appends the stamp with its zone, or without one if the zone is
// unknown.
func (s Stamp) AppendRFC3339(dst []byte) []byte {
	local := s.Unix + int64(s.Offset)
	days := local / 86400
	sec := int(local - days*86400)
	if sec < 0 {
		sec += 86400
		days--
	}
	y, m, d := civil(days)
	dst = digits(dst, y, 4)
	dst = digits(append(dst, '-'), m, 2)
	dst = digits(append(dst, '-'), d, 2)
	dst = digits(append(dst, 'T'), sec/3600, 2)
	dst = digits(append(dst, ':'), sec/60%60, 2)
	dst = digits(append(dst, ':'), sec%60, 2)
	if s.Nanos != 0 {
		dst = digits(append(dst, '.'), int(s.Nanos), 9)
		for dst[len(dst)-1] == '0' {
			dst = dst[:len(dst)-1]
		}
	}
	if s.Zone == NoZone {
		return dst
	}
	off, sign := int(s.Offset), byte('+')
	if off < 0 {
		off, sign = -off, '-'
	} else if s.Zone == UnknownZone {
		sign = '-'
	}
	dst = digits(append(dst, sign), off/3600, 2)
	return digits(append(dst, ':'), off/60%60, 2)
}

func digits(dst []byte, v, n int) []byte {
	for range n {
		dst = append(dst, '0')
	}
	for i := len(dst) - 1; n > 0; n, i = n-1, i-1 {
		dst[i] = byte('0' + v%10)
		v /= 10
	}
	return dst
}

// civil is the inverse of daysFromCivil.
func civil(days int64) (y, m, d int) {
	z := days + 719468
	era := z / 146097
	doe := int(z - era*146097)
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	d = doy - (153*mp+2)/5 + 1
	m = mp + 3
	y = yoe + int(era)*400
	if m > 12 {
		m -= 12
		y++
	}
	return y, m, d
}
