package sieve

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"hoplite/mail/received"
)

// dateParts are the parts of a date that tests compare (RFC 5260, 4.2).
var dateParts = map[string]func(t time.Time) string{
	"year":    func(t time.Time) string { return t.Format("2006") },
	"month":   func(t time.Time) string { return t.Format("01") },
	"day":     func(t time.Time) string { return t.Format("02") },
	"date":    func(t time.Time) string { return t.Format("2006-01-02") },
	"julian":  func(t time.Time) string { return fmt.Sprint(modifiedJulian(t)) },
	"hour":    func(t time.Time) string { return t.Format("15") },
	"minute":  func(t time.Time) string { return t.Format("04") },
	"second":  func(t time.Time) string { return t.Format("05") },
	"time":    func(t time.Time) string { return t.Format("15:04:05") },
	"iso8601": func(t time.Time) string { return t.Format("2006-01-02T15:04:05Z07:00") },
	"std11":   func(t time.Time) string { return t.Format("Mon, 02 Jan 2006 15:04:05 -0700") },
	"zone":    func(t time.Time) string { return t.Format("-0700") },
	"weekday": func(t time.Time) string { return fmt.Sprint(int(t.Weekday())) },
}

// modifiedJulian returns the number of days since 17 November 1858 of the date
// that t has in its time zone.
func modifiedJulian(t time.Time) int {
	day := time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
	return int(day.Unix()/86400) + 40587
}

// compileDate compiles the date and currentdate tests.
func compileDate(c *compiler, n *node) condition {
	current := n.name == "currentdate"
	tags := merge(matchTags, map[string]tag{"zone": {value: argString}})
	kinds := []argKind{argString, argList}
	if !current {
		tags = merge(tags, indexTags, map[string]tag{"originalzone": {}})
		kinds = []argKind{argString, argString, argList}
	}
	a := c.arguments(n, tags, kinds...)
	if a == nil {
		return nil
	}
	m, part, at := c.matcher(a, a.texts(len(kinds)-1)), a.texts(len(kinds) - 2)[0], a.index()
	if s, ok := part.constant(); ok && dateParts[strings.ToLower(s)] == nil {
		c.fail(n, "unknown part %q of a date", s)
	}
	zone := a.text("zone")
	if s, ok := zone.constant(); ok && s != "" {
		if _, ok := parseZone(s); !ok {
			c.fail(n, "time zone %q is not of the form +0100", s)
		}
	}
	original := a.only("zone", "originalzone") == "originalzone"
	header := a.texts(0)[0]
	return testFunc(func(r *run) bool {
		var t time.Time
		if current {
			t = r.env.Now
		} else {
			list := at.choose(r.msg.find(r, header.expand(r)))
			if len(list) == 0 {
				return m.any(r, nil)
			}
			var ok bool
			if t, ok = fieldDate(list[0]); !ok {
				return m.any(r, nil)
			}
		}
		switch z := zone.expand(r); {
		case z != "":
			if offset, ok := parseZone(z); ok {
				t = t.In(time.FixedZone("", offset))
			}
		case !original:
			t = t.In(r.env.Now.Location())
		}
		get := dateParts[strings.ToLower(part.expand(r))]
		return get != nil && m.any(r, []string{get(t)})
	})
}

// fieldDate returns the date in a field: its value, or the text after the last
// semicolon as in Received, in the time zone in which it is written.
func fieldDate(f *field) (time.Time, bool) {
	v := f.text()
	if i := strings.LastIndexByte(v, ';'); i >= 0 {
		v = v[i+1:]
	}
	st, _, ok := received.ParseDate(strings.TrimSpace(v))
	if !ok {
		return time.Time{}, false
	}
	return time.Unix(st.Unix, 0).In(time.FixedZone("", int(st.Offset))), true
}

// parseZone parses a time zone of the form +hhmm and returns its offset in
// seconds.
func parseZone(s string) (offset int, ok bool) {
	if len(s) != 5 || s[0] != '+' && s[0] != '-' || slices.ContainsFunc([]byte(s[1:]), func(c byte) bool { return !digit(c) }) {
		return 0, false
	}
	n := func(i int) int { return int(s[i]-'0')*10 + int(s[i+1]-'0') }
	offset = (n(1)*60 + n(3)) * 60
	if s[0] == '-' {
		offset = -offset
	}
	return offset, n(3) < 60
}
