package imap

import (
	"errors"
	"math"
	"net/url"
	"strconv"
	"strings"

	"hoplite/imap/wire"
)

// messageURL is a parsed URL of a part of a message (RFC 5092).
type messageURL struct {
	mailbox  string // UTF-8
	validity uint32 // 0 if absent
	uid      uint32
	section  wire.Item
}

var errURL = errors.New("invalid or unsupported URL")

// parseURL parses "[imap://[user[;AUTH=type]@]host]/mailbox[;UIDVALIDITY=n]/;UID=n
// [/;SECTION=part][/;PARTIAL=offset[.length]]". The URL must refer to the logged-in
// account; the host is not compared, because a server has many names. URLs with
// an access mechanism (RFC 4467) are not supported.
func parseURL(text, account string) (u messageURL, err error) {
	if !strings.HasPrefix(text, "/") {
		if text, err = localPart(text, account); err != nil {
			return u, err
		}
	}
	path, rest, ok := cutFold(text[1:], "/;UID=")
	if !ok {
		return u, errURL
	}
	if name, validity, ok := cutFold(path, ";UIDVALIDITY="); ok {
		path = name
		if u.validity, err = urlNumber(validity); err != nil {
			return u, err
		}
	}
	if u.mailbox, err = url.PathUnescape(path); err != nil || u.mailbox == "" {
		return u, errURL
	}
	rest, partial, partly := cutFold(rest, "/;PARTIAL=")
	uid, section, _ := cutFold(rest, "/;SECTION=")
	if u.uid, err = urlNumber(uid); err != nil {
		return u, err
	}
	if section, err = url.PathUnescape(section); err != nil {
		return u, errURL
	}
	if u.section, err = wire.Section(section); err != nil {
		return u, errURL
	}
	if partly {
		return u, u.cut(partial)
	}
	return u, nil
}

// cut reads "offset[.length]".
func (u *messageURL) cut(text string) error {
	off, length, limited := strings.Cut(text, ".")
	var err error
	if u.section.Off, err = strconv.ParseUint(off, 10, 63); err != nil {
		return errURL
	}
	u.section.Partial, u.section.Len = true, math.MaxUint32
	if limited {
		u.section.Len, err = urlNumber(length)
	}
	return err
}

// localPart returns the path of an absolute URL of the account.
func localPart(text, account string) (string, error) {
	scheme, rest, ok := strings.Cut(text, "://")
	i := strings.IndexByte(rest, '/')
	if !ok || i < 0 || !strings.EqualFold(scheme, "imap") {
		return "", errURL
	}
	server := rest[:i]
	if at := strings.LastIndexByte(server, '@'); at >= 0 {
		user, _, _ := strings.Cut(server[:at], ";")
		user, err := url.PathUnescape(user)
		if err != nil || user != "" && !strings.EqualFold(user, account) {
			return "", errURL
		}
	}
	return rest[i:], nil
}

// cutFold is like strings.Cut, but ignores the case of ASCII letters in sep.
func cutFold(s, sep string) (before, after string, found bool) {
	for i := 0; i+len(sep) <= len(s); i++ {
		if strings.EqualFold(s[i:i+len(sep)], sep) {
			return s[:i], s[i+len(sep):], true
		}
	}
	return s, "", false
}

// urlNumber parses a number that is not zero.
func urlNumber(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == 0 {
		return 0, errURL
	}
	return uint32(n), nil
}
