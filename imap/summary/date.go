package summary

import (
	"net/mail"
	"strings"
	"time"
)

const usualDate = "Mon, 2 Jan 2006 15:04:05 -0700"

// dateLayouts lists forms of Date fields that net/mail does not accept.
var dateLayouts = []string{
	usualDate, "2 Jan 2006 15:04:05 -0700", "Mon, 2 Jan 2006 15:04 -0700", "2 Jan 2006 15:04 -0700",
	"Mon, 2 Jan 06 15:04:05 -0700", "2 Jan 06 15:04:05 -0700", "Mon Jan 2 15:04:05 2006",
	"Mon, 2 Jan 2006 15:04:05", "2 Jan 2006 15:04:05", "Mon, 2 Jan 2006 15:04:05 MST",
}

// parseDate parses a Date field. A date without a zone is treated as UTC.
func parseDate(v string) (time.Time, bool) {
	if v == "" || len(v) > 200 {
		return time.Time{}, false
	}
	// Most dates have this form, and mail.ParseDate would try others first.
	if t, err := time.Parse(usualDate, v); err == nil {
		return t, true
	}
	if t, err := mail.ParseDate(v); err == nil {
		return t, true
	}
	if i := strings.IndexByte(v, '('); i > 0 {
		v = v[:i]
	}
	v = strings.Join(strings.Fields(v), " ")
	for _, layout := range dateLayouts {
		if t, err := time.Parse(layout, v); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
