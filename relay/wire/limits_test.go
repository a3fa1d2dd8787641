package wire

import (
	"testing"
	"time"
)

func TestTally(t *testing.T) {
	limits := Limits{Commands: 8, Idle: 3, Errors: 3, Slow: 1, Auths: 2, Messages: 2, Delay: time.Second}.withDefaults()
	type event struct {
		verb  string
		codes []int
		why   string // why the connection ends
		delay bool
	}
	for name, events := range map[string][]event{
		"good commands":                {{verb: "MAIL", codes: []int{250}}, {verb: "RCPT", codes: []int{250}}},
		"errors":                       {{verb: "MAIL", codes: []int{501}}, {verb: "RCPT", codes: []int{550}, delay: true}, {verb: "RCPT", codes: []int{550}, why: "too many errors", delay: true}},
		"temporary refusals":           {{verb: "RCPT", codes: []int{450}}, {verb: "RCPT", codes: []int{450}}, {verb: "RCPT", codes: []int{450}}},
		"not implemented is no error":  {{verb: "TURN", codes: []int{502}}, {verb: "EXPN", codes: []int{502}}, {verb: "SEND", codes: []int{502}}},
		"several replies, one error":   {{verb: "DATA", codes: []int{550, 550, 550}}},
		"failed logins":                {{verb: "AUTH", codes: []int{535}, delay: true}, {verb: "AUTH", codes: []int{535}, why: "too many failed logins", delay: true}},
		"throttled logins":             {{verb: "AUTH", codes: []int{454}, delay: true}, {verb: "AUTH", codes: []int{454}, why: "too many failed logins", delay: true}},
		"commands without effect":      {{verb: "NOOP"}, {verb: "NOOP"}, {verb: "NOOP"}, {verb: "NOOP"}, {verb: "NOOP", delay: true}, {verb: "NOOP", why: "too many errors", codes: []int{250}, delay: true}},
		"an accepted message forgives": {{verb: "MAIL", codes: []int{501}}, {verb: "MAIL", codes: []int{501}, delay: true}, {verb: "accepted"}, {verb: "MAIL", codes: []int{501}}},
	} {
		t.Run(name, func(t *testing.T) {
			y := tally{limits: limits}
			for i, e := range events {
				if e.verb == "accepted" {
					y.accepted()
					continue
				}
				if !y.command(e.verb) {
					t.Fatalf("%d: too many commands", i)
				}
				why := ""
				for _, code := range e.codes {
					why = y.reply(code)
				}
				if why != e.why || (y.delay() > 0) != e.delay || y.delay() != 0 {
					t.Errorf("%d, %s: ends with %q, want %q", i, e.verb, why, e.why)
				}
			}
		})
	}
	y := tally{limits: limits}
	for i := range 10 {
		if y.command("MAIL") != (i < 8) {
			t.Errorf("command %d", i)
		}
	}
	for i := range 3 {
		if y.full() != (i == 2) {
			t.Errorf("full after %d messages", i)
		}
		y.accepted()
	}
}
