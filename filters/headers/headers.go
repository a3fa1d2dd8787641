// Package headers is the filter that checks the header of a message: required
// fields, fields that must not be repeated, implausible dates, and the
// administrator's own rules. It can also add and remove fields.
//
// Adding or removing a field can break a DKIM signature that covers the field.
// The body is never changed.
package headers

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	netmail "net/mail"

	"hoplite/filters"
	"hoplite/internal/conf"
	"hoplite/mail"
	"hoplite/mail/mime"
)

// Config is the filter "headers" { ... } block of a chain.
type Config struct {
	// Require lists fields that a message must have; RFC 5322 requires From and
	// Date.
	Require []string `hcl:"require,optional" example:"From"`
	// Missing is the action for mail without one of them.
	Missing string `hcl:"missing,optional" enum:"tag|quarantine|reject" default:"reject"`
	// Doubled is the action for mail that repeats a field which may occur only
	// once (RFC 5322, 3.6). Mail programs and filters might use different
	// copies.
	Doubled string `hcl:"doubled,optional" enum:"pass|tag|quarantine|reject" default:"tag"`
	// DateSkew limits how far in the future Date may be; dates in the past may
	// differ by ten times as much. 0 disables the check.
	DateSkew time.Duration `hcl:"date_skew,optional" default:"0s"`
	// BadDate is the action for mail whose date is out of range or unreadable.
	BadDate string `hcl:"bad_date,optional" enum:"tag|quarantine|reject" default:"tag"`
	// Add holds fields to add at the top.
	Add []Field `hcl:"add,block"`
	// Remove lists the names of fields to remove; "X-Our-*" matches every name
	// that begins with "X-Our-".
	Remove []string `hcl:"remove,optional" example:"X-Our-*"`
	// Rules lists the rules, which are tried in order; the first match applies.
	Rules []Rule `hcl:"rule,block"`
}

// Field is a field to add.
type Field struct {
	Name string `hcl:"name,label"`
	// Value is the text of the field.
	Value string `hcl:"value"`
	// IfMissing adds the field only if the message has no such field.
	IfMissing bool `hcl:"if_missing,optional"`
}

// Rule is an action for messages with a field that matches a pattern.
type Rule struct {
	Name string `hcl:"name,label"`
	// Field is the name of the field; "*" matches any field.
	Field string `hcl:"field" example:"Subject"`
	// Match is a regular expression (RE2) for the field's text with encoded
	// words decoded. "(?i)" at the start ignores case.
	Match string `hcl:"match" example:"(?i)lottery"`
	// Not inverts the rule: it applies if no such field matches.
	Not bool `hcl:"not,optional"`
	// Action is the action for the message.
	Action string `hcl:"action,optional" enum:"pass|tag|quarantine|reject|discard" default:"tag"`
	// Text is sent to the client, or recorded.
	Text string `hcl:"text,optional"`
}

// Check reports invalid names and patterns.
func (c *Config) Check() error {
	var errs []error
	for _, r := range c.Rules {
		if _, err := regexp.Compile(r.Match); err != nil {
			errs = append(errs, conf.Fieldf("rule", "%q: %w", r.Name, err))
		}
		if r.Field != "*" && !validName(r.Field) {
			errs = append(errs, conf.Fieldf("rule", "%q: %q is not a field name", r.Name, r.Field))
		}
	}
	for _, f := range c.Add {
		if !validName(f.Name) || strings.ContainsAny(f.Value, "\r\n\x00") || len(f.Value) > 900 {
			errs = append(errs, conf.Fieldf("add", "%q: want a field name and a value on one line", f.Name))
		}
	}
	for _, n := range append(append([]string{}, c.Require...), c.Remove...) {
		if !validName(strings.TrimSuffix(n, "*")) {
			errs = append(errs, fmt.Errorf("%q is not a field name", n))
		}
	}
	return errors.Join(errs...)
}

func validName(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f || s[i] == ':' {
			return false
		}
	}
	return s != ""
}

// once lists the fields that may occur only once.
var once = map[string]bool{
	"from": true, "sender": true, "reply-to": true, "to": true, "cc": true, "date": true, "message-id": true,
	"in-reply-to": true, "references": true, "subject": true, "mime-version": true, "content-type": true, "content-transfer-encoding": true,
}

// Filter applies a Config.
type Filter struct {
	cfg      Config
	patterns []*regexp.Regexp
}

// New returns the filter.
func New(cfg Config, _ filters.Env) (filters.Filter, error) {
	f := &Filter{cfg: cfg}
	for _, r := range cfg.Rules {
		p, err := regexp.Compile(r.Match)
		if err != nil {
			return nil, err
		}
		f.patterns = append(f.patterns, p)
	}
	return f, nil
}

// AtData checks the header as the sender sent it.
func (f *Filter) AtData(_ context.Context, _ *mail.Transaction, m *mail.Message) (filters.Verdict, error) {
	count := map[string]int{}
	var fields []mail.Field
	for field := range mail.Fields(m.Head) {
		if field.Name != "" {
			count[strings.ToLower(field.Name)]++
			fields = append(fields, field)
		}
	}
	v := f.shape(count, fields)
	if v.Action != filters.Reject {
		w := f.rules(fields)
		if v.Action == "" || v.Action == filters.Tag && w.Action != "" {
			v = w
		}
	}
	if v.Action == filters.Reject || v.Action == filters.Discard {
		return v, nil
	}
	v.Edits = f.edits(count, fields, m)
	return v, nil
}

// shape checks the header against the rules of RFC 5322.
func (f *Filter) shape(count map[string]int, fields []mail.Field) filters.Verdict {
	for _, name := range f.cfg.Require {
		if count[strings.ToLower(name)] == 0 {
			return filters.Acted(filters.Action(f.cfg.Missing), 550, "5.6.0", "The message has no %s field", name)
		}
	}
	if f.cfg.Doubled != "" && f.cfg.Doubled != "pass" {
		for _, field := range fields { // in order, so that the reply is deterministic
			if name := strings.ToLower(field.Name); once[name] && count[name] > 1 {
				return filters.Acted(filters.Action(f.cfg.Doubled), 550, "5.6.0", "The message has %d %s fields, one is allowed", count[name], field.Name)
			}
		}
	}
	if f.cfg.DateSkew > 0 {
		for _, field := range fields {
			if !field.Is("Date") {
				continue
			}
			if problem := f.date(field.Text()); problem != "" {
				return filters.Acted(filters.Action(f.cfg.BadDate), 550, "5.6.0", "Date %s", problem)
			}
		}
	}
	return filters.Verdict{}
}

func (f *Filter) date(text string) string {
	at, err := netmail.ParseDate(text)
	switch now := time.Now(); {
	case err != nil:
		return "cannot be read"
	case at.After(now.Add(f.cfg.DateSkew)):
		return "is in the future: " + at.UTC().Format(time.RFC3339)
	case at.Before(now.Add(-10 * f.cfg.DateSkew)):
		return "is too old: " + at.UTC().Format(time.RFC3339)
	}
	return ""
}

// rules applies the first rule that matches.
func (f *Filter) rules(fields []mail.Field) filters.Verdict {
	for i := range f.cfg.Rules {
		r := &f.cfg.Rules[i]
		field := f.find(r, f.patterns[i], fields)
		if (field == nil) != r.Not {
			continue
		}
		text := r.Text
		if text == "" {
			text = fmt.Sprintf("rule %q", r.Name)
		}
		var v filters.Verdict
		switch r.Action {
		case "pass":
			return filters.Verdict{Reason: text}
		case "discard":
			v = filters.Verdict{Action: filters.Discard, Reason: text}
		default:
			v = filters.Acted(filters.Action(r.Action), 550, "5.7.1", "%s", text)
		}
		v.Facts = []mail.Fact{{Key: "rule", Value: r.Name}}
		if field != nil {
			v.Facts = append(v.Facts, mail.Fact{Key: "field", Value: field.Name})
		}
		return v
	}
	return filters.Verdict{}
}

func (f *Filter) find(r *Rule, p *regexp.Regexp, fields []mail.Field) *mail.Field {
	for i := range fields {
		if r.Field != "*" && !fields[i].Is(r.Field) {
			continue
		}
		text := fields[i].Text()
		if p.MatchString(text) || strings.Contains(text, "=?") && p.MatchString(mime.DecodeWords(text)) {
			return &fields[i]
		}
	}
	return nil
}

// edits returns the fields to add and to remove.
func (f *Filter) edits(count map[string]int, fields []mail.Field, m *mail.Message) filters.Edits {
	var e filters.Edits
	for _, a := range f.cfg.Add {
		if !a.IfMissing || count[strings.ToLower(a.Name)] == 0 {
			e.Top = append(e.Top, a.Name+": "+a.Value+"\r\n"...)
		}
	}
	for _, field := range fields {
		if f.removes(field.Name) && !dropped(m, field.Span) {
			e.Drop = append(e.Drop, field.Span)
		}
	}
	return e
}

func (f *Filter) removes(name string) bool {
	for _, r := range f.cfg.Remove {
		if prefix, ok := strings.CutSuffix(r, "*"); ok && len(name) >= len(prefix) && strings.EqualFold(name[:len(prefix)], prefix) || strings.EqualFold(r, name) {
			return true
		}
	}
	return false
}

// dropped reports whether an earlier filter has already removed the field.
func dropped(m *mail.Message, s mail.Span) bool {
	for _, d := range m.Drop {
		if d.Start < s.End && s.Start < d.End {
			return true
		}
	}
	return false
}
