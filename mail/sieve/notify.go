package sieve

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"hoplite/mail"
)

func compileNotify(c *compiler, n *node) statement {
	a := c.arguments(n, map[string]tag{
		"from": {value: argString}, "importance": {value: argString}, "options": {value: argList}, "message": {value: argString},
	}, argString)
	if a == nil {
		return nil
	}
	if s := a.text("importance").lit; s != "" && !slices.Contains([]string{"1", "2", "3"}, s) {
		c.fail(n, ":importance is 1, 2 or 3")
	}
	method, message := a.texts(0)[0], a.text("message")
	if s, ok := method.constant(); ok {
		if _, err := parseMailto(s); err != nil {
			c.fail(n, "notify: %v", err)
		}
	}
	return step{n.line, func(r *run) {
		to, err := parseMailto(method.expand(r))
		if err != nil {
			r.fail("notify: %v", err)
		}
		text := message.expand(r)
		if text == "" {
			text = to.subject
		}
		for _, addr := range to.addresses {
			r.add(Action{Kind: Notify, Address: addr, Reason: text})
		}
	}}
}

// mailto is a parsed mailto URI (RFC 6068).
type mailto struct {
	addresses []mail.Address
	subject   string
}

func parseMailto(s string) (mailto, error) {
	u, err := url.Parse(s)
	if err != nil || !strings.EqualFold(u.Scheme, "mailto") {
		return mailto{}, fmt.Errorf("%q is not a mailto URI, the only supported method", s)
	}
	to := mailto{subject: u.Query().Get("subject")}
	list, err := url.PathUnescape(u.Opaque)
	if err != nil {
		return mailto{}, fmt.Errorf("%q is not a mailto URI", s)
	}
	for part := range strings.SplitSeq(list, ",") {
		addr, err := parseOne(part)
		if err != nil || len(to.addresses) == MaxRedirects {
			return mailto{}, fmt.Errorf("%q does not name one to %d addresses", s, MaxRedirects)
		}
		to.addresses = append(to.addresses, addr)
	}
	return to, nil
}

func compileNotifyMethod(c *compiler, n *node) condition {
	a := c.arguments(n, nil, argList)
	if a == nil {
		return nil
	}
	list := a.texts(0)
	return testFunc(func(r *run) bool {
		for _, uri := range expandAll(r, list) {
			if _, err := parseMailto(uri); err != nil {
				return false
			}
		}
		return true
	})
}

// compileNotifyCapability compiles notify_method_capability (RFC 5435, 5). Of a
// mail address it is not known whether the recipient is online.
func compileNotifyCapability(c *compiler, n *node) condition {
	a := c.arguments(n, matchTags, argString, argString, argList)
	if a == nil {
		return nil
	}
	uri, capability, m := a.texts(0)[0], a.texts(1)[0], c.matcher(a, a.texts(2))
	return testFunc(func(r *run) bool {
		if _, err := parseMailto(uri.expand(r)); err != nil || !strings.EqualFold(capability.expand(r), "online") {
			return false
		}
		return m.any(r, []string{"maybe"})
	})
}
