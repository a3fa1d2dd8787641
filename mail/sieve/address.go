package sieve

import (
	"slices"
	"strings"

	"hoplite/mail"
	"hoplite/mail/mime"
)

// partTags select a part of an address (RFC 5228, 2.7.4; RFC 5233).
var partTags = map[string]tag{
	"all":       {},
	"localpart": {},
	"domain":    {},
	"user":      {ext: "subaddress"},
	"detail":    {ext: "subaddress"},
}

// addressPart returns the function that selects the given part of an address.
// ok is false if the address lacks the part.
func (a *arguments) addressPart() func(local, domain string) (part string, ok bool) {
	switch a.only("all", "localpart", "domain", "user", "detail") {
	case "localpart":
		return func(local, _ string) (string, bool) { return local, true }
	case "domain":
		return func(_, domain string) (string, bool) { return domain, true }
	case "user":
		return func(local, _ string) (string, bool) {
			user, _, _ := strings.Cut(local, "+")
			return user, true
		}
	case "detail":
		return func(local, _ string) (string, bool) {
			_, detail, ok := strings.Cut(local, "+")
			return detail, ok
		}
	}
	return func(local, domain string) (string, bool) {
		return local + "@" + domain, true
	}
}

// addressFields are the fields that the address test reads (RFC 5228, 5.1).
var addressFields = []string{
	"from", "to", "cc", "bcc", "sender", "reply-to", "resent-from", "resent-to",
	"resent-cc", "resent-bcc", "resent-sender", "resent-reply-to", "return-path",
	"delivered-to", "x-original-to", "envelope-to", "errors-to", "return-receipt-to",
	"disposition-notification-to", "mail-reply-to", "mail-followup-to",
}

func compileAddress(c *compiler, n *node) condition {
	a := c.arguments(n, merge(matchTags, indexTags, partTags), argList, argList)
	if a == nil {
		return nil
	}
	names, m, at, part := a.texts(0), c.matcher(a, a.texts(1)), a.index(), a.addressPart()
	for _, name := range names {
		if s, ok := name.constant(); ok && !slices.Contains(addressFields, strings.ToLower(s)) {
			c.fail(n, "the field %q contains no addresses", s)
		}
	}
	whole := a.only("localpart", "domain", "user", "detail") == ""
	return testFunc(func(r *run) bool {
		var values []string
		for _, name := range expandAll(r, names) {
			if !slices.Contains(addressFields, strings.ToLower(name)) {
				continue
			}
			for _, f := range at.choose(r.msg.find(r, name)) {
				values = append(values, addressValues(r, f.unfolded(), whole, part)...)
			}
		}
		return m.any(r, values)
	})
}

// addressValues returns the selected part of each address in a field. Text
// without any address is compared as a whole.
func addressValues(r *run, v string, whole bool, part func(local, domain string) (string, bool)) (out []string) {
	r.charge(len(v))
	found := false
	for _, x := range mime.ParseAddresses(v) {
		if x.Kind != mime.Mailbox || x.Local == "" || x.Domain == "" {
			continue
		}
		found = true
		if s, ok := part(x.Local, x.Domain); ok {
			out = append(out, s)
		}
	}
	if !found && whole && v != "" {
		return []string{v}
	}
	return out
}

func compileEnvelope(c *compiler, n *node) condition {
	a := c.arguments(n, merge(matchTags, partTags), argList, argList)
	if a == nil {
		return nil
	}
	names, m, part := a.texts(0), c.matcher(a, a.texts(1)), a.addressPart()
	for _, name := range names {
		if s, ok := name.constant(); ok && !slices.Contains([]string{"from", "to", "orig_to", "auth"}, strings.ToLower(s)) {
			c.fail(n, "unknown part %q of the envelope; from, to, orig_to and auth are known", s)
		}
	}
	return testFunc(func(r *run) bool {
		var values []string
		for _, name := range expandAll(r, names) {
			var addr mail.Address
			switch strings.ToLower(name) {
			case "from":
				if addr = r.env.From; addr == "" {
					values = append(values, "") // whatever the part (RFC 5228, 5.4)
					continue
				}
			case "to":
				addr = r.env.To
			case "orig_to":
				addr = r.env.Orig
			case "auth":
				if r.env.User != "" {
					values = append(values, r.env.User)
				}
				continue
			}
			if addr != "" {
				if s, ok := part(addr.Local(), addr.Domain()); ok {
					values = append(values, s)
				}
			}
		}
		return m.any(r, values)
	})
}
