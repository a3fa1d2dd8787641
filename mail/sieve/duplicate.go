package sieve

import (
	"time"
)

// defaultDuplicates is the time for which a duplicate test remembers an id.
const defaultDuplicates = 7 * 24 * time.Hour

// compileDuplicate compiles the duplicate test (RFC 7352).
func compileDuplicate(c *compiler, n *node) condition {
	a := c.arguments(n, map[string]tag{
		"handle": {value: argString}, "header": {value: argString}, "uniqueid": {value: argString},
		"seconds": {value: argNumber}, "last": {},
	})
	if a == nil {
		return nil
	}
	source := a.only("header", "uniqueid")
	id, handle, last := a.text(source), a.text("handle"), a.has("last")
	period := defaultDuplicates
	if arg, ok := a.tags["seconds"]; ok {
		period = min(time.Duration(min(arg.num, 1<<31))*time.Second, 90*24*time.Hour)
	}
	return testFunc(func(r *run) bool {
		value := id.expand(r)
		if source != "uniqueid" {
			if value == "" {
				value = "Message-ID"
			}
			list := r.msg.find(r, value)
			if len(list) == 0 {
				return false
			}
			value = list[0].text()
		}
		if value == "" {
			return false
		}
		key := handle.expand(r) + "\x00" + value
		seen := r.env.Seen != nil && r.env.Seen(key)
		if !seen || last {
			r.remember = append(r.remember, Remembered{ID: key, For: period, Renew: last})
		}
		return seen
	})
}
